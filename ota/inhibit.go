package ota

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Inhibitors are what local programs keep updates back with. The zero Inhibitors
// never do.
type Inhibitors struct {
	// Dir holds a file for each reason to wait, named as one likes; its first
	// line may say why. A missing directory is empty.
	Dir string
	// Command is a program with its arguments, run without a shell for at most
	// 10 s: its exit status 0 lets updates go on, any other keeps them back, and
	// the first line that it prints says why.
	Command []string
}

// Reason tells what keeps updates back, "" for nothing. What cannot be asked
// keeps them back: it may be a vehicle that moves.
func (in Inhibitors) Reason(ctx context.Context) string {
	if reason := in.lockFile(); reason != "" || len(in.Command) == 0 {
		return reason
	}
	out, err := output(ctx, in.Command)
	if err == nil {
		return ""
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); line != "" {
		return plain(line)
	}
	return plain(err.Error())
}

func (in Inhibitors) lockFile() string {
	if in.Dir == "" {
		return ""
	}
	entries, err := os.ReadDir(in.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return plain(err.Error())
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(in.Dir, e.Name())
		if line, err := readFirstLine(path); err == nil && line != "" {
			return plain(fmt.Sprintf("%s: %s", path, line))
		}
		return plain(path)
	}
	return ""
}

// plain makes what a program says fit for a line of a log.
func plain(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
