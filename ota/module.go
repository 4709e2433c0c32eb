package ota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Policy says how far the agent goes by itself.
type Policy string

// The policies.
const (
	Notify  Policy = "notify"  // report that a newer release is there
	Fetch   Policy = "fetch"   // and keep it at hand
	Install Policy = "install" // and install it when the rules allow
)

// A Module is a part of the device's software that the cloud knows by its key.
type Module struct {
	Key            string
	Policy         Policy // Notify if empty
	AllowDowngrade bool
	// Installed returns the version that the device runs. Nil: not known, every
	// release is newer.
	Installed func(ctx context.Context) (Version, error)
	// Vet refuses a release by its notes, before any of it is fetched. Nil:
	// none. It only saves data: the installer judges again.
	Vet func(File) error
}

const (
	commandTime  = 10 * time.Second
	versionBytes = 4 << 10 // that are read of a file or an output
)

// VersionFromFile returns an Installed that reads the first line of the regular
// file at path.
func VersionFromFile(path string) func(context.Context) (Version, error) {
	return func(context.Context) (Version, error) {
		line, err := readFirstLine(path)
		if err != nil {
			return "", err
		}
		v, err := firstLine([]byte(line))
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		return v, nil
	}
}

// readFirstLine reads the beginning of a regular file, up to the end of its first
// line that is not empty.
func readFirstLine(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold us
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, versionBytes))
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return line, err
}

// VersionFromCommand returns an Installed that runs argv, without a shell, and
// takes the first line of its output. The command gets 10 s, nothing to read,
// and of the environment only PATH and LANG=C.
func VersionFromCommand(argv []string) func(context.Context) (Version, error) {
	return func(ctx context.Context) (Version, error) {
		out, err := output(ctx, argv)
		if err != nil {
			return "", err
		}
		v, err := firstLine(out)
		if err != nil {
			return "", fmt.Errorf("%s: %w", argv[0], err)
		}
		return v, nil
	}
}

// output runs argv, without a shell, and returns the beginning of what it
// prints, also with an error.
func output(ctx context.Context, argv []string) ([]byte, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command")
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	var out, complaint head
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + searchPath(), "LANG=C"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		if line, _, _ := strings.Cut(strings.TrimSpace(string(complaint.data)), "\n"); line != "" {
			return out.data, fmt.Errorf("%s: %w: %s", argv[0], err, quote(line))
		}
		return out.data, fmt.Errorf("%s: %w", argv[0], err)
	}
	return out.data, nil
}

func searchPath() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return "/usr/sbin:/usr/bin:/sbin:/bin"
}

// firstLine takes a version from what a program or a file says.
func firstLine(data []byte) (Version, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	v := Version(bytes.TrimSpace(line))
	if v == "" {
		return "", errors.New("no version: the first line is empty")
	}
	return v, checkVersion(v)
}

// A head keeps the beginning of what is written to it.
type head struct{ data []byte }

func (h *head) Write(b []byte) (int, error) {
	h.data = append(h.data, b[:min(len(b), versionBytes-len(h.data))]...)
	return len(b), nil
}
