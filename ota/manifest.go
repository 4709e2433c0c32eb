package ota

import (
	"errors"
	"fmt"

	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// A promise is what the ota1 line in a release's notes says of its payload. The
// zero value is that of notes without a line, which promise nothing.
type promise struct {
	Size   int64  `json:"size,omitempty"`   // bytes
	SHA256 string `json:"sha256,omitempty"` // hexadecimal
}

// promised reads the notes. A line that is malformed, doubled or another
// release's is an error: it was meant to say something, and nobody knows what.
func (f File) promised() (promise, error) {
	line, err := release.Find(f.Notes, f.Module, string(f.Version))
	if errors.Is(err, release.ErrNoLine) {
		return promise{}, nil
	}
	return promise{line.Size, line.SHA256}, err
}

// refusal says why a release is not to be fetched, going by its notes and by
// what the module wants of them; "" if it may be.
func (mod Module) refusal(f File) string {
	_, err := f.promised()
	if err == nil && mod.Vet != nil {
		err = mod.Vet(f)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// fits refuses a promise of more than limit bytes.
func (p promise) fits(limit int64) error {
	if p.Size > limit {
		return &Failure{Reason: fmt.Sprintf("the ota1 line promises %s (at most %s)", Bytes(p.Size), Bytes(limit)), Forever: true}
	}
	return nil
}

// total is the size that a file must have, -1 if that is not known.
func (p promise) total() int64 {
	if p.Size == 0 {
		return -1
	}
	return p.Size
}

// expect compares the size that the server tells with the one promised.
func (p promise) expect(total int64) error {
	if p.Size > 0 && total >= 0 && total != p.Size {
		return broken("it has %d bytes, not %d", total, p.Size)
	}
	return nil
}

// kept compares what was fetched with what was promised.
func (p promise) kept(got Payload) error {
	if err := p.expect(got.Size); err != nil {
		return err
	}
	if p.SHA256 != "" && got.SHA256 != p.SHA256 {
		return broken("its SHA-256 is %s, not %s", got.SHA256, p.SHA256)
	}
	return nil
}

// broken is a promise that was not kept: whatever comes for this release is not
// what its notes are about, now or later.
func broken(format string, args ...any) error {
	return &Failure{Reason: fmt.Sprintf("%v: %s", release.ErrPayload, fmt.Sprintf(format, args...)), Forever: true}
}
