package outbox

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// Disk is the operating system's file system. What is appended to its files is
// synced by fdatasync(2), which leaves out the file's times.
type Disk struct{ atomicfile.OS }

// Create opens a new file, never through a symbolic link.
func (Disk) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, perm)
	if err != nil {
		return nil, err
	}
	return dataFile{f}, nil
}

type dataFile struct{ *os.File }

// Sync makes the contents durable.
func (f dataFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
