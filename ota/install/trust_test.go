package install

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyWhatOthersCannotChangeIsTrusted(t *testing.T) {
	top := t.TempDir()
	me := uint32(os.Getuid())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, hook := filepath.Join(top, "hooks"), filepath.Join(top, "hooks", "dpkg")
	must(os.Mkdir(dir, 0o755))
	must(os.WriteFile(hook, nil, 0o755))
	must(os.Chmod(top, 0o755))
	link := filepath.Join(top, "display")
	must(os.Symlink("hooks/dpkg", link))
	good := func(want bool, path string) {
		t.Helper()
		got, err := trusted(path, top, me)
		if want && (err != nil || got != hook) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		if !want && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %q, %v, want ErrUntrusted", path, got, err)
		}
	}
	good(true, hook)
	good(true, link)
	good(true, filepath.Join(dir, "..", "hooks", "dpkg"))
	good(false, "hooks/dpkg")
	good(false, dir)
	must(os.Chmod(hook, 0o775))
	good(false, hook)
	good(false, link)
	must(os.Chmod(hook, 0o755))
	must(os.Chmod(dir, 0o777))
	good(false, hook)
	must(os.Chmod(dir, os.ModeSticky|0o777))
	good(true, hook)
	must(os.Chmod(dir, 0o755))
	if _, err := trusted(hook, top, me+1); !errors.Is(err, ErrUntrusted) {
		t.Errorf("another user's file: %v", err)
	}
	loop := filepath.Join(top, "loop")
	must(os.Symlink("loop", loop))
	if _, err := trusted(loop, top, me); err == nil {
		t.Error("a link to itself leads somewhere")
	}
	if _, err := trusted(filepath.Join(top, "nothing"), top, me); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
