package collect

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A notifier tells when files come, go or change their names, and not when they
// are written to, which a log is all the time.
type notifier interface {
	run(ctx context.Context) error
	watch(dir string) // for this pass
	settle()          // ends a pass: what was not asked for in it is watched no more
	news() <-chan struct{}
}

// deaf is a notifier that hears nothing.
type deaf struct{}

func (deaf) run(ctx context.Context) error { <-ctx.Done(); return nil }
func (deaf) watch(string)                  {}
func (deaf) settle()                       {}
func (deaf) news() <-chan struct{}         { return nil }

// An inotify is the kernel's notifier; see inotify(7).
type inotify struct {
	f       *os.File
	changed chan struct{}
	asked   map[int]bool // watches of this pass
	kept    map[int]bool // of the one before
}

func newInotify() (notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &inotify{f: os.NewFile(uintptr(fd), "inotify"), changed: make(chan struct{}, 1), asked: map[int]bool{}}, nil
}

// run reads events until ctx is done. What they say does not matter.
func (n *inotify) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { n.f.Close() })
	defer stop()
	buf := make([]byte, 4<<10)
	for {
		if _, err := n.f.Read(buf); err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
		select {
		case n.changed <- struct{}{}:
		default:
		}
	}
}

func (n *inotify) news() <-chan struct{} { return n.changed }

func (n *inotify) watch(dir string) {
	const what = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	raw, err := n.f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if wd, err := unix.InotifyAddWatch(int(fd), dir, what); err == nil {
			n.asked[wd] = true
		}
	})
}

func (n *inotify) settle() {
	if raw, err := n.f.SyscallConn(); err == nil {
		for wd := range n.kept {
			if !n.asked[wd] {
				_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
			}
		}
	}
	n.kept, n.asked = n.asked, map[int]bool{}
}
