package upload

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A body is the contents of one request.
type body struct {
	io.Reader
	size  int64
	close func()
}

// body returns the contents of the part of it that ends at End, whose data is
// f, and their name. The service says nothing of a Content-Encoding: compressed
// contents are a file of their own. The same part compressed again has the same
// bytes, so that it may go under the same id.
func (u *Uploader) body(ctx context.Context, it *item, f *os.File) (body, string, error) {
	size := it.End - it.Offset
	plain := body{io.NewSectionReader(f, it.Offset, size), size, func() {}}
	if !u.Quotas[it.Type].Gzip || strings.HasSuffix(it.Name, ".gz") {
		return plain, it.sentName(), nil
	}
	name := filepath.Join(u.spool.dir, seqName(it.Seq)+".gz.tmp") // which a start removes
	_ = u.spool.remove(name)
	out, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return body{}, "", fmt.Errorf("compress: %w", err)
	}
	packed := body{Reader: out, close: func() {
		out.Close()
		_ = u.spool.remove(name)
	}}
	u.Alive(working)
	if packed.size, err = pack(out, &interruptible{ctx, plain}); err != nil {
		packed.close()
		return body{}, "", fmt.Errorf("compress: %w", err)
	}
	return packed, clip(it.sentName(), 252) + ".gz", nil
}

// pack writes r compressed to f, from which it can be read then.
func pack(f *os.File, r io.Reader) (int64, error) {
	w := gzip.NewWriter(f)
	if _, err := io.Copy(w, r); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, err
}

// An interruptible reader ends with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// archive keeps the data of rec, which has arrived, and removes the oldest of
// what was kept beyond the bound.
func (u *Uploader) archive(rec record) error {
	if u.Archive <= 0 || !u.spool.exists(rec.Seq) {
		return nil
	}
	if err := os.MkdirAll(u.spool.kept, 0o700); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	to := filepath.Join(u.spool.kept, seqName(rec.Seq)+"-"+clip(rec.Name, 200))
	if err := u.spool.fs.Rename(u.spool.path(rec.Seq, "data"), to); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := u.spool.fs.SyncDir(u.spool.kept); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	names, err := listNames(u.spool.kept)
	if err != nil {
		return nil // it is looked at again with the next one
	}
	slices.Sort(names)
	var total int64
	for i, name := range slices.Backward(names) {
		path := filepath.Join(u.spool.kept, name)
		if info, err := os.Lstat(path); err == nil {
			total += info.Size()
		}
		if total > u.Archive || len(names)-i > maxItems {
			_ = u.spool.fs.Remove(path)
		}
	}
	return nil
}
