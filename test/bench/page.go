package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// alone marks a section that was measured in a run of its own.
func alone(section, load string) string {
	heading, rest, _ := strings.Cut(strings.TrimPrefix(section, "\n"), "\n\n")
	return fmt.Sprintf("\n%s\n\nMeasured in a run of its own on %s with a load average of %s: read the ratios.\n\n%s",
		heading, time.Now().UTC().Format("2006-01-02"), load, rest)
}

// splice puts section, which begins with a heading, in the place of page's of
// that heading, or before the last lines if there is none.
func splice(page, section string) string {
	heading, _, _ := strings.Cut(strings.TrimPrefix(section, "\n"), "\n")
	before, after, found := strings.Cut(page, "\n"+heading+"\n")
	if found {
		end := len(after)
		for _, next := range []string{"\n## ", lastLine} {
			if at := strings.Index(after, next); at >= 0 {
				end = min(end, at)
			}
		}
		return before + section + after[end:]
	}
	before, after, _ = strings.Cut(page, lastLine)
	return before + section + lastLine + after
}

// rewrite puts sections into the page of that name.
func rewrite(name string, sections []string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	page := string(text)
	for _, s := range sections {
		page = splice(page, s)
	}
	return os.WriteFile(name, []byte(page), 0o644)
}

// lastLine begins what ends the sections that a run measures.
const lastLine = "\nLoad average at the end: "
