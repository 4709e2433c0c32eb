package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// recover settles the jobs of a run before, waiting for those that still run,
// and answers requests that had been taken and came no further.
func (i *Installer) recover(ctx context.Context) error {
	entries, err := os.ReadDir(i.path("jobs"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), ".lock")
		over := isLock && !slices.ContainsFunc(entries, func(f os.DirEntry) bool { return f.Name() == name+".json" })
		if over || strings.HasSuffix(e.Name(), ".tmp") { // of a run that was cut short: nobody else writes here
			if err := remove(i.path("jobs", e.Name())); err != nil {
				return err
			}
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		j, err := readJob(i.path("jobs", e.Name()))
		if err != nil { // a name never stands for half a file: it is none of ours
			i.Log.Warn("job dropped", "err", err)
			if err := remove(i.path("jobs", e.Name())); err != nil {
				return err
			}
			continue
		}
		i.Log.Info("waiting for a hook of an earlier run", "module", j.Call.Module, "verb", j.Call.Verb)
		if err := j.settle(ctx, "it was interrupted"); err != nil {
			return err
		}
	}
	marks, err := i.results().marks()
	for key, m := range marks {
		if a, ok, aerr := i.results().answer(key); aerr == nil && ok && a.Nonce == m.Nonce {
			err = errors.Join(err, remove(i.path("results", key+markSuffix))) // a power cut brought it back
			continue
		}
		err = errors.Join(err, i.results().put(key, Answer{Nonce: m.Nonce, ID: m.ID, To: m.To, Kind: Lost, Outcome: Outcome{Code: -1, Text: "the installer was interrupted"}}))
	}
	return err
}

// takeAll moves the requests out of the watched directory, so that it becomes
// empty whatever they are.
func (i *Installer) takeAll() (taken []Request, err error) {
	root, err := os.OpenRoot(filepath.Join(i.Agent, requestDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxRequests)
	slices.Sort(names)
	for _, name := range names {
		q, err := i.take(root, name)
		if err != nil {
			i.Log.Warn("request refused", "name", plain(name, 80), "err", err)
		} else {
			// Marked as taken before its file is removed: at every moment the daemon
			// sees the one or the other.
			if err := i.results().mark(q.key(), mark{Nonce: q.Nonce, ID: q.ID, To: q.To, Module: q.Module, Verb: q.Verb, Boot: i.boot}); err != nil {
				return nil, err // it stays for the next run
			}
			taken = append(taken, q)
		}
		if err := disk.RemoveIn(root, name); err != nil {
			return nil, err
		}
	}
	if len(names) > 0 && len(taken) == 0 {
		return i.takeAll() // there may be more than were looked at
	}
	return taken, nil
}

// take reads a request.
func (i *Installer) take(root *os.Root, name string) (Request, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Request{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Request{}, errors.Join(fmt.Errorf("%w: no regular file", ErrRequest), err)
	}
	q, err := readRequest(f)
	if err != nil {
		return q, err
	}
	if q.stale(i.boot, bootTime()) {
		return q, fmt.Errorf("%w: it is of another boot, or too old", ErrRequest)
	}
	return q, nil
}
