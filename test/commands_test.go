package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/cli"
)

// choice stands for the bar between commands to choose from, which is no pipe.
const choice = "¦"

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	agentCall   = regexp.MustCompile(`(?:^|[\s/;|&("])spoke-zone-agent +([a-z][^|;&<>()#"\n]*)`)
	makeCall    = regexp.MustCompile(`(?:^|[\s;|&(])make +([a-z][^|;&<>()#]*)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## `)
	commandWord = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// typed are the lines of a page that a person may type: those in code.
func typed(text string) (lines []string) {
	fenced := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    ") && !strings.HasPrefix(trimmed, "|"):
			command, _, _ := strings.Cut(trimmed, " # ")
			lines = append(lines, command)
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				lines = append(lines, m[1])
			}
		}
	}
	return lines
}

// wrongCall is what is wrong with the words after the program's name, empty if
// nothing: each command and flag has to be there. Words in brackets are options
// to choose from, words in capitals stand for something.
func wrongCall(root *cobra.Command, words string) string {
	cmd := root
	for _, word := range strings.Fields(strings.NewReplacer("[", " ", "]", " ", "…", " ", choice, "|").Replace(words)) {
		if name, ok := strings.CutPrefix(strings.TrimRight(word, ",.:"), "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			if name == "help" || name == "" {
				continue
			}
			cmd.InheritedFlags()
			if cmd.Flags().Lookup(name) == nil {
				return "no flag --" + name
			}
			continue
		}
		if !cmd.HasSubCommands() {
			continue
		}
		for name := range strings.SplitSeq(word, "|") {
			if !commandWord.MatchString(name) {
				return "no command " + name
			}
			sub := child(cmd, name)
			if sub == nil {
				return "no command " + name
			}
			if !strings.Contains(word, "|") {
				cmd = sub
			}
		}
		if strings.Contains(word, "|") {
			return "" // each of them is there
		}
	}
	return ""
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name {
			return sub
		}
	}
	return nil
}

func TestEveryCommandInTheDocumentsIsThere(t *testing.T) {
	root := new(cli.Program).Command()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	calls, makes := 0, 0
	for path, text := range documents(t) {
		if strings.HasPrefix(filepath.Base(path), "CHANGELOG") {
			continue
		}
		for _, line := range typed(text) {
			line = strings.ReplaceAll(line, `\|`, choice) // of a table
			for _, m := range agentCall.FindAllStringSubmatch(line, -1) {
				calls++
				if wrong := wrongCall(root, m[1]); wrong != "" {
					t.Errorf("%s: %s: there is %s", path, strings.TrimSpace(m[0]), wrong)
				}
			}
			for _, m := range makeCall.FindAllStringSubmatch(line, -1) {
				makes++
				for word := range strings.FieldsSeq(m[1]) {
					if commandWord.MatchString(word) && !slices.Contains(targets, word) {
						t.Errorf("%s: make has no target %s", path, word)
					}
				}
			}
		}
	}
	if calls < 40 || makes < 10 {
		t.Errorf("%d calls of the agent and %d of make in all the documents", calls, makes)
	}
}

func TestACommandThatIsNotThereIsFound(t *testing.T) {
	root := new(cli.Program).Command()
	for words, want := range map[string]string{
		"status --json": "", "why [TOPIC]": "", "ota list|check|fetch|status [MODULE]": "", "upload --type log a.log": "", "token NAME --min-validity 10m --json": "",
		"stat": "no command stat", "ota instal app": "no command instal", "status --jsn": "no flag --jsn", "ota list|chek": "no command chek",
	} {
		if got := wrongCall(root, words); got != want {
			t.Errorf("%s: got %q, want %q", words, got, want)
		}
	}
	if got := strings.Join(typed("a `b c`\n```sh\nd e   # f\n```\n\n    g\n"), ";"); got != "b c;d e  ;g" {
		t.Errorf("typed: %q", got)
	}
}
