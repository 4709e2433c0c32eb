package clouds

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

const (
	page  = "../../docs/accounts.md"
	begin = "<!-- measured: begin -->\n"
	end   = "<!-- measured: end -->"
)

// TestWhoGetsWhatRight plays every behaviour against both clients, each with a
// cloud of its own in a bubble, and compares the outcome with the page's table.
// UPDATE=1 writes it.
func TestWhoGetsWhatRight(t *testing.T) {
	var b strings.Builder
	b.WriteString(begin + "| cloud | behaviour |")
	for _, c := range contenders {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(contenders)) + "\n")
	for _, row := range behaviours {
		fmt.Fprintf(&b, "| %s | %s |", row.cloud, row.what)
		for _, c := range contenders {
			err := play(t, row, c.open)
			if err != nil && c.name == "spoke-zone-agent" {
				t.Errorf("%s: %s: %v", row.cloud, row.what, err)
			} else if err != nil {
				t.Logf("%s: %s: %s: %v", c.name, row.cloud, row.what, err)
			}
			b.WriteString(map[bool]string{true: " yes |", false: " **no** |"}[err == nil])
		}
		b.WriteString("\n")
	}
	b.WriteString(end)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + b.String() + after
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s tells otherwise than what was measured; write it with UPDATE=1:\n%s", page, b.String())
	}
}

// play lets one client show one behaviour, and returns what is wrong.
func play(t *testing.T, row behaviour, open func(*testing.T, string, place) client) (wrong error) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(row.cloud)
		defer s.close()
		c := open(t, row.cloud, s)
		defer c.Close()
		wrong = row.check(s, c)
	})
	return wrong
}

// TestEverySwitchIsOnThePage keeps the page's lists of switches whole.
func TestEverySwitchIsOnThePage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, cloud := range []string{"beacon-tower", "bace", "placeos", "beamery"} {
		s := newServer(cloud)
		for _, f := range s.Faults() {
			if !strings.Contains(string(text), "`"+string(f.Name)+"`") && !strings.Contains(string(text), "`"+string(f.Name)+"@") {
				t.Errorf("%s does not tell of %s.%s", page, cloud, f.Name)
			}
		}
		s.close()
	}
}
