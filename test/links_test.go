package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// documents are the pages of the tree, by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || d.Name() == "vendor"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil || len(all) < 15 {
		t.Fatalf("%d documents, %v", len(all), err)
	}
	return all
}

var (
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	heading    = regexp.MustCompile(`^#{1,6} +(.*)$`)
	absolute   = regexp.MustCompile(`^(https?|mailto):`)
)

// prose is a page without its blocks of code.
func prose(text string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

// anchors are the names that a page's headings can be reached by, as GitHub and
// GitLab make them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(prose(text)) {
		if m := heading.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			all[anchor(m[1])] = true
		}
	}
	return all
}

func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, title)
}

// brokenLinks are the links of the page at path that lead nowhere.
func brokenLinks(path string, pages map[string]string) (broken []string, links int) {
	text := inlineCode.ReplaceAllStringFunc(prose(pages[path]), func(code string) string {
		return strings.Repeat("x", len(code)) // no link is in code
	})
	for _, m := range inlineLink.FindAllStringSubmatch(text, -1) {
		if absolute.MatchString(m[1]) {
			continue
		}
		links++
		file, name, _ := strings.Cut(m[1], "#")
		target := path
		if file != "" {
			target = filepath.Join(filepath.Dir(path), file)
			if _, err := os.Stat(target); err != nil || strings.HasPrefix(file, "/") {
				broken = append(broken, m[1])
				continue
			}
		}
		if name != "" && !anchors(pages[target])[name] {
			broken = append(broken, m[1])
		}
	}
	return broken, links
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages, all := documents(t), 0
	for path := range pages {
		broken, links := brokenLinks(path, pages)
		all += links
		for _, link := range broken {
			t.Errorf("%s: %s leads nowhere", path, link)
		}
	}
	if all < 40 {
		t.Errorf("%d links in all the documents", all)
	}
}

func TestALinkThatLeadsNowhereIsFound(t *testing.T) {
	pages := map[string]string{"../README.md": "# A `b` (c)\n[a](#a-b-c) [b](#b) [c](docs) [d](nowhere.md) `[e](nowhere)` [f](https://example.com) [g](docs/metrics.md#nothing) [h](/docs)\n```\n[i](nowhere)\n```\n",
		"../docs/metrics.md": "# Metrics\n"}
	broken, links := brokenLinks("../README.md", pages)
	if got := strings.Join(broken, " "); got != "#b nowhere.md docs/metrics.md#nothing /docs" || links != 6 {
		t.Errorf("of %d links these lead nowhere: %s", links, got)
	}
}

// TestEveryDocumentIsLinkedFromTheFront so that nobody has to know of it.
func TestEveryDocumentIsLinkedFromTheFront(t *testing.T) {
	front := documents(t)["../README.md"]
	files, err := filepath.Glob("../docs/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.Contains(front, "](docs/"+name) {
			t.Errorf("README.md has no link to docs/%s", name)
		}
	}
}
