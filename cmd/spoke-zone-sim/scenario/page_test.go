package scenario

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is the manual of the format. Its tables are made of the code.
const page = "../../../docs/scenarios.md"

// rows are the lines of a table.
func rows[T any](forms []form[T]) string {
	b := strings.Builder{}
	b.WriteString("| statement | what it does |\n|---|---|\n")
	for _, f := range forms {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(f.use, "|", `\|`), f.doc)
	}
	return b.String()
}

func kindRows() string {
	b := strings.Builder{}
	b.WriteString("| word | what may stand there |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.ReplaceAll(kinds[name].want, "|", `\|`))
	}
	return b.String()
}

func shippedRows(t *testing.T) string {
	b := strings.Builder{}
	b.WriteString("| scenario | what it shows |\n|---|---|\n")
	names, texts := Shipped()
	for _, name := range names {
		s, err := Parse(name, texts[name])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| [`%s`](../cmd/spoke-zone-sim/scenario/shipped/%s%s) | %s |\n", name, name, extension, s.Shows)
	}
	return b.String()
}

// TestThePageListsEveryStatement compares the tables of the page with the code;
// UPDATE=1 writes them.
func TestThePageListsEveryStatement(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for name, table := range map[string]string{
		"shipped": shippedRows(t), "settings": rows(settings), "acts": rows(acts),
		"happenings": rows(happenings), "conditions": rows(conditions), "kinds": kindRows(),
	} {
		re := regexp.MustCompile(`(?s)(<!-- ` + name + `: [^\n]*-->\n).*?(<!-- end -->)`)
		if !re.MatchString(want) {
			t.Errorf("the page has no place for %s", name)
		}
		want = re.ReplaceAllStringFunc(want, func(old string) string {
			m := re.FindStringSubmatch(old)
			return m[1] + table + m[2]
		})
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(b) {
		t.Errorf("%s is not what the code says: UPDATE=1 go test ./cmd/spoke-zone-sim/scenario writes it", page)
	}
}
