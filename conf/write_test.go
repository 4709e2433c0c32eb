package conf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

const (
	vendorOld = "\xef\xbb\xbf# made by the factory\r\n[mqtt]\r\nmqtt_username = \"" + jwt + "\" ; token\r\nmqtt_password = gibberish\r\ncpu_id = 17"
	vendorNew = "\xef\xbb\xbf# made by the factory\r\n[mqtt]\r\nmqtt_username = \"" + renewed + "\" ; token\r\nmqtt_password = gibberish\r\ncpu_id = 17"
)

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// alone fails the test when there is anything in path's directory but path and
// the names in also.
func alone(t *testing.T, path string, also ...string) {
	t.Helper()
	names, err := OS{}.Names(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(append([]string{filepath.Base(path)}, also...))
	if got := fmt.Sprint(names); got != want {
		t.Errorf("the directory holds %s, want %s", got, want)
	}
}

func statOf(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestWriteTokenKeepsOwnerModeAndAttributes(t *testing.T) {
	path := identityFile(t, vendorOld)
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 23456
	}
	if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, 0o2640)); err != nil {
		t.Fatal(err)
	}
	attributes := map[string]string{"user.origin": "factory", "user.empty": ""}
	for name, value := range attributes {
		if err := unix.Setxattr(path, name, []byte(value), 0); errors.Is(err, unix.ENOTSUP) {
			attributes = nil // not on this file system; the write must work all the same
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	before := statOf(t, path)
	if err := WriteToken(path, renewed); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, path); got != vendorNew {
		t.Errorf("got %q", got)
	}
	after := statOf(t, path)
	if after.Uid != uint32(uid) || after.Gid != uint32(gid) || after.Mode != before.Mode {
		t.Errorf("got %d:%d %o, want %d:%d %o", after.Uid, after.Gid, after.Mode, uid, gid, before.Mode)
	}
	if after.Ino == before.Ino {
		t.Error("the file was not replaced")
	}
	for name, want := range attributes {
		value := make([]byte, 64)
		n, err := unix.Getxattr(path, name, value)
		if err != nil || string(value[:n]) != want {
			t.Errorf("%s: got %q, %v", name, value[:n], err)
		}
	}
	alone(t, path)
}

func TestWriteTokenWritesNothingWhenItIsThere(t *testing.T) {
	path := identityFile(t, vendorNew)
	before := statOf(t, path)
	if err := WriteToken(path, renewed); err != nil {
		t.Fatal(err)
	}
	if after := statOf(t, path); after.Ino != before.Ino || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		t.Errorf("got %+v, want %+v", after, before)
	}
}

func TestWriteTokenFollowsLinks(t *testing.T) {
	path := identityFile(t, vendorOld)
	dir := t.TempDir()
	link := filepath.Join(dir, "spoke-zone.conf")
	if err := errors.Join(os.Symlink(filepath.Dir(path), filepath.Join(dir, "data")),
		os.Symlink("data/spoke-zone.conf", filepath.Join(dir, "second")), os.Symlink("second", link)); err != nil {
		t.Fatal(err)
	}
	if err := WriteToken(link, renewed); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(link); err != nil || got != "second" {
		t.Errorf("the link became %q, %v", got, err)
	}
	if got := contents(t, path); got != vendorNew {
		t.Errorf("got %q", got)
	}
	alone(t, path)
}

func TestWriteTokenMakesNothingOutOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "missing"), ErrNoFile},
		{filepath.Join(dir, "no/directory"), ErrNoFile},
		{filepath.Join(dir, "dangling"), ErrNoFile},
		{dir, ErrUnreadable},
	} {
		if err := WriteToken(c.path, renewed); !errors.Is(err, c.want) || strings.Contains(err.Error(), renewed) {
			t.Errorf("%s: got %v, want %v", c.path, err, c.want)
		}
		if err := (Writer{}).Recover(c.path); c.want == ErrNoFile && err != nil {
			t.Errorf("recover %s: %v", c.path, err)
		}
	}
	alone(t, filepath.Join(dir, "dangling"))
	for _, c := range []struct {
		text string
		want error
	}{
		{"", ErrEmpty}, {"\x00\x00", ErrDamaged}, {"[mqtt]\n", ErrNoToken}, {strings.Repeat(";", maxFile+1), ErrTooLarge},
	} {
		path := identityFile(t, c.text)
		if err := WriteToken(path, renewed); !errors.Is(err, c.want) || contents(t, path) != c.text {
			t.Errorf("%.5q: got %v, want %v", c.text, err, c.want)
		}
		alone(t, path)
	}
	if err := WriteToken(identityFile(t, vendorOld), "a b"); !errors.Is(err, ErrToken) {
		t.Errorf("got %v", err)
	}
}

