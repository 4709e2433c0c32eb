package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotAlone means that another agent runs with the same state. Two would
// renew the same token and drive each other out of the MQTT session.
var ErrNotAlone = errors.New("another agent runs with the state")

// own takes dir, the state of the next generation, for this process alone, and
// lets go of the one before. The lock is on the directory itself, so that it
// needs no right to write there; the kernel releases it with the process.
// Where a directory cannot be locked, the agent goes on: it is the two agents
// that must not be, not the lock that must.
func (r *runner) own(dir string) error {
	if r.owned != nil && r.owned.Name() == dir {
		return nil
	}
	_ = os.MkdirAll(dir, 0o700)
	f, err := os.Open(dir)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return fmt.Errorf("%w in %s", ErrNotAlone, dir)
	}
	if err != nil {
		r.Log.Debug("state directory not locked", "err", err)
	}
	r.disown()
	r.owned = f
	return nil
}

// disown lets go of the state.
func (r *runner) disown() {
	if r.owned != nil {
		r.owned.Close()
	}
}
