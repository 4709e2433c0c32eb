package account

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// slots is what is known of the account's tokens. A new token is Next until the
// cloud has accepted it; only then is Cur dropped.
type slots struct {
	Cur  Token
	Next Token
	Seen string // digest of the identity file's token when it was last looked at
}

// use is the token to present.
func (s slots) use() Token {
	if s.Next.IsZero() {
		return s.Cur
	}
	return s.Next
}

// has reports whether t is one of ours.
func (s slots) has(t Token) bool { return t.Same(s.Cur) || t.Same(s.Next) }

// renewed is s once the cloud has given fresh for old: both are kept until the
// acceptance of fresh is seen.
func (s slots) renewed(old, fresh Token) slots {
	return slots{Cur: old, Next: fresh, Seen: s.Seen}
}

// proven is s after the cloud has accepted t.
func (s slots) proven(t Token) slots {
	if !t.IsZero() && t.Same(s.Next) {
		s.Cur, s.Next = s.Next, Token{}
	}
	return s
}

// A Store keeps the tokens in one record with a checksum and a previous
// generation. It also remembers the newest it was given, so that a Keeper that
// takes over from another loses nothing where the disk takes no writes.
type Store struct {
	Dir string        // <state>/cred
	FS  atomicfile.FS // atomicfile.OS if nil

	Profiled bool // its tokens come by a profile
	// Subject says whose tokens they are: the cloud, and who asks it. Those that
	// were stored for another are not loaded, since they would be sent to a
	// cloud that is not theirs.
	Subject string

	newest *slots // what save was given last, durable or not
}

// errOthers means that the stored tokens are another subject's.
var errOthers = errors.New("the stored tokens are those of another cloud or user")

// record is slots on disk: the one place where tokens are written in full.
type record struct {
	Fmt  int    `json:"fmt"`
	For  string `json:"for,omitempty"` // Store.Subject
	Cur  string `json:"cur"`
	Next string `json:"next,omitempty"`
	Seen string `json:"seen,omitempty"`

	CurBeside  *beside `json:"cur_beside,omitempty"`
	NextBeside *beside `json:"next_beside,omitempty"`
}

// beside is what is known of a token and does not stand in it: of those that
// come by a profile.
type beside struct {
	Renewer string    `json:"refresh_token,omitempty"`
	Issued  time.Time `json:"issued,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

// besides is nil for a token that says everything itself.
func besides(t Token, profiled bool) *beside {
	if !profiled || t.IsZero() {
		return nil
	}
	return &beside{Renewer: t.renewer, Issued: t.Issued, Expires: t.Expires}
}

// restore is the token of a record, none if it is no token.
func restore(raw string, b *beside, names Names) Token {
	if b == nil {
		t, _ := ParseToken(raw, names)
		return t
	}
	return Token{raw: raw, renewer: b.Renewer, Claims: Claims{Issued: b.Issued, Expires: b.Expires}}
}

func (s *Store) path() string { return filepath.Join(s.Dir, "tokens") }

func (s *Store) fs() atomicfile.FS {
	if s.FS == nil {
		return atomicfile.OS{}
	}
	return s.FS
}

// load returns empty slots when there is no record.
func (s *Store) load(names Names) (slots, error) {
	if s.newest != nil {
		return *s.newest, s.save(*s.newest) // Dir may be another now
	}
	var r record
	if _, err := atomicfile.LoadRecord(s.fs(), s.path(), &r); errors.Is(err, fs.ErrNotExist) {
		return slots{}, nil
	} else if err != nil {
		return slots{}, fmt.Errorf("read stored tokens: %w", err)
	}
	if r.For != s.Subject {
		return slots{}, errOthers
	}
	out := slots{Seen: r.Seen}
	out.Cur, out.Next = restore(r.Cur, r.CurBeside, names), restore(r.Next, r.NextBeside, names)
	return out, nil
}

func (s *Store) save(v slots) error {
	s.newest = &v
	r := record{Fmt: 1, For: s.Subject, Cur: v.Cur.Raw(), Next: v.Next.Raw(), Seen: v.Seen, CurBeside: besides(v.Cur, s.Profiled), NextBeside: besides(v.Next, s.Profiled)}
	if err := atomicfile.SaveRecord(s.fs(), s.path(), r); err != nil {
		return fmt.Errorf("store tokens: %w", err)
	}
	return nil
}