func TestWriteTokenFillsAnEmptyOne(t *testing.T) {
	path := identityFile(t, "mqtt_username =\nuuid = 1\n")
	if err := WriteToken(path, renewed); err != nil || contents(t, path) != "mqtt_username ="+renewed+"\nuuid = 1\n" {
		t.Errorf("got %v, %q", err, contents(t, path))
	}
}

func TestWriteTokenCleansUpAfterAPowerCut(t *testing.T) {
	path := identityFile(t, vendorOld)
	dir := filepath.Dir(path)
	for _, name := range []string{".spoke-zone.conf" + mark + "LEFTOVER", ".other.conf" + mark + "X", ".spoke-zone.conf.swp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteToken(path, renewed); err != nil {
		t.Fatal(err)
	}
	names, err := OS{}.Names(dir)
	if want := "[.other.conf" + mark + "X .spoke-zone.conf.swp spoke-zone.conf]"; err != nil || fmt.Sprint(names) != want {
		t.Errorf("got %v, %v, want %s", names, err, want)
	}
}

// asNobody runs f without the rights of root on files.
func asNobody(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		gid, _ := unix.SetfsgidRetGid(65534)
		uid, _ := unix.SetfsuidRetUid(65534)
		defer func() { _, _ = unix.SetfsuidRetUid(uid); _, _ = unix.SetfsgidRetGid(gid) }()
	}
	f()
}

func TestWriteTokenWithoutRights(t *testing.T) {
	others := os.Geteuid() == 0 // the file, and so a new one in its place would have another owner
	ours := map[bool]error{true: ErrReadOnly}[others]
	for _, c := range []struct {
		name              string
		directory, file   os.FileMode
		want              error
		readable, changed bool
	}{
		{"a closed directory", 0o555, 0o666, ErrReadOnly, true, false},
		{"a closed file", 0o777, 0, ErrUnreadable, false, false},
		{"an open directory, where a new file would be ours", 0o777, 0o644, ours, true, !others},
		{"an open directory and file", 0o777, 0o646, nil, true, true},
	} {
		path := identityFile(t, vendorOld)
		if err := errors.Join(os.Chmod(path, c.file), os.Chmod(filepath.Dir(path), c.directory),
			os.Chmod(filepath.Join(path, "../.."), 0o755)); err != nil {
			t.Fatal(err)
		}
		var err, rerr error
		asNobody(func() {
			err, rerr = WriteToken(path, renewed), func() error { _, err := ReadIdentity(path); return err }()
		})
		if !errors.Is(err, c.want) || c.want == nil && err != nil || c.readable != (rerr == nil) {
			t.Errorf("%s: got %v and %v, want %v", c.name, err, rerr, c.want)
		}
		if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, statMode(t, path)|0o400)); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path) == vendorNew; got != c.changed {
			t.Errorf("%s: changed: %v", c.name, got)
		}
		if c.changed && statMode(t, path) != c.file {
			t.Errorf("%s: mode %o, want %o", c.name, statMode(t, path), c.file)
		}
		if st := statOf(t, path); int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
			t.Errorf("%s: it belongs to %d:%d now", c.name, st.Uid, st.Gid)
		}
		alone(t, path)
	}
}

func statMode(t *testing.T, path string) os.FileMode {
	return os.FileMode(statOf(t, path).Mode & 0o777)
}

// A brokenFS is the operating system's with something done before each call,
// and without syncing: no power is cut here.
type brokenFS struct {
	os     OS
	before func(call string) error
}

func (b brokenFS) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	if err := b.before("create"); err != nil {
		return nil, err
	}
	f, err := b.os.Create(name, perm)
	return brokenFile{File: f, fs: b}, err
}

func (b brokenFS) ReadFile(name string) ([]byte, error) {
	if err := b.before("read"); err != nil {
		return nil, err
	}
	return b.os.ReadFile(name)
}

func (b brokenFS) Link(o, n string) error {
	return after(b.before("link"), func() error { return b.os.Link(o, n) })
}
func (b brokenFS) Rename(o, n string) error {
	call := "rename"
	if strings.HasSuffix(n, "spoke-zone.conf") {
		call = "rename over"
	}
	return after(b.before(call), func() error { return b.os.Rename(o, n) })
}
func (b brokenFS) Remove(n string) error {
	return after(b.before("remove"), func() error { return b.os.Remove(n) })
}
func (b brokenFS) SyncDir(string) error { return b.before("sync directory") }

