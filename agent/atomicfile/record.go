package atomicfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
)

// ErrCorrupt means that a record's file exists and that neither it nor its
// previous generation is whole.
var ErrCorrupt = errors.New("record corrupt")

// errLarge is of a record that could not be read again.
var errLarge = fmt.Errorf("record larger than %d KiB", recordLimit>>10)

// recordLimit bounds what is decoded, and what is saved.
const recordLimit = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SaveRecord replaces the record at path with v: one line of JSON, a newline
// and the CRC-32C of that line in eight hexadecimal digits. The generation it
// replaces stays as path.prev. The file's mode is 0600.
func SaveRecord(fsys FS, path string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sealed := Seal(line)
	if len(sealed) > recordLimit {
		return fmt.Errorf("%s: %w", filepath.Base(path), errLarge)
	}
	keepPrevious(fsys, path)
	return WriteFS(fsys, path, sealed, 0o600)
}

// keepPrevious makes path.prev another name of a record that is whole, or a
// copy where the file system knows no second names, as vfat, and durable before
// the record is touched. That neither can be made is no reason to do without
// the new record.
func keepPrevious(fsys FS, path string) {
	line, err := readRecord(fsys, path)
	if err != nil {
		return // nothing worth keeping; path.prev may still be whole
	}
	tmp := path + ".prev.tmp"
	_ = fsys.Remove(tmp)
	if fsys.Link(path, tmp) != nil && writeNew(fsys, tmp, Seal(line), 0o600) != nil {
		return
	}
	if fsys.Rename(tmp, path+".prev") == nil {
		_ = fsys.SyncDir(filepath.Dir(path))
	}
}

// LoadRecord reads the record at path into v, or its previous generation when
// the newest is not whole, which previous reports. The error is fs.ErrNotExist
// when there is neither, and ErrCorrupt when there is something but nothing
// whole.
func LoadRecord(fsys FS, path string, v any) (previous bool, err error) {
	line, err := readRecord(fsys, path)
	if err != nil {
		prev, perr := readRecord(fsys, path+".prev")
		switch {
		case perr == nil:
			line, previous = prev, true
		case errors.Is(err, fs.ErrNotExist) && !errors.Is(perr, fs.ErrNotExist):
			return false, perr
		default:
			return false, err
		}
	}
	if err := json.Unmarshal(line, v); err != nil {
		return previous, fmt.Errorf("%s: %w: %v", filepath.Base(path), ErrCorrupt, err)
	}
	return previous, nil
}

// Seal returns line with its checksum, as a record's file holds it.
func Seal(line []byte) []byte {
	return fmt.Appendf(bytes.Clone(line), "\n%08x", crc32.Checksum(line, castagnoli))
}

// Unseal returns the line in a record's file, and false when its checksum does
// not match.
func Unseal(data []byte) ([]byte, bool) {
	line, sum, ok := bytes.Cut(data, []byte("\n"))
	if !ok || len(data) > recordLimit {
		return nil, false
	}
	return line, string(sum) == fmt.Sprintf("%08x", crc32.Checksum(line, castagnoli))
}

func readRecord(fsys FS, path string) ([]byte, error) {
	data, err := fsys.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, ok := Unseal(data)
	if !ok {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), ErrCorrupt)
	}
	return line, nil
}
