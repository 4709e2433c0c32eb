package deliver

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

func TestAFileIsWrittenOnceForAToken(t *testing.T) {
	target := Target{ID: "app", File: filepath.Join(t.TempDir(), "token"), Format: Format{Kind: Raw}, Mode: 0o640}
	old := unix.Umask(0o077) // as in the unit
	defer unix.Umask(old)
	var a Account
	if changed, err := a.put(target, Token{Value: "one"}); !changed || err != nil {
		t.Fatalf("first: %v, %v", changed, err)
	}
	before := stat(t, target.File)
	if before.Mode&0o777 != 0o640 {
		t.Errorf("mode %o, want 640", before.Mode&0o777)
	}
	later := Token{Value: "one", Expires: time.Now().Add(time.Hour)} // extended in place
	if changed, err := a.put(target, later); changed || err != nil {
		t.Errorf("the same token again: %v, %v", changed, err)
	}
	if after := stat(t, target.File); after != before {
		t.Errorf("the file was touched: %+v, then %+v", before, after)
	}
	target.Mode = 0o600
	if changed, err := a.put(target, later); !changed || err != nil {
		t.Errorf("another mode: %v, %v", changed, err)
	}
	if changed, err := a.put(target, Token{Value: "two"}); !changed || err != nil {
		t.Errorf("another token: %v, %v", changed, err)
	}
	if b, err := os.ReadFile(target.File); string(b) != "two" || err != nil {
		t.Errorf("it says %q, %v", b, err)
	}
	if names, err := os.ReadDir(filepath.Dir(target.File)); len(names) != 1 || err != nil {
		t.Errorf("the directory holds %v, %v; want the file alone", names, err)
	}
}

// stat is what a reader of a file's status sees, but for the access time.
func stat(t *testing.T, path string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	st.Atim = syscall.Timespec{}
	return st
}

func TestWhatIsInTheWayIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, say string }{
		{"link", "is a symbolic link"}, {"fifo", "is no regular file"}, {"large", "is larger than"}, {".", "is no regular file"}, {"none/token", "make the directory"},
	} {
		_, err := new(Account).put(Target{File: dir + "/" + tt.name, Mode: 0o600}, Token{Value: "new"})
		if err == nil || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.say)
		}
	}
	if b, err := os.ReadFile(secret); string(b) != "keep" || err != nil {
		t.Errorf("the other file says %q, %v", b, err)
	}
}