func (b brokenFS) Resolve(path string) (string, error) {
	if err := b.before("resolve"); err != nil {
		return "", err
	}
	return b.os.Resolve(path)
}

func (b brokenFS) Names(dir string) ([]string, error) {
	if err := b.before("names"); err != nil {
		return nil, err
	}
	return b.os.Names(dir)
}

func (b brokenFS) Inherit(f atomicfile.File, from string) error {
	return after(b.before("inherit"), func() error { return b.os.Inherit(f.(brokenFile).File, from) })
}

func (b brokenFS) Overwrite(name string) (Overwriter, error) {
	if err := b.before("overwrite"); err != nil {
		return nil, err
	}
	f, err := b.os.Overwrite(name)
	return brokenOverwriter{f, b}, err
}

func after(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

type brokenFile struct {
	atomicfile.File
	fs brokenFS
}

func (f brokenFile) Write(p []byte) (int, error) {
	if err := f.fs.before("write"); err == errDead {
		return 0, err
	} else if err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f brokenFile) Sync() error { return f.fs.before("sync") }

func (f brokenFile) Close() error {
	err := f.fs.before("close")
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}

type brokenOverwriter struct {
	Overwriter
	fs brokenFS
}

func (f brokenOverwriter) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.before("write at"); err == errDead {
		return 0, err
	} else if err != nil {
		n, _ := f.Overwriter.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.Overwriter.WriteAt(p, off)
}

func (f brokenOverwriter) Truncate(n int64) error {
	return after(f.fs.before("truncate"), func() error { return f.Overwriter.Truncate(n) })
}

func (f brokenOverwriter) Sync() error { return f.fs.before("sync") }

func (f brokenOverwriter) Close() error {
	err := f.fs.before("close")
	if cerr := f.Overwriter.Close(); err == nil {
		err = cerr
	}
	return err
}

// longer and shorter make the rest of the file move when it is overwritten.
var replacements = map[string]string{"same length": jwt[:len(jwt)-3] + "new", "longer": renewed, "shorter": "a.b.c"}

// TestWriteTokenFailsWhole lets each system call in turn fail once, with and
// without a mount point in the way.
func TestWriteTokenFailsWhole(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for name, token := range replacements {
			for _, errno := range []error{unix.EIO, unix.ENOSPC, unix.EROFS, unix.EACCES, unix.EBUSY} {
				for n, done := 0, false; !done; n++ {
					path := identityFile(t, vendorOld)
					want := strings.Replace(vendorOld, jwt, token, 1)
					calls, failed := 0, ""
					w := Writer{FS: brokenFS{before: func(call string) error {
						calls++
						if calls == n+1 {
							failed = call
							return errno
						}
						if busy && call == "rename over" {
							return unix.EBUSY
						}
						return nil
					}}}
					err := w.WriteToken(path, token)
					done = failed == ""
					what := fmt.Sprintf("busy %v, %s, %v at call %d (%s)", busy, name, errno, n+1, failed)
					got := contents(t, path)
					switch {
					case got != vendorOld && got != want:
						t.Fatalf("%s: the file is %q", what, got)
					case err == nil && got != want:
						t.Fatalf("%s: no error, and the old file", what)
					case err != nil && got == want && failed != "sync directory" && failed != "close":
						t.Fatalf("%s: %v, and the new file", what, err)
					case done && err != nil:
						t.Fatalf("%s: %v", what, err)
					}
					if err := WriteToken(path, token); err != nil || contents(t, path) != want {
						t.Fatalf("%s: afterwards %v", what, err)
					}
					if failed != "remove" {
						alone(t, path)
					}
				}
			}
		}
	}
}

// errKilled is the call at which a process ends, errDead any that it would have
// made later.
var errKilled, errDead = errors.New("killed"), errors.New("dead")

