package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// A Kind is how a request was answered.
type Kind string

// The kinds of answers.
const (
	Ran     Kind = "ran"     // the hook was run to its end
	Refused Kind = "refused" // by policy, before a hook saw it
	None    Kind = "none"    // the module has no hook that may be run
	Lost    Kind = "lost"    // nobody knows how it ended, or whether it began
)

// An Answer is the durable result of a request, which the daemon reads.
type Answer struct {
	Nonce string `json:"nonce"`
	ID    string `json:"id"`
	To    string `json:"to"`
	Kind  Kind   `json:"kind"`
	Outcome
}

// result turns an answer to verb v into the daemon's words.
func (a Answer) result(v ota.Verb) (ota.Result, error) {
	switch a.Kind {
	case Ran, Refused:
		text := a.Text
		if a.Cause != "" {
			text = a.Cause + ": " + text
		}
		return ota.Result{Code: a.Meaning(v), Settings: a.Settings, RetryAfter: a.RetryAfter, NeedBytes: a.NeedBytes, Text: text}, nil
	case None:
		return ota.Result{}, fmt.Errorf("%w: %s", ota.ErrNoInstaller, a.Text)
	}
	return ota.Result{}, fmt.Errorf("%s: the installer does not know how it ended: %s", v, a.Text)
}

// A mark says that a request has been taken and not been answered.
type mark struct {
	Nonce  string   `json:"nonce"`
	ID     string   `json:"id"`
	To     string   `json:"to"`
	Module string   `json:"module"`
	Verb   ota.Verb `json:"verb"`
	Boot   string   `json:"boot"`
}

// results is the directory with answers and marks: written by the installer,
// read by the daemon.
type results string

const (
	answerSuffix = ".json"
	markSuffix   = ".running"
	answerBytes  = 256 << 10
)

func (r results) answer(key string) (a Answer, ok bool, err error) {
	err = readJSON(filepath.Join(string(r), key+answerSuffix), &a)
	if errors.Is(err, fs.ErrNotExist) {
		return a, false, nil
	}
	return a, err == nil, err
}

// put answers a request, durably, and takes its mark away.
func (r results) put(key string, a Answer) error {
	if err := writeJSON(filepath.Join(string(r), key+answerSuffix), a, 0o640); err != nil {
		return err
	}
	return remove(filepath.Join(string(r), key+markSuffix))
}

func (r results) mark(key string, m mark) error {
	return writeJSON(filepath.Join(string(r), key+markSuffix), m, 0o640)
}

// marks lists the requests that are being worked on, by key.
func (r results) marks() (map[string]mark, error) {
	names, err := r.names(markSuffix)
	all := map[string]mark{}
	for _, name := range names {
		var m mark
		if err := readJSON(filepath.Join(string(r), name), &m); err == nil {
			all[strings.TrimSuffix(name, markSuffix)] = m
		} else if !errors.Is(err, fs.ErrNotExist) {
			return all, err
		}
	}
	return all, err
}

func (r results) names(suffix string) (names []string, err error) {
	entries, err := os.ReadDir(string(r))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// prune keeps the newest answers.
func (r results) prune(keep int) error {
	names, err := r.names(answerSuffix)
	if err != nil || len(names) <= keep {
		return err
	}
	age := map[string]int64{}
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(string(r), name)); err == nil {
			age[name] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(min(1, max(-1, age[a]-age[b]))) })
	for _, name := range names[:len(names)-keep] {
		if err := remove(filepath.Join(string(r), name)); err != nil {
			return err
		}
	}
	return nil
}

// readJSON reads a file of the installer's own.
func readJSON(name string, v any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() > answerBytes:
		return fmt.Errorf("%s has %d bytes, more than %d", name, info.Size(), answerBytes)
	}
	if err := json.NewDecoder(f).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func writeJSON(name string, v any, perm fs.FileMode) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.WriteFS(disk, name, append(data, '\n'), perm)
}

func remove(name string) error {
	if err := disk.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
