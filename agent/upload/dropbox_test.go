package upload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileIsTakenOnceItHasSettled(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		path := b.drop("log/growing", "0\n")
		for i := 1; i < 200; i++ { // a line a second, each by a new open
			time.Sleep(time.Second)
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatalf("taken after %d s: %v", i, err)
			}
			fmt.Fprintln(f, i)
			f.Close()
		}
		b.idle()
		if got := c.arrived(); len(got) != 1 || strings.Count(got[0], "\n") != 200 {
			t.Errorf("arrived %q", got)
		}
	})
}

func TestUnfinishedNamesAreLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		names := []string{"log/.hidden", "log/a.part", "log/b.TMP", "log/m/c.tmp", ".log/x", "log/.m/x"}
		for _, name := range names {
			b.drop(name, "half")
		}
		time.Sleep(time.Hour)
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(b.Dir, name)); err != nil {
				t.Error(err)
			}
		}
		if err := os.Rename(filepath.Join(b.Dir, "log/a.part"), filepath.Join(b.Dir, "log/a")); err != nil {
			t.Fatal(err)
		}
		b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//a=half"})
		s, _ := b.Status()
		equal(t, "skipped", s.Skipped, []Skipped(nil))
	})
}

func TestFileThatIsOpenForWritingIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		path := b.drop("log/open", "begun")
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if !beingWritten(r) {
			// No leases on this file system: then the settle time is all.
			w.Close()
			if _, err := unix.FcntlInt(r.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err == nil {
				t.Error("a lease is granted, yet an open writer was not seen")
			}
			return
		}
		time.Sleep(time.Hour)
		equal(t, "arrived", c.arrived(), []string(nil))
		fmt.Fprint(w, " and ended")
		w.Close()
		b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//open=begun and ended"})
	})
}

// TestHostileSpool is the last row of the table of bad input: skipped or
// quarantined with the reason, and never an entry at the cloud.
func TestHostileSpool(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		make        func(b *bench) error
		skipped     string // path of the file
		quarantined string // name of the file
		reason      string
	}{
		{"empty", func(b *bench) error { b.drop("log/empty", ""); return nil },
			"", "empty", "file is empty"},
		{"symbolic link", func(b *bench) error { return os.Symlink(secret, filepath.Join(b.Dir, "log/link")) },
			"log/link", "", "symbolic link"},
		{"dangling link", func(b *bench) error { return os.Symlink("/nowhere", filepath.Join(b.Dir, "log/link")) },
			"log/link", "", "symbolic link"},
		{"hard link", func(b *bench) error { return os.Link(secret, filepath.Join(b.Dir, "log/hard")) },
			"log/hard", "", "more than one name"},
		{"pipe", func(b *bench) error { return unix.Mkfifo(filepath.Join(b.Dir, "log/pipe"), 0o666) },
			"log/pipe", "", "not a regular file"},
		{"socket", func(b *bench) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			here, err := os.Getwd()
			if err != nil {
				return err
			}
			defer os.Chdir(here) // a socket's path is short
			if err := os.Chdir(filepath.Join(b.Dir, "log")); err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrUnix{Name: "sock"})
		}, "log/sock", "", "not a regular file"},
		{"too large", func(b *bench) error { b.drop("log/large", strings.Repeat("x", 2000)); return nil },
			"log/large", "", "larger than the spool (2000 bytes, of 1000)"},
		{"control characters", func(b *bench) error { b.drop("log/a\x1b[2Jb\n", "x"); return nil },
			`"log/a\x1b[2Jb\n"`, "", "control characters"},
		{"not UTF-8", func(b *bench) error { b.drop("log/\xff\xfe", "x"); return nil },
			`"log/\xff\xfe"`, "", "not UTF-8"},
		{"directory too deep", func(b *bench) error { b.drop("log/display/deep/file", "x"); return nil },
			"log/display/deep", "", "directory"},
		{"directory that is no module", func(b *bench) error { b.drop("log/no module/file", "x"); return nil },
			"log/no module", "", "directory"},
		{"directory of no type", func(b *bench) error { b.drop("video/file", "x"); return nil },
			"video", "", "not the directory of a type"},
		{"file beside the types", func(b *bench) error { b.drop("file", "x"); return nil },
			"file", "", "not the directory of a type"},
		{"module that is a link", func(b *bench) error { return os.Symlink(filepath.Dir(secret), filepath.Join(b.Dir, "log/display")) },
			"log/display", "", "symbolic link"},
		{"type that is a link", func(b *bench) error {
			if err := os.Remove(filepath.Join(b.Dir, "gps")); err != nil {
				return err
			}
			return os.Symlink(filepath.Dir(secret), filepath.Join(b.Dir, "gps"))
		}, "gps", "", "not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				b := newBench(t, dir, c)
				b.MaxSpool = 1000
				b.start()
				defer b.stop()
				time.Sleep(time.Second)
				if err := tc.make(b); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				s, _ := b.Status()
				if tc.skipped != "" && (len(s.Skipped) != 1 || s.Skipped[0].Path != tc.skipped || !strings.Contains(s.Skipped[0].Reason, tc.reason)) {
					t.Errorf("skipped %q, want %s: %s", s.Skipped, tc.skipped, tc.reason)
				}
				q := b.quarantine()
				if tc.quarantined != "" && (len(q) != 1 || s.Quarantined != 1 || !strings.Contains(q[tc.quarantined], tc.reason)) {
					t.Errorf("quarantined %d: %q, want %s: %s", s.Quarantined, q, tc.quarantined, tc.reason)
				}
				if c.registered() != 0 || tc.skipped != "" && len(q) != 0 {
					t.Errorf("%d entries at the cloud, quarantined %q", c.registered(), q)
				}
				// It holds nobody up.
				b.drop("txt/good", "x")
				time.Sleep(time.Hour)
				equal(t, "arrived", c.arrived(), []string{"txt//good=x"})
				if got, err := os.ReadFile(secret); string(got) != "of another" || err != nil {
					t.Errorf("the file of another: %q, %v", got, err)
				}
			})
		})
	}
}

