package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// aDisk returns a directory that holds a file system in memory, in a mount
// namespace of its own, and false in the process that waits for that.
func aDisk(t *testing.T, options string) (dir string, ok bool) {
	t.Helper()
	if !isolated(t, unix.CLONE_NEWNS) {
		return "", false
	}
	dir = t.TempDir()
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, options),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, true
}

func bind(t *testing.T, from, to string, flags uintptr) {
	t.Helper()
	err := unix.Mount(from, to, "", unix.MS_BIND, "")
	if err == nil && flags != 0 {
		err = unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// moved puts the gateway's identity file into dir/etc.
func (gw *gateway) moved(t *testing.T, dir string) (etc string) {
	t.Helper()
	text := gw.identityFile(t)
	etc = filepath.Join(dir, "etc")
	gw.conf.Paths.Identity = filepath.Join(etc, "spoke-zone.conf")
	if err := errors.Join(os.Mkdir(etc, 0o755), os.WriteFile(gw.conf.Paths.Identity, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return etc
}

// twoWeeks runs the gateway for two weeks, with a reboot in their middle, and
// wants a token that serves, a session that is up, and the problems named.
func (gw *gateway) twoWeeks(t *testing.T, problems ...string) {
	t.Helper()
	for week := range 2 {
		gw.start(t)
		time.Sleep(7*24*time.Hour + time.Hour)
		s := gw.g.status()
		if !gw.usable() || s.Token.Renewals == 0 || s.MQTT.State != "online" {
			t.Errorf("week %d: token %+v, mqtt %+v", week+1, s.Token, s.MQTT)
		}
		said := strings.Join(s.Problems, "\n")
		for _, want := range problems {
			if !strings.Contains(said, want) {
				t.Errorf("week %d: no problem says %q: %q", week+1, want, s.Problems)
			}
		}
		if len(problems) == 0 && len(s.Problems) > 0 {
			t.Errorf("week %d: problems %q", week+1, s.Problems)
		}
		gw.stop(t)
	}
}

// inADisk runs f in a bubble beside a cloud.
func inADisk(t *testing.T, f func(t *testing.T, dir string, gw *gateway)) {
	t.Helper()
	dir, ok := aDisk(t, "mode=0755")
	if !ok {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Telemetry.VersionsInterval = 24 * time.Hour // less to simulate
		f(t, dir, gw)
	})
}

func TestEtcIsReadOnly(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		etc := gw.moved(t, dir)
		before := gw.identityFile(t)
		bind(t, etc, etc, unix.MS_RDONLY)
		gw.twoWeeks(t, "the identity file does not hold the newest token")
		if gw.identityFile(t) != before {
			t.Error("the identity file was changed")
		}
		s := gw.g.status()
		if !s.Token.Stored.State || s.Token.Stored.IdentityFile || !strings.Contains(s.Token.Stored.Error, "read-only") {
			t.Errorf("stored: %+v", s.Token.Stored)
		}
	})
}

func TestTheIdentityFileIsABindMount(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		etc := gw.moved(t, dir)
		data := filepath.Join(dir, "data.conf")
		if err := os.WriteFile(data, []byte(gw.identityFile(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		bind(t, etc, etc, unix.MS_RDONLY)
		bind(t, data, gw.conf.Paths.Identity, 0) // writable in a directory that is not
		gw.twoWeeks(t)
		if b, err := os.ReadFile(data); err != nil || !strings.Contains(string(b), gw.inUse()) {
			t.Errorf("the file that is mounted does not hold the token in use: %v", err)
		}
	})
}

func TestTheIdentityFileIsALinkIntoAWritablePartition(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		etc := gw.moved(t, dir)
		data := filepath.Join(dir, "rw_data")
		path := gw.conf.Paths.Identity
		if err := errors.Join(os.Mkdir(data, 0o755), os.Rename(path, filepath.Join(data, "zone.conf")),
			os.Symlink("../rw_data/zone.conf", path)); err != nil {
			t.Fatal(err)
		}
		bind(t, etc, etc, unix.MS_RDONLY)
		gw.twoWeeks(t)
		if to, err := os.Readlink(path); err != nil || to != "../rw_data/zone.conf" {
			t.Errorf("the link is now %q, %v", to, err)
		}
		if !strings.Contains(gw.identityFile(t), gw.inUse()) {
			t.Error("the file behind the link does not hold the token in use")
		}
	})
}

