package ota

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
)

// A Payload is a release on disk.
type Payload struct {
	Path   string
	Size   int64
	SHA256 string // hexadecimal
}

// finished finds a payload that an earlier run completed, perhaps an instant
// before the power went.
func finished(ctx context.Context, fsys FS, dir string) (Payload, bool, error) {
	path := filepath.Join(dir, "payload")
	f, err := fsys.OpenFile(path, false)
	if errors.Is(err, fs.ErrNotExist) {
		return Payload{}, false, nil
	}
	if err != nil {
		return Payload{}, false, err
	}
	defer f.Close()
	slots, c, ok, err := openSlots(fsys, dir)
	if err != nil {
		return Payload{}, false, err
	}
	defer slots.close()
	if ok && c.Complete {
		p := Payload{Path: path, Size: c.Total, SHA256: c.SHA256}
		if err := p.verify(ctx, fsys); err == nil || ctx.Err() != nil {
			return p, err == nil, err
		}
	}
	return Payload{}, false, fsys.Remove(path)
}

// verify reads the payload again.
func (p Payload) verify(ctx context.Context, fsys FS) error {
	f, err := fsys.OpenFile(p.Path, false)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != p.Size {
		return fmt.Errorf("payload has %d bytes, not %d", size, p.Size)
	}
	sum, err := hashPrefix(ctx, sha256.New(), f, size)
	if err == nil && sum != p.SHA256 {
		err = errors.New("payload has another digest")
	}
	return err
}

// hashPrefix adds the first n bytes of f to h.
func hashPrefix(ctx context.Context, h hash.Hash, f io.ReaderAt, n int64) (string, error) {
	h.Reset()
	buf := make([]byte, bufferSize)
	for off := int64(0); off < n; {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		k, err := f.ReadAt(buf[:min(n-off, bufferSize)], off)
		h.Write(buf[:k])
		if off += int64(k); err != nil && off < n {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// discard removes what a download stored.
func discard(fsys FS, dir string) error {
	for _, name := range []string{"part", "payload", "ckpt.a", "ckpt.b"} {
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
