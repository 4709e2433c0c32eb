package account

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// TestDiskThatTakesNothing has each call of a save fail from the first renewal
// on, for ten weeks: the token stays valid in memory, and the status says so.
func TestDiskThatTakesNothing(t *testing.T) {
	for fault, calls := range map[error][]string{
		unix.EIO:    {"sync", "syncdir"},
		unix.ENOSPC: {"create", "write"},
		unix.EROFS:  {"create", "link", "rename", "remove"},
	} {
		t.Run(fault.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, d := newCloud(7*24*time.Hour), powercut.New()
				r := newRig(t, c, t.TempDir(), "")
				synctest.Wait()
				r.Store.FS = d
				d.Fault(func(call, _ string) error {
					if slices.Contains(calls, call) {
						return fault
					}
					return nil
				})
				c.mu.Lock()
				raw := c.issue()
				c.mu.Unlock()
				r.Offer(raw, nil)
				for range 10 * 7 {
					time.Sleep(24 * time.Hour)
					if tok := r.current(t); !c.usable(tok) {
						t.Fatalf("%v is not usable: %s", tok, r.reason())
					}
				}
				if s, _ := r.Status(); s.StoreError == "" || s.Renewals < 9 || s.State == Lost {
					t.Errorf("%+v", s)
				}
				d.Fault(nil)
				time.Sleep(8 * 24 * time.Hour)
				if s, err := (&Store{Dir: r.Store.Dir, FS: d}).load(DefaultNames); err != nil || !c.usable(s.use()) {
					t.Errorf("stored once the disk took it: %v, %v", s.use(), err)
				}
				if s, _ := r.Status(); s.StoreError != "" {
					t.Errorf("still said: %s", s.StoreError)
				}
				r.stop()
			})
		})
	}
}