// A device whose identity file is gone goes on with the token, the cpu_id and
// the uuid of its state directory, wherever that is, also after a reboot.
func TestTheIdentityFileGoesMissing(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		gw.conf.Paths.State = filepath.Join(dir, "rw_data", "deep", "agent")
		gw.start(t)
		time.Sleep(time.Hour)
		gw.stop(t)
		if err := os.Remove(gw.conf.Paths.Identity); err != nil {
			t.Fatal(err)
		}
		gw.twoWeeks(t, "identity file: ")
		if _, err := os.Stat(filepath.Join(gw.conf.Paths.State, "cred", "tokens")); err != nil {
			t.Errorf("the state is elsewhere: %v", err)
		}
		if _, err := os.Stat(gw.conf.Paths.Identity); err == nil {
			t.Error("an identity file was made: it is the vendor's to make")
		}
	})
}

func TestTheStateDirectoryIsReadOnly(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		gw.moved(t, dir)
		state := filepath.Join(dir, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		bind(t, state, state, unix.MS_RDONLY)
		gw.conf.Paths.State = state
		gw.twoWeeks(t, "the token is not stored in "+state, "state/cred: ") // the identity file alone carries it over the reboot
		if s := gw.g.status(); s.Token.Stored.State || !s.Token.Stored.IdentityFile || !strings.Contains(s.Token.Stored.Error, "no such file") && !strings.Contains(s.Token.Stored.Error, "read-only") {
			t.Errorf("stored: %+v", s.Token.Stored)
		}
	})
}

// With both read-only the token lives in memory, and the agent says that.
func TestNothingCanBeWritten(t *testing.T) {
	inADisk(t, func(t *testing.T, dir string, gw *gateway) {
		gw.moved(t, dir)
		gw.conf.Paths.State = filepath.Join(dir, "state")
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		gw.start(t)
		time.Sleep(8 * 24 * time.Hour)
		s := gw.g.status()
		if !gw.usable() || s.Token.Renewals < 1 || s.MQTT.State != "online" || s.Token.Stored.State || s.Token.Stored.IdentityFile {
			t.Errorf("token %+v, mqtt %+v", s.Token, s.MQTT)
		}
		if said := strings.Join(s.Problems, "\n"); !strings.Contains(said, "would be lost with the power") || !strings.Contains(said, "read-only file system") {
			t.Errorf("problems %q", s.Problems)
		}
		gw.stop(t)
	})
}

// A disk that fills up while the agent runs, and has room again later.
func TestTheDiskIsFull(t *testing.T) {
	dir, ok := aDisk(t, "mode=0755,size=256k")
	if !ok {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Paths.State = filepath.Join(dir, "state")
		gw.start(t)
		time.Sleep(time.Hour)
		filler := filepath.Join(dir, "filler")
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		time.Sleep(7 * 24 * time.Hour)
		s := gw.g.status()
		if !gw.usable() || s.Token.Renewals != 1 || s.MQTT.State != "online" || s.Token.Stored.State ||
			!strings.Contains(strings.Join(s.Problems, "\n"), "no space left on device") {
			t.Errorf("on a full disk: token %+v, mqtt %+v, problems %q", s.Token, s.MQTT, s.Problems)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := gw.g.status(); !s.Token.Stored.State || len(s.Problems) > 0 {
			t.Errorf("with room again: stored %+v, problems %q", s.Token.Stored, s.Problems)
		}
		held := gw.inUse()
		gw.stop(t)
		gw.start(t)
		time.Sleep(time.Minute)
		if gw.inUse() != held {
			t.Error("after a reboot another token is in use")
		}
		gw.stop(t)
	})
}
