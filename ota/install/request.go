package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// verbReboot asks for a reboot of the device. No hook knows it.
const verbReboot ota.Verb = "reboot"

const (
	requestAPI   = 1
	requestBytes = 128 << 10
	requestLife  = 15 * time.Minute // after which nobody waits for it any more
)

// ErrRequest means that a request is not one that the daemon writes.
var ErrRequest = errors.New("malformed request")

// A Request is what the daemon asks of the installer, as a file. Nothing in it
// is trusted.
type Request struct {
	API     int           `json:"api"`
	Nonce   string        `json:"nonce"` // of this very request
	Verb    ota.Verb      `json:"verb"`
	Seq     uint32        `json:"seq"`
	Module  string        `json:"module"`
	ID      string        `json:"id"`
	From    string        `json:"from"`
	To      string        `json:"to"`
	Notes   string        `json:"notes"`
	Payload string        `json:"payload"` // below the daemon's state directory
	Attempt int           `json:"attempt"`
	Reason  string        `json:"reason"`
	Until   time.Duration `json:"until"` // CLOCK_BOOTTIME; 0: as long as the hook may take
	Boot    string        `json:"boot"`  // empty if the daemon's sandbox hides it
	Asked   time.Duration `json:"asked"` // CLOCK_BOOTTIME
}

var nonceWord = regexp.MustCompile(`^[0-9a-f]{32}$`)

// readRequest reads and checks a request. Its errors are ErrRequest.
func readRequest(r io.Reader) (Request, error) {
	data, err := io.ReadAll(io.LimitReader(r, requestBytes+1))
	if err == nil && len(data) > requestBytes {
		err = fmt.Errorf("more than %d bytes", requestBytes)
	}
	var q Request
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err = d.Decode(&q); err == nil && d.More() {
			err = errors.New("something follows it")
		}
	}
	if err == nil {
		err = q.check()
	}
	if err != nil {
		return q, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return q, nil
}

func (q Request) check() error {
	f := ota.File{ID: q.ID, Module: q.Module, Version: ota.Version(q.To), Notes: q.Notes}
	switch {
	case q.API != requestAPI:
		return fmt.Errorf("api is %d, not %d", q.API, requestAPI)
	case !nonceWord.MatchString(q.Nonce):
		return errors.New("nonce is not 32 hexadecimal digits")
	case q.Verb != verbReboot && !slices.Contains(Verbs, q.Verb):
		return fmt.Errorf("there is no verb %.40q", string(q.Verb))
	case q.Attempt < 0 || q.Attempt > 1000:
		return fmt.Errorf("attempt %d", q.Attempt)
	case len(q.From) > 256 || len(q.Reason) > 1024:
		return errors.New("from or reason is too long")
	case q.Payload != "" && !filepath.IsLocal(q.Payload):
		return fmt.Errorf("payload %.80q is not below the daemon's directory", q.Payload)
	case len(q.Module) > 64:
		return fmt.Errorf("module has %d bytes", len(q.Module))
	}
	return f.Check()
}

// stale reports a request that nobody waits for any more.
func (q Request) stale(boot string, now time.Duration) bool {
	return q.Boot != "" && q.Boot != boot || q.Asked > now || now-q.Asked > requestLife
}

// key names what is asked for: the same verb of the same update and attempt has
// the same key, however often it is asked for.
func (q Request) key() string {
	return fmt.Sprintf("%s%s-%d", q.update(), q.Verb, q.Attempt)
}

// update is the beginning of all keys of the update.
func (q Request) update() string { return fmt.Sprintf("%s-%08d-", q.Module, q.Seq) }

// uuid names the update for installers that want one of that form.
func (q Request) uuid() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{q.Module, fmt.Sprint(q.Seq), q.ID, q.To}, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // RFC 9562, version 8
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
