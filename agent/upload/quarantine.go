package upload

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// maxBad bounds the number of files in quarantine.
const maxBad = 100

// reasonPath is the file that says why item seq is in quarantine.
func (s *spool) reasonPath(seq uint64) string {
	return filepath.Join(s.bad, seqName(seq)+".reason")
}

// setAside moves the data of rec to the quarantine, where a person finds it
// beside the reason why.
func (s *spool) setAside(rec record, why error) error {
	cause := strings.Join(strings.Fields(why.Error()), " ")
	text := fmt.Sprintf("reason: %s\ntype: %s\nmodule: %s\nname: %s\nbytes: %d\ndata file id: %s\nquarantined: %s\n",
		cause, rec.Type, rec.Module, rec.Name, rec.Size, rec.ID, time.Now().UTC().Format(time.RFC3339))
	if err := atomicfile.WriteFS(s.fs, s.reasonPath(rec.Seq), []byte(text), 0o600); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	to := filepath.Join(s.bad, seqName(rec.Seq)+"-"+clip(rec.Name, 200))
	if err := s.fs.Rename(s.path(rec.Seq, "data"), to); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if err := s.fs.SyncDir(s.bad); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	s.pruneBad()
	return s.erase(rec.Seq)
}

// pruneBad keeps the quarantine within a quarter of the spool's bound by
// removing the oldest files, but never the newest.
func (s *spool) pruneBad() {
	names := s.listBad()
	var total int64
	for i := len(names) - 1; i >= 0; i-- {
		path := filepath.Join(s.bad, names[i])
		if info, err := os.Lstat(path); err == nil {
			total += info.Size()
		}
		if kept := len(names) - 1 - i; kept > 0 && (total > s.max/4 || kept >= maxBad) {
			seq, _, _ := parseSeq(names[i])
			_ = s.fs.Remove(path)
			_ = s.fs.Remove(s.reasonPath(seq))
		}
	}
}

// countBad returns the number of files in quarantine.
func (s *spool) countBad() int { return len(s.listBad()) }

// listBad returns the names in quarantine, oldest first, without the reasons.
func (s *spool) listBad() []string {
	names, err := listNames(s.bad)
	if err != nil {
		return nil
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, rest, ok := parseSeq(name)
		return !ok || !strings.HasPrefix(rest, "-")
	})
	slices.Sort(names)
	return names
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
