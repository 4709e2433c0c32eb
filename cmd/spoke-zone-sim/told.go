package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// offerAll offers every file DIR/MODULE/VERSION.
func offerAll(cloud *cloudtest.Cloud, dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("offer: %w", err)
		}
		if info.Mode().IsRegular() {
			cloud.Offer(filepath.Base(filepath.Dir(path)), filepath.Base(path), cloudtest.File(path))
		}
	}
	if len(paths) == 0 {
		return fmt.Errorf("%w: --ota-dir %s: holds no file named MODULE/VERSION", errUsage, dir)
	}
	return nil
}

// describe is an event in a line for people.
func describe(e cloudtest.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-10s", e.At.Format("15:04:05.000"), e.Kind)
	word := func(format string, v any, show bool) {
		if show {
			fmt.Fprintf(&b, " "+format, v)
		}
	}
	word("%s", e.Cloud, e.Cloud != "")
	word("%s", e.Method, e.Method != "")
	word("%s", e.Path, e.Path != "")
	word("%d", e.Status, e.Status != 0 || e.Kind == cloudtest.EventConnect)
	word("device %d", e.Device, e.Device != 0)
	word("%s", e.Topic, e.Topic != "")
	word("id %d", e.ID, e.ID != 0)
	word("from %d", e.Offset, e.Offset != 0)
	word("%d bytes", e.Size, e.Size != 0)
	word("token %s", e.Token, e.Token != "")
	word("(%s)", e.Why, e.Why != "")
	return b.String()
}