func TestOwnersAndGroups(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if _, err := new(Account).put(Target{File: file, Mode: 0o600, Owner: "no-such-user"}, Token{Value: "x"}); err == nil || !strings.Contains(err.Error(), `no user "no-such-user"`) {
		t.Errorf("an unknown user: %v", err)
	}
	if _, err := new(Account).put(Target{File: file, Mode: 0o600, Group: "no-such-group"}, Token{Value: "x"}); err == nil || !strings.Contains(err.Error(), `no group "no-such-group"`) {
		t.Errorf("an unknown group: %v", err)
	}
	_, err := new(Account).put(Target{File: file, Mode: 0o640, Owner: "4711", Group: "4712"}, Token{Value: "x"})
	if os.Geteuid() != 0 { // as in the unit: no capability
		if err == nil || !strings.Contains(err.Error(), "drop-in") {
			t.Errorf("without the right: %v, want a way out", err)
		}
		if _, err := os.Lstat(file); !os.IsNotExist(err) {
			t.Errorf("a file is there: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if st := stat(t, file); st.Uid != 4711 || st.Gid != 4712 || st.Mode&0o777 != 0o640 {
		t.Errorf("uid %d, gid %d, mode %o", st.Uid, st.Gid, st.Mode&0o777)
	}
	if changed, err := new(Account).put(Target{File: file, Mode: 0o640}, Token{Value: "y"}); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if st := stat(t, file); st.Uid != 4711 || st.Gid != 4712 {
		t.Errorf("without a setting it became uid %d, gid %d", st.Uid, st.Gid)
	}
}

// TestReadersNeverSeeLessThanAToken has readers loop over the names of files
// that are replaced 10,000 times. What a power cut leaves is another test's:
// this one does not sync.
func TestReadersNeverSeeLessThanAToken(t *testing.T) {
	const replacements = 10_000
	dir := memory(t)
	a := Account{disk: unsynced{}}
	raw := Target{File: filepath.Join(dir, "raw"), Format: Format{Kind: Raw}, Mode: 0o644}
	obj := Target{File: filepath.Join(dir, "json"), Format: Format{Kind: JSON}, Mode: 0o644}
	value := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 200+n%1800) }
	write := func(n int) {
		for _, target := range []Target{raw, obj} {
			if _, err := a.put(target, Token{Account: "x", Value: value(n)}); err != nil {
				t.Error(err)
			}
		}
	}
	write(0)
	whole := func(s string) bool { return len(s) >= 200 && s == strings.Repeat(s[:1], len(s)) }
	var readers sync.WaitGroup
	var done atomic.Bool
	var reads atomic.Int64
	for _, target := range []Target{raw, obj} {
		readers.Go(func() {
			for !done.Load() {
				b, err := os.ReadFile(target.File)
				if err == nil && target.Format.Kind == JSON {
					var d document
					if err = json.Unmarshal(b, &d); err == nil {
						b = []byte(d.Token)
					}
				}
				if err != nil || !whole(string(b)) {
					t.Errorf("%s: read %d bytes, %v", target.File, len(b), err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for n := range replacements / 2 { // of two files each
		write(n)
	}
	done.Store(true)
	readers.Wait()
	if reads.Load() < 1000 {
		t.Errorf("the readers read %d times, want many", reads.Load())
	}
}

// memory is a folder in memory where there is one: ext4 writes a file out that
// replaces another, fsync or not.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "deliver")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// unsynced is the operating system without fsync.
type unsynced struct{ atomicfile.OS }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) Create(name string, perm os.FileMode) (atomicfile.File, error) {
	f, err := u.OS.Create(name, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f.(*os.File)}, nil
}

type unsyncedFile struct{ *os.File }

func (unsyncedFile) Sync() error { return nil }

// TestAPowerCutLeavesATokenWhole cuts the power before each call of a
// replacement.
func TestAPowerCutLeavesATokenWhole(t *testing.T) {
	old, fresh := bytes.Repeat([]byte("o"), 300), bytes.Repeat([]byte("n"), 300)
	cuts := 0
	for cut := 1; ; cut++ {
		disk := powercut.New()
		if err := atomicfile.WriteFS(disk, "/d/token", old, 0o600); err != nil {
			t.Fatal(err)
		}
		disk.CutAt(disk.Calls() + cut)
		err := atomicfile.WriteFS(dresser{disk, 0o640, keep, keep}, "/d/token", fresh, 0o600)
		for after := range disk.After(false) {
			b, rerr := after.ReadFile("/d/token")
			if rerr != nil || !bytes.Equal(b, old) && !bytes.Equal(b, fresh) {
				t.Fatalf("cut before call %d leaves %q, %v", cut, b, rerr)
			}
			if err == nil && !bytes.Equal(b, fresh) {
				t.Fatalf("cut before call %d: written, but not there", cut)
			}
			cuts++
		}
		if !disk.Off() {
			break
		}
	}
	if cuts < 10 {
		t.Errorf("%d cuts, want many", cuts)
	}
}

func TestTheSandboxIsExplained(t *testing.T) {
	target := Target{File: "/run/app/token"}
	for _, tt := range []struct {
		err error
		say string
	}{
		{&fs.PathError{Op: "open", Path: "/run/app/token.tmp", Err: unix.EROFS}, "ReadWritePaths=/run/app"},
		{&fs.PathError{Op: "open", Path: "/run/app/token.tmp", Err: unix.EACCES}, "write to /run/app"},
		{&ownerError{1, 2, unix.EPERM}, "SupplementaryGroups="},
		{unix.ENOSPC, "no space left"},
	} {
		if got := explain(target, tt.err).Error(); !strings.Contains(got, tt.say) {
			t.Errorf("%v: got %s, want %s", tt.err, got, tt.say)
		}
	}
}
