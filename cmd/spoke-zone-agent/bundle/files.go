package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spoke-zone/spoke-zone-agent/agent/redact"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

const (
	maxListed = 3000     // files in the list of what is there
	maxRecord = 64 << 10 // bytes of a record that is shown
	maxShown  = 300      // records
)

// readSome reads the beginning of a file, of /proc for example, without waiting.
func readSome(name string, most int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	return string(data), err
}

// settings adds the files of settings.
func (b *Bundle) settings(context.Context) error {
	names := []string{b.ConfigPath}
	further, _ := filepath.Glob(b.ConfigPath + ".d/*.conf")
	accounts, _ := filepath.Glob(filepath.Join(b.conf.Paths.Accounts, "*.conf"))
	names = append(append(append(names, further...), b.InstallPolicy), accounts...)
	for _, name := range names {
		text, err := head(name)
		if errors.Is(err, fs.ErrNotExist) && (name == b.ConfigPath || name == b.InstallPolicy) {
			continue // the defaults are in force
		}
		if err != nil {
			b.omit(name, err)
			continue
		}
		shown := filepath.Base(name)
		if dir := filepath.Dir(name); dir != filepath.Dir(b.ConfigPath) && name != b.InstallPolicy {
			shown = filepath.Base(dir) + "/" + shown
		}
		if err := b.add("settings/"+shown, redact.Settings(text)); err != nil {
			return err
		}
	}
	return nil
}

// identity adds the vendor's file: the names of what is in it, and no value but
// the device's number.
func (b *Bundle) identity(context.Context) error {
	name := b.conf.Paths.Identity
	text, err := head(name)
	if err != nil {
		b.omit(name, err)
		return nil
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(line, "=")
		bare := strings.TrimSpace(line)
		switch {
		case bare == "":
		case strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]"):
			out.WriteString(line)
		case ok && strings.EqualFold(strings.TrimSpace(key), "device_id"):
			out.WriteString(line)
		case ok && !strings.HasPrefix(bare, "#") && !strings.HasPrefix(bare, ";"):
			fmt.Fprintf(&out, "%s= %s (%d bytes)", key, redact.Mark, len(strings.TrimSpace(value)))
		default:
			fmt.Fprintf(&out, "%s (a line of %d bytes)", redact.Mark, len(line))
		}
		out.WriteString("\n")
	}
	return b.add("identity/"+filepath.Base(name), out.String())
}

// states adds a list of what the agent and the installer have on disk, and the
// records of updates and of diagnostics.
func (b *Bundle) states(ctx context.Context) error {
	installer, _ := conf.LoadInstall(b.InstallPolicy) // with faults, the defaults
	p := b.conf.Paths
	var list strings.Builder
	listed := 0
	var shown []string
	for _, dir := range []string{p.State, p.Spool, p.Run, filepath.Dir(p.Identity), p.Accounts, p.Commands, installer.State} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if ctx.Err() != nil || listed >= maxListed {
				return fs.SkipAll
			}
			listed++
			if err != nil {
				fmt.Fprintf(&list, "%s: %v\n", path, err)
				return nil
			}
			info, err := e.Info()
			if err != nil {
				return nil
			}
			fmt.Fprintf(&list, "%s %12d %s %q\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
			if info.Mode().IsRegular() && info.Size() <= maxRecord && telling(p.State, installer.State, path) {
				shown = append(shown, path)
			}
			return nil
		})
		if err != nil {
			b.omit(dir, err)
		}
	}
	if listed >= maxListed {
		fmt.Fprintf(&list, "(no more than %d are listed)\n", maxListed)
	}
	if err := b.add("state/files.txt", list.String()); err != nil {
		return err
	}
	for i, path := range shown {
		text, err := readSome(path, maxRecord)
		switch {
		case i == maxShown:
			b.omit(path, fmt.Errorf("%d records are there already", maxShown))
			return nil
		case err != nil:
			b.omit(path, err)
			continue
		case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
			continue
		}
		if err := b.add("state"+path, text); err != nil {
			return err
		}
	}
	return nil
}

// telling reports whether a file is a record of what the agent or the installer
// is about. What is fetched, queued or secret is none.
func telling(state, installer, path string) bool {
	for _, dir := range []string{filepath.Join(state, "ota"), filepath.Join(state, "install"), filepath.Join(installer, "results"), filepath.Join(installer, "unproven")} {
		if strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	switch path {
	case filepath.Join(state, "diagnostics"), filepath.Join(state, "capture", "journal"), filepath.Join(state, "capture", "dmesg"), filepath.Join(state, "capture", "debug"):
		return true
	}
	return false
}
