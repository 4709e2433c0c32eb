package install

import (
	"os"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// A storage is the calls that change what the installer must not lose.
type storage interface {
	atomicfile.FS
	MkdirAll(name string, perm os.FileMode) error
	RemoveAll(name string) error
	// RemoveIn removes a request.
	RemoveIn(dir *os.Root, name string) error
}

// disk is the operating system's, outside of tests.
var disk storage = system{}

type system struct{ atomicfile.OS }

func (system) MkdirAll(name string, perm os.FileMode) error { return os.MkdirAll(name, perm) }
func (system) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (system) RemoveIn(dir *os.Root, name string) error     { return dir.RemoveAll(name) }