// TestWriteTokenSurvivesAKill ends the process at each system call in turn,
// half-way through the writes.
func TestWriteTokenSurvivesAKill(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for name, token := range replacements {
			torn := 0
			for n, done := 0, false; !done; n++ {
				path := identityFile(t, vendorOld)
				want := strings.Replace(vendorOld, jwt, token, 1)
				calls := 0
				w := Writer{FS: brokenFS{before: func(call string) error {
					switch calls++; {
					case calls == n+1:
						return errKilled
					case calls > n:
						return errDead
					}
					if busy && call == "rename over" {
						return unix.EBUSY
					}
					return nil
				}}}
				err := w.WriteToken(path, token)
				done = err == nil && calls <= n
				what := fmt.Sprintf("busy %v, %s, killed at call %d", busy, name, n+1)
				if got := contents(t, path); got != vendorOld && got != want {
					if torn++; !busy {
						t.Fatalf("%s: the file is %q", what, got)
					}
				}
				if err := (Writer{}).Recover(path); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if got := contents(t, path); got != vendorOld && got != want {
					t.Fatalf("%s: the file stays %q", what, got)
				}
				if err := WriteToken(path, "other.token.x"); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				alone(t, path)
			}
			if busy && torn == 0 {
				t.Errorf("%s: no kill tore the file: the test does not test", name)
			}
		}
	}
}

func TestWriteTokenSeesAnotherWriter(t *testing.T) {
	path := identityFile(t, vendorOld)
	foreign := strings.Replace(vendorOld, "gibberish", "changed", 1)
	renames := 0
	reads := 0
	w := Writer{FS: brokenFS{before: func(call string) error {
		if call == "rename over" {
			renames++
		}
		if call == "inherit" && reads == 0 {
			reads++
			return os.WriteFile(path, []byte(foreign), 0o600)
		}
		return nil
	}}}
	if err := w.WriteToken(path, renewed); err != nil || renames != 1 {
		t.Errorf("got %v after %d renames", err, renames)
	}
	if got, want := contents(t, path), strings.Replace(vendorNew, "gibberish", "changed", 1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.FS = brokenFS{before: func(call string) error { // one who never stops
		if call == "inherit" {
			reads++
			return os.WriteFile(path, fmt.Appendf(nil, "mqtt_username = t%d\n", reads), 0o600)
		}
		return nil
	}}
	if err := w.WriteToken(path, "x.y.z"); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	alone(t, path)
}

// TestRecoverLeavesAnEditedFile: what somebody has put right is not undone.
func TestRecoverLeavesAnEditedFile(t *testing.T) {
	edited := strings.Replace(vendorOld, "gibberish", "by hand", 1)
	path := identityFile(t, edited)
	state := t.TempDir()
	w := Writer{Journal: state}
	save := func(target string) {
		j := journal{target, []byte(vendorOld), []byte(vendorNew)}
		if err := atomicfile.SaveRecord(OS{}, w.journalPath(target), j); err != nil {
			t.Fatal(err)
		}
	}
	save(path)
	if err := w.Recover(path); err != nil || contents(t, path) != edited {
		t.Errorf("got %v, %q", err, contents(t, path))
	}
	if names, err := (OS{}).Names(state); err != nil || len(names) > 0 {
		t.Errorf("left in the state directory: %v, %v", names, err)
	}
	torn := identityFile(t, vendorOld[:40]+strings.Repeat("\x00", 50))
	save("/another/file")
	if err := w.Recover(torn); err != nil || !strings.Contains(contents(t, torn), "\x00") {
		t.Errorf("got %v, %q", err, contents(t, torn))
	}
	save(torn)
	if err := w.WriteToken(torn, "x.y.z"); err != nil || contents(t, torn) != strings.Replace(vendorOld, jwt, "x.y.z", 1) {
		t.Errorf("got %v, %q", err, contents(t, torn))
	}
	if err := os.WriteFile(w.journalPath(torn), []byte("half a jour"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(torn); err != nil {
		t.Errorf("a damaged journal: %v", err)
	}
}

// TestTornIsWhatACrashMakes: any mixture of the two texts and of zeros is one,
// and neither text is.
func TestTornIsWhatACrashMakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.ByteRange('a', 'z'), 1, 60)
		j := journal{"", text.Draw(t, "before"), text.Draw(t, "after")}
		now := make([]byte, rapid.IntRange(0, max(len(j.Before), len(j.After))).Draw(t, "length"))
		from := []byte{}
		for i := range now {
			if i%8 == 0 {
				from = [][]byte{j.Before, j.After, nil}[rapid.IntRange(0, 2).Draw(t, "block")]
			}
			if i < len(from) {
				now[i] = from[i]
			}
		}
		same := bytes.Equal(now, j.Before) || bytes.Equal(now, j.After)
		if j.torn(now) == same {
			t.Fatalf("%q of %q and %q: torn %v", now, j.Before, j.After, !same)
		}
		if j.torn(append(bytes.Clone(now), '!')) {
			t.Fatalf("%q! of %q and %q is called torn", now, j.Before, j.After)
		}
	})
}
