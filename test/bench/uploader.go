package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// An uploader sends files to a sink in two ways.
type uploader struct {
	*rig
	sink    *sink
	watched *idler
	box     string
	url     string
	rest    float64 // MB of the agent's own before anything large
}

// warm sends a first small file, so that all that an upload needs is there.
func (u *uploader) warm() error {
	if err := os.MkdirAll(u.box, 0o755); err != nil {
		return err
	}
	for i := range 3 {
		if _, _, _, err := u.drop(fmt.Sprintf("warm%d", i), 1<<10, 1); err != nil {
			return err
		}
	}
	used, err := u.watched.usage()
	u.rest = used.dirty
	return err
}

// drop puts n files of zeros, size bytes each, into the drop box, and waits for
// them at the sink. It returns the seconds that the newest took there, the
// agent's of processor for all, and by how many MB it has grown.
func (u *uploader) drop(name string, size int64, n int) (took, cpu, grew float64, err error) {
	had, _ := u.sink.newest()
	before, err := u.watched.usage()
	if err != nil {
		return 0, 0, 0, err
	}
	for i := range n {
		file := filepath.Join(u.box, fmt.Sprintf("%s-%05d.bin", name, i))
		tmp := filepath.Join(u.box, "."+name)
		if err := zeros(tmp, size); err != nil {
			return 0, 0, 0, err
		}
		if err := os.Rename(tmp, file); err != nil {
			return 0, 0, 0, err
		}
	}
	for deadline := time.Now().Add(10 * time.Minute); ; <-time.After(100 * time.Millisecond) {
		used, err := u.watched.usage()
		if err != nil {
			return 0, 0, 0, err
		}
		grew = max(grew, used.dirty-u.rest)
		if files, newest := u.sink.newest(); files >= had+n {
			return newest.Seconds(), (used.cpu - before.cpu) / 1e3, grew, nil
		}
		if time.Now().After(deadline) {
			return 0, 0, 0, fmt.Errorf("%d files of %d bytes did not come", n, size)
		}
	}
}

// curl sends a file of zeros, and returns the seconds that it took at the sink
// and curl's of processor.
func (u *uploader) curl(size int64) (took, cpu float64, err error) {
	file := filepath.Join(u.dir, "curl.bin")
	if err := zeros(file, size); err != nil {
		return 0, 0, err
	}
	defer os.Remove(file)
	var created struct{ ID int }
	out, _, cpu0, err := timed(exec.Command("curl", "-sS", "--cacert", u.certs.CA, "-X", "POST", u.url+"/api/v2/data-files"), nil)
	if err != nil {
		return 0, 0, err
	}
	if err := json.Unmarshal(out, &created); err != nil {
		return 0, 0, err
	}
	_, _, cpu, err = timed(exec.Command("curl", "-sS", "--cacert", u.certs.CA, "-F", "files=@"+file, fmt.Sprintf("%s/api/v2/data-files/%d/file", u.url, created.ID)), nil)
	_, newest := u.sink.newest()
	return newest.Seconds(), cpu0 + cpu, err
}

// zeros makes a file of size bytes that takes no room on the disk, and reads
// it, so that it is the page cache that either program reads: a virtual machine
// may have to ask its host for a page that has been free for a while, which is
// dearer than all else that sending it takes, and they would not wait alike.
func zeros(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return err
}
