package local

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxRejection = 1 << 10         // bytes of the body
	rejectEvery  = 5 * time.Minute // between two reports of one token that count
	maxReasonLen = 200             // bytes of what a program says about it
	tailLen      = 6               // characters
)

// A Rejection is what a program says of a token that the cloud refused: its last
// 6 characters and the SHA-256 of all of it, and perhaps what the cloud said.
type Rejection struct {
	Tail   string `json:"tail"`
	SHA256 string `json:"sha256"`
	Reason string `json:"reason,omitempty"`
}

// NewRejection is the report about token.
func NewRejection(token, reason string) Rejection {
	sum := sha256.Sum256([]byte(token))
	return Rejection{Tail: token[max(0, len(token)-tailLen):], SHA256: hex.EncodeToString(sum[:]), Reason: reason}
}

// of reports whether the rejection is of token.
func (r Rejection) of(token string) bool {
	is := NewRejection(token, r.Reason)
	return token != "" && subtle.ConstantTimeCompare([]byte(is.SHA256), []byte(r.SHA256)) == 1 && is.Tail == r.Tail
}

// The answers to a Rejection.
const (
	Noted      = "noted"      // the agent has the cloud judge the token
	Known      = "known"      // it was told of this token already
	Superseded = "superseded" // there is another token: get that
)

var hexSum = regexp.MustCompile(`^[0-9a-f]+$`)

// rejected takes a program's word that the cloud refused the account's token.
// Only the token in force counts, and of each generation one report in 5 min:
// ten programs that get the same 401 cause one look at it.
func (c *calls) rejected(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Follow == nil || c.Rejected == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	var rej Rejection
	dec := json.NewDecoder(io.LimitReader(r.Body, maxRejection))
	dec.DisallowUnknownFields()
	if dec.Decode(&rej) != nil || len(rej.SHA256) != 64 || !hexSum.MatchString(rej.SHA256) || len(rej.Tail) > 4*tailLen || len(rej.Reason) > maxReasonLen {
		return Errorf(Invalid, `the body is not {"tail": "the last 6 characters", "sha256": "64 hexadecimal digits", "reason": "at most %d bytes"}`, maxReasonLen)
	}
	s, _, err := c.Follow(account)
	if err != nil {
		return err
	}
	state := Superseded
	if rej.of(s.Token) {
		state = Known
		if c.reports.first(account, rej.SHA256, time.Now()) {
			state = Noted
			c.Log.Info("token reported as refused", "account", account, "peer_uid", p.uid, "peer_pid", p.pid)
			if err := c.Rejected(account, s.Token, oneLine(rej.Reason)); err != nil {
				return err
			}
		}
	}
	c.answer(w, http.StatusAccepted, map[string]string{"account": account, "state": state})
	return nil
}

// oneLine is s without what could end a line of a log or move a cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// reports remembers the newest report of each account. There are few accounts.
type reports struct {
	mu     sync.Mutex
	newest map[string]report
}

type report struct {
	sum string
	at  time.Time
}

// first reports whether the account's token with that sum was not reported
// within rejectEvery.
func (r *reports) first(account, sum string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.newest[account]; ok && old.sum == sum && now.Sub(old.at) < rejectEvery {
		return false
	}
	if r.newest == nil {
		r.newest = map[string]report{}
	}
	r.newest[account] = report{sum, now}
	return true
}
