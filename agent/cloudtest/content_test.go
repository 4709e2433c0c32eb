package cloudtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// Whatever way seeded content is read, every byte is where it was.
func TestSeededContentReadsTheSameFromAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		size := rapid.Int64Range(0, 5000).Draw(t, "size")
		r, _ := Seeded(seed, size).Open()
		whole, err := io.ReadAll(r)
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("got %d bytes, %v; want %d", len(whole), err, size)
		}
		from := rapid.Int64Range(0, size).Draw(t, "from")
		if at, err := r.Seek(from-size, io.SeekEnd); err != nil || at != from {
			t.Fatalf("got position %d, %v; want %d", at, err, from)
		}
		part, err := io.ReadAll(iotest.OneByteReader(r))
		if err != nil || !bytes.Equal(part, whole[from:]) {
			t.Fatalf("got other bytes from %d on, error %v", from, err)
		}
		if other, _ := Seeded(seed+1, size).Open(); size >= 8 {
			if b, _ := io.ReadAll(other); bytes.Equal(b, whole) {
				t.Fatal("got the same bytes of another seed")
			}
		}
	})
	r, _ := Seeded(1, 8).Open()
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("got no error for a seek before the first byte")
	}
	r.Seek(3, io.SeekStart)
	if at, err := r.Seek(2, io.SeekCurrent); err != nil || at != 5 {
		t.Errorf("got %d, %v", at, err)
	}
}

func TestDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, content := range []Content{File(path), Bytes([]byte("abc"))} {
		size, sum, err := Digest(content)
		if size != 3 || sum != want || err != nil {
			t.Errorf("%T: got %d, %s, %v", content, size, sum, err)
		}
	}
	if _, _, err := Digest(File(path + "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v; want an error for a missing file", err)
	}
}

func TestMissingReleaseFileIsAnErrorOfTheServer(t *testing.T) {
	g := newGateway(t, Options{})
	g.cloud.Offer("display", "1", File(filepath.Join(t.TempDir(), "gone")))
	g.get("/api/v2/ota-files/7/file").want(t, 500)
}