func TestAcceptable(t *testing.T) {
	for _, tc := range []struct {
		name string
		st   unix.Stat_t
		want error
	}{
		{"ours", unix.Stat_t{Mode: unix.S_IFREG, Uid: 1000, Nlink: 1, Size: 10}, nil},
		{"root's", unix.Stat_t{Mode: unix.S_IFREG, Uid: 0, Nlink: 1, Size: 10}, nil},
		{"another user's", unix.Stat_t{Mode: unix.S_IFREG, Uid: 1001, Nlink: 1, Size: 10}, errForeign},
		{"two names", unix.Stat_t{Mode: unix.S_IFREG, Uid: 0, Nlink: 2, Size: 10}, errNames},
		{"too large", unix.Stat_t{Mode: unix.S_IFREG, Uid: 0, Nlink: 1, Size: 11}, errLarge},
		{"empty", unix.Stat_t{Mode: unix.S_IFREG, Uid: 0, Nlink: 1}, nil}, // later, when it stays so
		{"link", unix.Stat_t{Mode: unix.S_IFLNK, Uid: 0, Nlink: 1}, errLink},
		{"directory", unix.Stat_t{Mode: unix.S_IFDIR, Uid: 0, Nlink: 2}, errDirectory},
		{"character device", unix.Stat_t{Mode: unix.S_IFCHR, Uid: 0, Nlink: 1}, errSpecial},
		{"block device", unix.Stat_t{Mode: unix.S_IFBLK, Uid: 0, Nlink: 1}, errSpecial},
		{"pipe", unix.Stat_t{Mode: unix.S_IFIFO, Uid: 0, Nlink: 1}, errSpecial},
		{"socket", unix.Stat_t{Mode: unix.S_IFSOCK, Uid: 0, Nlink: 1}, errSpecial},
	} {
		if got := (policy{uid: 1000, limit: 10}).accept(&tc.st); !errors.Is(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestEmptyFileMayStillBeFilled: a program that makes the file first.
func TestEmptyFileMayStillBeFilled(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.drop("log/a", "")
		b.start()
		defer b.stop()
		time.Sleep(settleEmpty - time.Second)
		b.drop("log/a", "filled in time")
		b.idle()
		equal(t, "arrived", c.arrived(), []string{"log//a=filled in time"})
		equal(t, "quarantine", len(b.quarantine()), 0)
	})
}

func TestDropBoxMayComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		if err := os.RemoveAll(b.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.Dir, nil, 0o644); err != nil { // in its way
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s, _ := b.Status(); s.IntakeError == "" {
			t.Error("status does not say that the drop box is gone")
		}
		b.add("log", "", "meanwhile", "x")
		time.Sleep(time.Minute)
		if err := os.Remove(b.Dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.drop("log/again", "y")
		if s := b.idle(); s.IntakeError != "" {
			t.Errorf("status %+v", s)
		}
		equal(t, "arrived", c.arrived(), []string{"log//meanwhile=x", "log//again=y"})
	})
}

func TestFloodIsBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		b.setDefaults()
		for i := range maxSeen + 100 {
			b.drop(fmt.Sprintf("log/%05d", i), "x")
		}
		for range 2 {
			if _, err := b.Uploader.drop.scan(time.Now(), b.policy()); err != nil {
				t.Fatal(err)
			}
			if n := len(b.Uploader.drop.seen); n > maxSeen {
				t.Errorf("%d files followed, at most %d", n, maxSeen)
			}
			time.Sleep(settle)
		}
		equal(t, "ready", len(b.Uploader.drop.ready), maxSeen)
	})
}
