package ota

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// ErrNoSpace means that the file system of the state directory must not take
// the release now.
var ErrNoSpace = errors.New("not enough space")

const (
	minReserve = 16 << 20 // bytes that stay free whatever the file system's size
	minInodes  = 16       // files that stay free
)

// A Space is what a file system has room for, in bytes and files.
type Space struct {
	Free   int64 // bytes that we may use
	Size   int64 // bytes in all
	Inodes int64 // files that may be made; -1 if the file system does not count them
}

// admit refuses a release of total bytes, have of which are stored already, that
// takes extra bytes to install, unless afterwards 5 % of the file system, at least 16 MiB, and some files stay
// free for others.
func (s Space) admit(total, have, extra int64) error {
	reserve := max(s.Size/20, minReserve)
	if s.Inodes >= 0 && s.Inodes < minInodes {
		return fmt.Errorf("%w: %d files may be made (%d must stay free)", ErrNoSpace, s.Inodes, minInodes)
	}
	if need := max(total-have, 0) + extra; need < 0 || need > math.MaxInt64-reserve || need+reserve > s.Free {
		return fmt.Errorf("%w: needs %s, has %s of which %s must stay free", ErrNoSpace, Bytes(need), Bytes(s.Free), Bytes(reserve))
	}
	return nil
}

// full reports whether err says that a disk or a quota is full.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, ErrNoSpace)
}

// Bytes is a number of bytes that prints as people read it.
type Bytes int64

// String returns "512 B", "1.5 MiB".
func (b Bytes) String() string {
	if b < 1<<10 {
		return fmt.Sprintf("%d B", int64(b))
	}
	f, unit := float64(b)/(1<<10), 0
	for f >= 1<<10 && unit < 4 {
		f, unit = f/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}
