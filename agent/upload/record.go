package upload

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A record is what the spool remembers of a file, beside it: SEQ.rec and
// SEQ.data.
type record struct {
	Seq    uint64    `json:"seq"`
	Type   string    `json:"type"`
	Module string    `json:"module,omitempty"`
	Name   string    `json:"name"`
	Size   int64     `json:"size"`
	MTime  int64     `json:"mtime,omitempty"` // of the data, in nanoseconds
	Added  time.Time `json:"added"`
	Dated  bool      `json:"dated,omitempty"`  // Added is of a clock that was right
	Origin string    `json:"origin,omitempty"` // of what was staged: its reader's word on where it is from

	// Copying says that the drop box is on another file system: until the data
	// is here in full it is there as takenName(Seq).
	Copying bool `json:"copying,omitempty"`

	// What has been agreed with the cloud. The bytes before Offset have
	// arrived, as Part data files. Those up to End belong to the data file ID.
	Offset  int64  `json:"offset,omitempty"`
	Part    int    `json:"part,omitempty"`
	ID      string `json:"id,omitempty"`
	End     int64  `json:"end,omitempty"`
	Renewed bool   `json:"renewed,omitempty"` // the cloud did not take the first ID
}

var (
	errRecord = errors.New("record makes no sense")
	errOrigin = errors.New("origin is empty or too long")
)

// check refuses a record that this package has not written.
func (r *record) check(seq uint64) error {
	switch {
	case r.Seq != seq, checkNames(r.Type, r.Module, r.Name) != nil,
		r.Offset < 0, r.Offset > r.Size, r.Part < 0,
		r.ID != "" && (r.End <= r.Offset || r.End > r.Size),
		r.ID == "" && r.End != 0,
		len(r.ID) > maxID, len(r.Origin) > maxOrigin:
		return errRecord
	}
	return nil
}

// announced reports whether the cloud knows of the file already.
func (r *record) announced() bool { return r.ID != "" || r.Offset > 0 }

// item is what others see of the record.
func (r *record) item() Item {
	return Item{ID: seqName(r.Seq), Type: r.Type, Module: r.Module, Name: r.Name, Size: r.Size, Added: r.Added}
}

// maxID bounds the cloud's ids, in bytes.
const maxID = 256

const seqDigits = 12

// seqName is the name of an item: in the order of their numbers, names sort.
func seqName(seq uint64) string { return fmt.Sprintf("%0*d", seqDigits, seq) }

// parseSeq reads the number at the start of a name of this package, and returns
// the rest of the name.
func parseSeq(name string) (seq uint64, rest string, ok bool) {
	if len(name) < seqDigits {
		return 0, "", false
	}
	seq, err := strconv.ParseUint(name[:seqDigits], 10, 64)
	return seq, name[seqDigits:], err == nil && seqName(seq) == name[:seqDigits]
}

// takenName is what a dropped file is called while it is copied.
func takenName(seq uint64) string { return ".taken-" + seqName(seq) }

var (
	errModule  = fmt.Errorf("%w: module key is not 1 to 64 letters, digits, dots, hyphens and underscores", ErrName)
	errControl = fmt.Errorf("%w: control characters", ErrName)
)

// checkName refuses file names that a path, a header or a terminal would not
// show as they are.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > 255:
		return fmt.Errorf("%w: longer than 255 bytes", ErrName)
	case name == "." || name == ".." || strings.ContainsRune(name, '/'):
		return fmt.Errorf("%w: not a file's", ErrName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not UTF-8", ErrName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errControl
	}
	return nil
}

// moduleKey reports whether key can be a module's. The service's own are lower
// case letters, digits and hyphens.
func moduleKey(key string) bool {
	return key != "" && len(key) <= 64 && key[0] != '.' && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// unfinished reports whether name is that of a file its writer still holds back.
func unfinished(name string) bool {
	return strings.HasPrefix(name, ".") || slices.ContainsFunc([]string{".part", ".tmp"}, func(end string) bool {
		return strings.HasSuffix(strings.ToLower(name), end)
	})
}

// partName is the file name of the n-th data file, from 1 on, that name is sent
// as: app.log becomes app.001.log.
func partName(name string, n int) string {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		dot = len(name)
	}
	return fmt.Sprintf("%s.%03d%s", name[:dot], n, name[dot:])
}
