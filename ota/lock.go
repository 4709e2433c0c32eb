package ota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock takes the lock on Dir for life. While it cannot, every module's status
// says why.
func (m *Manager) lock(ctx context.Context) (*os.File, error) {
	for warned := false; ; warned = true {
		f, err := lockDir(m.Dir)
		if err == nil {
			return f, nil
		}
		if !warned {
			m.Log.Warn("updates wait for the state directory", "err", err, "retry_in", lockEvery)
			m.setWorkers(nil, err)
			for i := range m.Modules {
				m.show(i, func(s *ModuleStatus) { s.Fault = err.Error() })
			}
		}
		if err := sleep(ctx, lockEvery, nil); err != nil {
			return nil, err
		}
	}
}

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := (Disk{}).SyncDir(filepath.Dir(dir)); err != nil { // a record in a directory that is lost is lost
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another agent", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
