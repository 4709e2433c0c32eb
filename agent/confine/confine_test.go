package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain is also the program that confines itself: what it did cannot be
// undone.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CONFINE_TEST"); dir != "" {
		os.Exit(confined(dir))
	}
	os.Exit(m.Run())
}

// confined does as a process does that may write in dir/a and dir/b alone, and
// prints what came of it.
func confined(dir string) int {
	abi, err := Writes(filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "missing"))
	fmt.Printf("abi %d: %v\n", abi, err)
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	fmt.Println("write inside:", os.WriteFile(in("a", "new"), nil, 0o600))
	fmt.Println("rename to another:", os.Rename(in("a", "new"), in("b", "new")))
	fmt.Println("remove:", os.Remove(in("b", "new")))
	_, err = os.ReadFile(in("outside", "file"))
	fmt.Println("read outside:", err)
	fmt.Println("write outside:", cause(os.WriteFile(in("outside", "new"), nil, 0o600)))
	fmt.Println("overwrite outside:", cause(os.WriteFile(in("outside", "file"), nil, 0o600)))
	fmt.Println("remove outside:", cause(os.Remove(in("outside", "file"))))
	fmt.Println("made later:", cause(os.Mkdir(in("missing"), 0o700)))
	_, err = exec.Command("/bin/true").Output()
	fmt.Println("run a program:", err)
	_, err = exec.Command("/bin/sh", "-c", "echo x >"+in("outside", "file")).Output()
	fmt.Println("a program fails to write outside:", err != nil)
	return 0
}

func cause(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return syscall.EACCES
	}
	return err
}

func TestWritesAreConfined(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "outside"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "outside", "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CONFINE_TEST="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, rest, _ := strings.Cut(string(out), "\n")
	if !strings.HasSuffix(first, ": <nil>") { // a kernel without: it must say so and change nothing
		if !strings.Contains(first, "Linux "+release()) || strings.Contains(rest, "denied") || !strings.HasSuffix(rest, "outside: false\n") {
			t.Errorf("without Landlock:\n%s", out)
		}
		t.Log(first)
		return
	}
	want := `write inside: <nil>
rename to another: <nil>
remove: <nil>
read outside: <nil>
write outside: permission denied
overwrite outside: permission denied
remove outside: permission denied
made later: permission denied
run a program: <nil>
a program fails to write outside: true
`
	if rest != want {
		t.Errorf("got\n%swant\n%s", rest, want)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
		t.Errorf("the file outside: %q, %v", text, err)
	}
}
