package account

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A disk makes no files while it is full.
type disk struct {
	atomicfile.OS
	full atomic.Bool
}

var errFull = errors.New("no space left on device")

func (d *disk) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if d.full.Load() {
		return nil, errFull
	}
	return d.OS.Create(name, perm)
}

func TestTokenIsStoredOnceTheDiskTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		time.Sleep(time.Hour)
		r.stop()
		file, d := r.file, new(disk)
		r.Store.FS = d
		var ctx context.Context
		ctx, r.cancel = context.WithCancel(t.Context())
		go func() { r.done <- r.Run(ctx) }()
		fail := func(err error) {
			d.full.Store(err != nil)
			file.mu.Lock()
			defer file.mu.Unlock()
			file.fault = err
		}
		fail(errFull)
		time.Sleep(7 * 24 * time.Hour)
		s, _ := r.Status()
		if s.Renewals != 1 || s.StoreError == "" || s.WriteError == "" || !c.usable(r.current(t)) {
			t.Fatalf("on a full disk: %+v", s)
		}
		if on, err := onDisk(r); err != nil || on.has(r.current(t)) {
			t.Fatalf("on disk: %v, %v", on, err)
		}
		fail(nil)
		time.Sleep(Recheck + time.Second)
		if s, _ = r.Status(); s.StoreError != "" || s.WriteError != "" {
			t.Errorf("once there is room: %+v", s)
		}
		if on, err := onDisk(r); err != nil || !on.has(r.current(t)) {
			t.Errorf("on disk: %v, %v", on, err)
		}
		if raw, _ := file.read(); raw != r.current(t).Raw() {
			t.Error("the identity file has another token")
		}
		r.stop()
	})
}

// A file that was missing is not written to until it has been read: somebody
// may just be giving the device a new token.
func TestMissingIdentityFileIsNotWrittenUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		time.Sleep(time.Hour)
		r.Offer("", errors.New("no identity file"))
		r.file.mu.Lock()
		r.file.fault = errors.New("no identity file")
		r.file.mu.Unlock()
		time.Sleep(7 * 24 * time.Hour)
		r.file.mu.Lock()
		r.file.fault, r.file.token = nil, "somebody's"
		r.file.mu.Unlock()
		time.Sleep(24 * time.Hour)
		if raw, _ := r.file.read(); raw != "somebody's" {
			t.Error("overwritten without a look")
		}
		r.stop()
	})
}

func TestTokenOfAPersonIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		factory := c.issue()
		r := newRig(t, c, t.TempDir(), factory)
		time.Sleep(7 * 24 * time.Hour)
		c.mu.Lock()
		c.dead[r.current(t).Raw()], c.dead[factory] = true, true
		c.mu.Unlock()
		r.Reject(r.current(t), errors.New("401"))
		time.Sleep(24 * time.Hour)
		if s, _ := r.Status(); s.State != Rejected && s.State != Lost {
			t.Fatalf("%s: %s", s.State, s.Reason)
		}
		c.mu.Lock()
		fresh := c.issue()
		c.mu.Unlock()
		r.Offer(fresh, nil)
		time.Sleep(2 * time.Second)
		if s, _ := r.Status(); s.State != Good || r.current(t).Raw() != fresh {
			t.Errorf("2 s after a person's token: %s: %s", s.State, s.Reason)
		}
		r.stop()
	})
}
