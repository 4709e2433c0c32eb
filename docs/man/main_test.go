package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/cli"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

func TestPagesAreUpToDate(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		if err := write("."); err != nil {
			t.Fatal(err)
		}
	}
	all, err := pages()
	if err != nil || len(all) != 5 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	for name, want := range all {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date: go run ./docs/man", name)
		}
	}
}

func TestDocumentsAreUpToDate(t *testing.T) {
	all, err := documents("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range all {
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date: go run ./docs/man", name)
		}
	}
	for _, s := range slices.Concat(conf.Settings(), conf.InstallSettings()) {
		if !strings.Contains(all["docs/settings.md"], "\n| `"+s.Key+"` |") {
			t.Errorf("docs/settings.md does not tell of %s.%s", s.Section, s.Key)
		}
	}
}

func TestPagesTellAll(t *testing.T) {
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	each(new(cli.Program).Command(), func(cmd *cobra.Command) {
		_, words, _ := strings.Cut(cmd.CommandPath(), " ")
		page := all["spoke-zone-agent.8"]
		if !strings.Contains(page, "\n.Cm "+words+"\n") {
			t.Errorf("spoke-zone-agent(8) does not tell of %s", words)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(page, ".It Fl -"+f.Name) {
				t.Errorf("spoke-zone-agent(8) does not tell of %s --%s", words, f.Name)
			}
		})
	})
	for _, s := range conf.Settings() {
		if !strings.Contains(all["spoke-zone-agent.conf.5"], "\n.It Ic "+s.Key+"\n") {
			t.Errorf("spoke-zone-agent.conf(5) does not tell of %s.%s", s.Section, s.Key)
		}
	}
}

func TestEverySettingOfTheInstallerIsTold(t *testing.T) {
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range conf.InstallSettings() {
		if !strings.Contains(all["spoke-zone-install.conf.5"], "\n.It Ic "+s.Key+"\n") {
			t.Errorf("spoke-zone-install.conf(5) does not tell of %s.%s", s.Section, s.Key)
		}
	}
}

// TestMandocIsContent checks the pages where mandoc is installed; what holds
// anywhere is that no line can be taken for a macro that does not exist.
func TestMandocIsContent(t *testing.T) {
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range all {
		for n, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ". ") || strings.ContainsAny(line, "\t\r") {
				t.Errorf("%s:%d: %q", name, n+1, line)
			}
		}
		mandoc, err := exec.LookPath("mandoc")
		if err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(mandoc, "-Tlint", "-Wwarning", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestTextCannotBecomeAMacro(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb":       "a b\n",
		".Sh NAME":   "\\&.Sh NAME\n",
		"One. 'Two'": "One.\n\\&'Two'\n",
		`a\fBb`:      "a\\efBb\n",
	} {
		if got := paragraph(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
