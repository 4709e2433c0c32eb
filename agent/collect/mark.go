package collect

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// printed is how many bytes a print covers at most.
const printed = 1 << 10

// A mark says which file is meant and how far it has been read. The number of
// an inode is given away again, and a file may be emptied and filled under its
// number: so a mark also has the prints of what the file began with and of what
// it ended in when it was Size bytes long. A file that only grew still has both.
type mark struct {
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
	Pos  int64  `json:"pos"`  // the bytes before it are in data files
	Size int64  `json:"size"` // when it was seen last
	Head string `json:"head,omitempty"`
	Tail string `json:"tail,omitempty"`
}

// see notes that the file f is size bytes long.
func (m *mark) see(f io.ReaderAt, size int64) (err error) {
	seen := *m
	seen.Size = size
	if seen.Head, seen.Tail, err = prints(f, size); err == nil {
		*m = seen
	}
	return err
}

// grown reports whether f, now size bytes long, is the file that was seen, and
// nothing was taken from it.
func (m *mark) grown(f io.ReaderAt, size int64) (bool, error) {
	if size < m.Size {
		return false, nil
	}
	head, tail, err := prints(f, m.Size)
	return err == nil && head == m.Head && tail == m.Tail, err
}

// prints returns those of the first size bytes of f.
func prints(f io.ReaderAt, size int64) (head, tail string, err error) {
	if size <= 0 {
		return "", "", nil
	}
	n := min(size, printed)
	if head, err = sum(f, 0, n); err != nil || size == n {
		return head, head, err
	}
	tail, err = sum(f, size-n, n)
	return head, tail, err
}

// sum is the print of the n bytes of f from off on. What f does not have makes
// a print that no other has.
func sum(f io.ReaderAt, off, n int64) (string, error) {
	buf := make([]byte, n)
	got, err := f.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	h := sha256.Sum256(buf[:got])
	return hex.EncodeToString(h[:12]), nil
}

// startOf reports whether the size bytes of f are what g, which is at least as
// long, begins with: as far as the prints tell, f is a copy that was made of g.
func startOf(f io.ReaderAt, size int64, g io.ReaderAt, gsize int64) bool {
	if size <= 0 || size > gsize {
		return false
	}
	fh, ft, err := prints(f, size)
	gh, gt, gerr := prints(g, size)
	return err == nil && gerr == nil && fh == gh && ft == gt
}

// firstData returns where in f, size bytes long, something other than zeros
// begins, as far as it looks. A writer that was not told of a truncation goes on
// where it was, and leaves a hole in front.
func firstData(f *os.File, size int64) int64 {
	const most = 64 << 10
	first := make([]byte, 1)
	if n, err := f.ReadAt(first, 0); n == 0 || err != nil || first[0] != 0 {
		return 0
	}
	from, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	if err != nil {
		from = 0
		if errors.Is(err, unix.ENXIO) {
			return size
		}
	}
	buf := make([]byte, max(0, min(size-from, most)))
	n, _ := f.ReadAt(buf, from)
	if i := slices.IndexFunc(buf[:n], func(b byte) bool { return b != 0 }); i >= 0 {
		return from + int64(i)
	}
	return from + int64(n)
}
