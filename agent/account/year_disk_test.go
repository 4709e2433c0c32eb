package account

import (
	"errors"
	"os"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// A mortal disk tells its device when the power has failed in a call.
type mortal struct {
	*powercut.Disk
	dev *device
}

func (m mortal) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	defer m.dev.look()
	f, err := m.Disk.Create(name, perm)
	if err != nil {
		return nil, err
	}
	return mortalFile{f, m.dev}, nil
}

func (m mortal) Link(oldname, newname string) error {
	defer m.dev.look()
	return m.Disk.Link(oldname, newname)
}

func (m mortal) Rename(oldname, newname string) error {
	defer m.dev.look()
	return m.Disk.Rename(oldname, newname)
}

func (m mortal) Remove(name string) error {
	defer m.dev.look()
	return m.Disk.Remove(name)
}

func (m mortal) SyncDir(dir string) error {
	defer m.dev.look()
	return m.Disk.SyncDir(dir)
}

type mortalFile struct {
	atomicfile.File
	dev *device
}

func (f mortalFile) Write(p []byte) (int, error) {
	defer f.dev.look()
	return f.File.Write(p)
}

func (f mortalFile) Sync() error {
	defer f.dev.look()
	return f.File.Sync()
}

// offer has the agent read the identity file.
func (d *device) offer() {
	data, err := d.disk.ReadFile(confFile)
	if err == nil && strings.Trim(string(data), "\x00") == "" {
		err = errors.New("the identity file is empty")
	}
	d.keeper.Offer(string(data), err)
}
