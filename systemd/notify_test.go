package systemd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A manager is systemd's end of NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn syscall.RawConn
}

func newManager(t *testing.T) manager {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", sock)
	status = new(statusLine)
	return manager{t, raw}
}

// want compares what has arrived with the messages in want. It does not wait:
// a datagram on a unix socket is there before the write returns.
func (m manager) want(want ...string) {
	m.t.Helper()
	if got := m.arrived(); !slices.Equal(got, want) {
		m.t.Errorf("systemd was told %q, want %q", got, want)
	}
}

func (m manager) arrived() (got []string) {
	m.t.Helper()
	b := make([]byte, 4096)
	err := m.conn.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			got = append(got, string(b[:n]))
		}
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func TestNotificationsAreWhatSystemdReads(t *testing.T) {
	m := newManager(t)
	Ready()
	Stopping()
	m.want("READY=1", "STOPPING=1")
	Reloading()
	if got := m.arrived(); len(got) != 1 || !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n$`).MatchString(got[0]) {
		t.Errorf("Reloading sent %q, want RELOADING=1 and MONOTONIC_USEC", got)
	}
}

func TestOutsideSystemdNobodyIsTold(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", "")
	Ready()
	Statusf("online")
	m.want()
	if status.sent != "" {
		t.Errorf("status %q counts as sent", status.sent)
	}
}

func TestStatusIsSentWhenItChanges(t *testing.T) {
	m := newManager(t)
	synctest.Test(t, func(t *testing.T) {
		Statusf("online, %d queued", 0)
		m.want("STATUS=online, 0 queued")
		time.Sleep(time.Minute)
		Statusf("online, %d queued", 0)
		m.want()
		Statusf("online, %d queued", 1)
		m.want("STATUS=online, 1 queued")
	})
}

func TestStatusChangesOnceASecondAndEndsWithTheNewest(t *testing.T) {
	m := newManager(t)
	synctest.Test(t, func(t *testing.T) {
		for _, line := range []string{"one", "two", "three", "four"} {
			Statusf("%s", line)
		}
		m.want("STATUS=one")
		time.Sleep(statusEvery + 1)
		m.want("STATUS=four")
		Statusf("five")
		Statusf("four")
		time.Sleep(time.Minute)
		m.want()
	})
}

func TestStatusIsOneFieldWithoutSecrets(t *testing.T) {
	m := newManager(t)
	Statusf("refused:\nWATCHDOG=1\x1b[31m %s %s", token, strings.Repeat("ü", 300))
	all := m.arrived()
	if len(all) != 1 {
		t.Fatalf("systemd was told %q, want one status", all)
	}
	for _, got := range all {
		if strings.ContainsAny(got, "\n\x1b") || strings.Contains(got, "eyJ") || len(got) > len("STATUS=")+maxStatus {
			t.Errorf("got %q (%d bytes)", got, len(got))
		}
	}
}

func TestWatchdogFallsSilentAndSaysWhy(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", "")
	synctest.Test(t, func(t *testing.T) {
		Statusf("online")
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+time.Second)
		defer cancel()
		start := time.Now()
		err := Watchdog(ctx, func() error {
			if after := time.Since(start); after > time.Minute && after < 3*time.Minute {
				return errors.New("mqtt silent for 90s")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		const ping = "WATCHDOG=1"
		m.want("STATUS=online", ping, ping, ping, "STATUS=stuck, to be restarted: mqtt silent for 90s",
			"STATUS=online", ping, ping, ping)
	})
}

func TestWatchdogWithoutWatchdogSecWaits(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Watchdog(ctx, func() error { t.Error("asked for health"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestWatchdogRefusesNonsense(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := Watchdog(t.Context(), func() error { return nil }); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
		t.Errorf("got %v, want an error that names WATCHDOG_USEC", err)
	}
}

func TestChildrenInheritNothingOfOurs(t *testing.T) {
	env := []string{"PATH=/bin", "NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=1", "WATCHDOG_PID=2", "LISTEN_FDS=1", "LISTEN_FDNAMES=a",
		"CREDENTIALS_DIRECTORY=/run/c", "JOURNAL_STREAM=9:1", "LISTENER=kept", "LANG=C", "odd"}
	kept := slices.Clone(env)
	if got, want := StripEnv(env), []string{"PATH=/bin", "LISTENER=kept", "LANG=C", "odd"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(env, kept) {
		t.Error("the caller's list was changed")
	}
}
