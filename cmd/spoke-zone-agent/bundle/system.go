package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a program that is asked.
const (
	programTime  = 15 * time.Second
	journalSince = "-7d"
	journalLines = "20000"
)

// units are those of the package.
var units = []string{
	"spoke-zone-agent.service", "spoke-zone-install.service", "spoke-zone-install.path", "spoke-zone-guard.service", "spoke-zone-guard.timer",
}

// journal adds that of our units.
func (b *Bundle) journal(ctx context.Context) error {
	args := []string{"--no-pager", "--output=short-iso-precise", "--since=" + journalSince, "--lines=" + journalLines}
	for _, u := range units {
		args = append(args, "--unit="+u)
	}
	text, err := ask(ctx, "journalctl", args...)
	if err != nil {
		b.omit("journal.txt", err)
	}
	if text == "" {
		return nil
	}
	return b.add("journal.txt", text)
}

// ask runs a program and returns the end of what it says.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	path, err := exec.LookPath(program)
	if err != nil {
		return "", errors.New(program + " is not there")
	}
	var out, said end
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), "LANG=C", "LC_ALL=C", "SYSTEMD_COLORS=0")
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %.200q", program, err, strings.TrimSpace(said.text()))
	}
	return out.text(), err
}

// An end keeps the last bytes that are written to it.
type end struct {
	data []byte
	cut  bool
}

func (e *end) Write(b []byte) (int, error) {
	e.data = append(e.data, b...)
	if len(e.data) > 2*maxFile {
		e.data = append(e.data[:0], e.data[len(e.data)-maxFile:]...)
		e.cut = true
	}
	return len(b), nil
}

// text is what was kept, from the beginning of a line on: half a secret would
// not be known as one.
func (e *end) text() string {
	if !e.cut {
		return string(e.data)
	}
	_, whole, _ := bytes.Cut(e.data, []byte("\n"))
	return string(whole)
}

// system adds what the gateway is and how it is.
func (b *Bundle) system(context.Context) error {
	for _, part := range []struct {
		name string
		text string
	}{
		{"system/versions.txt", fmt.Sprintf("spoke-zone-agent %s, %s %s/%s\n\n%s\n%s", b.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH,
			b.proc("/proc/version"), b.proc("/etc/os-release"))},
		{"system/clock.txt", b.clock()},
		{"system/disk.txt", b.disk()},
		{"system/mounts.txt", b.proc("/proc/self/mountinfo")},
		{"system/memory.txt", b.proc("/proc/meminfo") + b.proc("/proc/loadavg")},
		{"system/network.txt", b.network()},
	} {
		if err := b.add(part.name, part.text); err != nil {
			return err
		}
	}
	return nil
}

// proc is a file of the system, or why it cannot be read.
func (b *Bundle) proc(name string) string {
	text, err := readSome(name, maxRecord)
	if err != nil {
		return err.Error() + "\n"
	}
	return text
}

func (b *Bundle) clock() string {
	now := b.Now()
	zone, offset := now.Zone()
	var x unix.Timex
	state, err := unix.Adjtimex(&x)
	synced := "yes"
	if err != nil || state == unix.TIME_ERROR {
		synced = "no"
	}
	return fmt.Sprintf("time       %s\nzone       %s (%+d s)\nsynced     %s, by the kernel's word\nuptime     %s", now.UTC().Format(time.RFC3339), zone, offset, synced, b.proc("/proc/uptime"))
}

func (b *Bundle) disk() string {
	var out strings.Builder
	p := b.conf.Paths
	for _, dir := range []string{"/", "/tmp", "/run", "/var/log", p.State, p.Spool, p.Run} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			fmt.Fprintf(&out, "%s: %v\n", dir, err)
			continue
		}
		fmt.Fprintf(&out, "%s: %d of %d MiB free, %d of %d inodes free, type %#x, flags %#x\n",
			dir, int64(st.Bavail)*int64(st.Bsize)>>20, int64(st.Blocks)*int64(st.Bsize)>>20, st.Ffree, st.Files, int64(st.Type), int64(st.Flags))
	}
	return out.String()
}

// network are the interfaces, without their hardware addresses: a board may be
// named by one.
func (b *Bundle) network() string {
	var out strings.Builder
	all, err := net.Interfaces()
	if err != nil {
		fmt.Fprintln(&out, err)
	}
	for _, i := range all {
		addrs, _ := i.Addrs()
		fmt.Fprintf(&out, "%d %s mtu %d %s %v\n", i.Index, i.Name, i.MTU, i.Flags, addrs)
	}
	for _, name := range []string{"/proc/net/route", "/proc/net/ipv6_route", "/proc/net/dev", "/etc/resolv.conf"} {
		out.WriteString("\n" + name + "\n" + b.proc(name))
	}
	return out.String()
}
