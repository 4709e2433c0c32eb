package upload

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAdoptTakesTheFileItself(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench, c *cloud) {
		path := filepath.Join(b.State, "mine")
		put := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("")
		if _, err := b.Adopt(t.Context(), "journal", "", "a.log", path); !errors.Is(err, ErrEmpty) {
			t.Errorf("an empty file: %v", err)
		}
		put("one\n")
		if _, err := b.Adopt(t.Context(), "journal", "", "../a.log", path); !errors.Is(err, ErrName) {
			t.Errorf("a path for a name: %v", err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what is refused is gone: %v", err)
		}
		if it, err := b.Adopt(t.Context(), "journal", "", "a.log", path); err != nil || it.Size != 4 {
			t.Errorf("%+v, %v", it, err)
		}
		if _, err := b.Adopt(t.Context(), "journal", "", "a.log", path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("once more: %v", err)
		}
		b.idle()
		equal(t, "arrived", c.arrived(), []string{"journal//a.log=one\n"})
	})
}
