package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// A droppedFile is a data file that a local program dropped.
type droppedFile struct {
	name string
	size int64
	sum  string // SHA-256
}

// drop writes a data file beside the spool and renames it into it.
func (s *stage) drop(typ, name string, size int64) error {
	line := fmt.Sprintf("2026-11-22T10:00:00Z %s %d temperature 71.5 ok\n", name, len(s.dropped))
	text := bytes.Repeat([]byte(line), int(size)/len(line)+1)[:size]
	file := s.path("spool", typ, name)
	if err := write(file+".part", string(text), 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	s.dropped = append(s.dropped, droppedFile{name, size, hex.EncodeToString(sum[:])})
	return os.Rename(file+".part", file)
}

// filesArrived compares what was dropped with what the cloud has: each once,
// whole, and nothing else.
func (s *stage) filesArrived() (seen string, ok bool) {
	left := map[string]int{}
	for _, f := range s.dropped {
		left[f.sum]++
	}
	uploads := s.cloud.Uploads()
	for _, u := range uploads {
		if left[u.SHA256]--; left[u.SHA256] < 0 {
			return fmt.Sprintf("data file %d, %d bytes, arrived twice or is none that was dropped", u.ID, u.Size), false
		}
	}
	return fmt.Sprintf("%d of %d data files arrived, each once", len(uploads), len(s.dropped)), len(uploads) == len(s.dropped) && len(uploads) > 0
}

// sign is the line of a release's notes that proves who made it.
func (s *stage) sign(content cloudtest.Content, module, version string) (string, error) {
	r, err := content.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := release.NewDigest()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	line, err := s.key.Sign(sum, module, version, 0)
	if err != nil {
		return "", err
	}
	return line.String(), nil
}
