package upload

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// everybodys makes a bench whose type directory everybody may write in, and
// gives away the file name in it.
func everybodys(t *testing.T, b *bench, mode os.FileMode, name string, uid int) string {
	t.Helper()
	path := b.drop("log/"+name, "from "+name)
	if err := os.Chmod(filepath.Dir(path), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatalf("%v (this test needs root)", err)
	}
	return path
}

// TestFilesOfOtherUsers: from a sticky directory a copy of them is taken, from
// another they are not.
func TestFilesOfOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		// Nobody else can give files away: then the rule itself has to do.
		foreign := unix.Stat_t{Mode: unix.S_IFREG, Uid: 1001, Nlink: 1, Size: 1}
		if err := (policy{uid: 1000, limit: 1, shared: true}).accept(&foreign); err != nil {
			t.Error(err)
		}
		return
	}
	for _, tc := range []struct {
		name    string
		mode    os.FileMode
		arrived []string
		skipped int
	}{
		{"sticky", 0o777 | os.ModeSticky, []string{"log//user.log=from user.log"}, 0},
		{"not sticky", 0o777, nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				b := newBench(t, dir, c)
				everybodys(t, b, tc.mode, "user.log", 1001)
				b.start()
				defer b.stop()
				time.Sleep(settleForeign / 2)
				equal(t, "arrived early", c.arrived(), []string(nil))
				time.Sleep(time.Hour)
				equal(t, "arrived", c.arrived(), tc.arrived)
				s, _ := b.Status()
				equal(t, "skipped", len(s.Skipped), tc.skipped)
			})
		})
	}
}

// TestExchangedWhileItIsCopied: the owner puts a link into the place of a file
// that was hidden to be copied. Nothing behind it is read.
func TestExchangedWhileItIsCopied(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of root"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		b := newBench(t, dir, c)
		swap := &swapping{target: secret}
		b.box = swap
		b.drop("log/a", "mine")
		b.start()
		defer b.stop()
		time.Sleep(time.Hour)
		equal(t, "arrived", c.arrived(), []string(nil))
		if !swap.done {
			t.Error("nothing was exchanged")
		}
		if got, err := os.ReadFile(secret); string(got) != "of root" || err != nil {
			t.Errorf("the file behind the link: %q, %v", got, err)
		}
	})
}

// A swapping box exchanges each hidden file for a link at once.
type swapping struct {
	dropOps
	target string
	done   bool
}

func (s *swapping) move(*os.File, string, string) error { return unix.EXDEV }

func (s *swapping) hide(dir *os.File, name, as string) error {
	if err := s.dropOps.hide(dir, name, as); err != nil {
		return err
	}
	s.done = true
	if err := s.remove(dir, as); err != nil {
		return err
	}
	return unix.Symlinkat(s.target, int(dir.Fd()), as)
}

func TestModulesHaveDirectories(t *testing.T) {
	b := newBench(t, t.TempDir(), newCloud(t))
	b.Modules = []string{"display", "../evil"}
	if err := os.MkdirAll(filepath.Join(b.Dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(b.Dir, "log"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	b.setDefaults()
	b.makeDirs()
	info, err := os.Stat(filepath.Join(b.Dir, "log/display"))
	if err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "evil")); err == nil {
		t.Error("a module's key led out of the drop box")
	}
}
