package release

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// Sizes and names of minisign's formats.
const (
	idSize      = 8
	pureAlg     = "Ed" // of keys, and of signatures of the payload itself
	hashedAlg   = "ED" // of signatures of the payload's BLAKE2b-512
	commentLine = "untrusted comment: "
	trustedLine = "trusted comment: "
)

// encoding knows one text for each value, so that no bit of a text is free.
var encoding = base64.StdEncoding.Strict()

// A KeyID names a key pair, as minisign prints it.
type KeyID [idSize]byte

func (k KeyID) String() string { return fmt.Sprintf("%016X", binary.LittleEndian.Uint64(k[:])) }

// A Signature is minisign's: of the payload, and of the statement.
type Signature struct {
	Key     KeyID
	payload [ed25519.SignatureSize]byte // of the payload's BLAKE2b-512
	whole   [ed25519.SignatureSize]byte // of payload and the trusted comment
}

// String is the signature as it stands behind sig=.
func (s *Signature) String() string {
	first, second := s.lines()
	return first + "." + second
}

// lines are the second and the fourth line of a .minisig file.
func (s *Signature) lines() (first, second string) {
	b := slices.Concat([]byte(hashedAlg), s.Key[:], s.payload[:])
	return encoding.EncodeToString(b), encoding.EncodeToString(s.whole[:])
}

func parseSignature(text string) (*Signature, error) {
	one, two, ok := strings.Cut(text, ".")
	first, err := encoding.DecodeString(one)
	second, err2 := encoding.DecodeString(two)
	s := &Signature{}
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: sig holds no full stop", ErrLine)
	case err != nil || err2 != nil || strings.ContainsAny(text, "\r\n"):
		return nil, fmt.Errorf("%w: sig is not in base64", ErrLine)
	case len(first) != 2+idSize+len(s.payload) || len(second) != len(s.whole):
		return nil, fmt.Errorf("%w: sig has %d and %d bytes, not %d and %d", ErrLine, len(first), len(second), 2+idSize+len(s.payload), len(s.whole))
	case string(first[:2]) == pureAlg:
		return nil, fmt.Errorf("%w: sig is not of the hashed kind: minisign before 0.10 needs -H", ErrLine)
	case string(first[:2]) != hashedAlg:
		return nil, fmt.Errorf("%w: sig has the algorithm %q, not %s", ErrLine, first[:2], hashedAlg)
	}
	copy(s.Key[:], first[2:])
	copy(s.payload[:], first[2+idSize:])
	copy(s.whole[:], second)
	return s, nil
}

// Minisig is the text of the .minisig file that minisign would have written.
func (l Line) Minisig() string {
	first, second := l.Sig.lines()
	return fmt.Sprintf("%ssignature of %s %s\n%s\n%s%s\n%s\n", commentLine, l.Module, l.Version, first, trustedLine, l.Statement, second)
}

// A PublicKey is one that may have signed releases.
type PublicKey struct {
	ID  KeyID
	key ed25519.PublicKey
}

// ParsePublicKey reads a minisign public key: the text of its file, or its last
// line alone.
func ParsePublicKey(text []byte) (PublicKey, error) {
	line, err := keyLine(text)
	if err != nil {
		return PublicKey{}, err
	}
	b, err := encoding.DecodeString(line)
	switch {
	case err != nil:
		return PublicKey{}, errors.New("no minisign public key: it is not in base64")
	case len(b) != 2+idSize+ed25519.PublicKeySize:
		return PublicKey{}, fmt.Errorf("no minisign public key: it has %d bytes, not %d", len(b), 2+idSize+ed25519.PublicKeySize)
	case string(b[:2]) != pureAlg:
		return PublicKey{}, fmt.Errorf("no minisign public key: its algorithm is %q, not %s", b[:2], pureAlg)
	}
	k := PublicKey{key: b[2+idSize:]}
	copy(k.ID[:], b[2:])
	return k, nil
}

// keyLine is the line of a key's file that holds the key.
func keyLine(text []byte) (string, error) {
	if len(text) > maxLine {
		return "", fmt.Errorf("no minisign key: %d bytes, more than %d", len(text), maxLine)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) == 2 && bytes.HasPrefix(lines[0], []byte(commentLine)) {
		lines = lines[1:]
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("no minisign key: %d lines", len(lines))
	}
	return string(bytes.TrimSpace(lines[0])), nil
}

// Verify tells whether one of keys has signed the statement. Nothing of the
// payload is needed. Its errors are ErrUnsigned, ErrKey and ErrSignature.
func (l Line) Verify(keys []PublicKey) error {
	_, err := l.signer(keys)
	return err
}

// VerifyPayload is Verify of the statement and of the payload behind it, whose
// digest d has taken all of it.
func (l Line) VerifyPayload(keys []PublicKey, d *Digest) error {
	if err := l.Matches(d); err != nil {
		return err
	}
	k, err := l.signer(keys)
	if err != nil {
		return err
	}
	if !ed25519.Verify(k.key, d.blake.Sum(nil), l.Sig.payload[:]) {
		return fmt.Errorf("%w: key %v has not signed this payload", ErrSignature, k.ID)
	}
	return nil
}

func (l Line) signer(keys []PublicKey) (PublicKey, error) {
	if l.Sig == nil {
		return PublicKey{}, ErrUnsigned
	}
	known := false
	for _, k := range keys {
		if k.ID != l.Sig.Key {
			continue
		}
		known = true
		if ed25519.Verify(k.key, append(l.Sig.payload[:len(l.Sig.payload):len(l.Sig.payload)], l.Statement.String()...), l.Sig.whole[:]) {
			return k, nil
		}
	}
	if !known {
		return PublicKey{}, fmt.Errorf("%w: key %v is none of %s", ErrKey, l.Sig.Key, ids(keys))
	}
	return PublicKey{}, fmt.Errorf("%w: key %v has not signed this statement", ErrSignature, l.Sig.Key)
}

func ids(keys []PublicKey) string {
	if len(keys) == 0 {
		return "no keys"
	}
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = k.ID.String()
	}
	return strings.Join(words, ", ")
}

// A Digest is what is computed over a payload while it is read.
type Digest struct {
	sha   hash.Hash
	blake hash.Hash
	size  int64
}

// NewDigest returns the digest of an empty payload.
func NewDigest() *Digest {
	b, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // only a key that is too long is refused
	}
	return &Digest{sha: sha256.New(), blake: b}
}

// Write takes the next bytes of the payload.
func (d *Digest) Write(b []byte) (int, error) {
	d.sha.Write(b)
	d.blake.Write(b)
	d.size += int64(len(b))
	return len(b), nil
}

// Size is how many bytes were taken.
func (d *Digest) Size() int64 { return d.size }

// SHA256 is the SHA-256 of them in hexadecimal.
func (d *Digest) SHA256() string { return hex.EncodeToString(d.sha.Sum(nil)) }

// ErrPayload means that a payload is not the one that a statement is about.
var ErrPayload = errors.New("not the payload of the ota1 line")

// Matches tells whether the statement is about the payload. Its errors are
// ErrPayload.
func (s Statement) Matches(d *Digest) error {
	switch {
	case s.Size != d.size:
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrPayload, d.size, s.Size)
	case s.SHA256 != d.SHA256():
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrPayload, d.SHA256(), s.SHA256)
	}
	return nil
}
