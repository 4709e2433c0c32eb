// Man writes the manual pages, docs/settings.md and docs/status.schema.json:
// `go run ./docs/man` after a change of a command, a setting or the status. What the program knows is generated, from the command tree and
// the table of settings; what it cannot know stands in pages/.
package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/cli"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

//go:embed pages
var sources embed.FS

// Where a generated part goes: a comment of mdoc(7) in a line of its own.
const (
	commandsHere = ".\\\" commands\n"
	optionsHere  = ".\\\" options\n"
	settingsHere = ".\\\" settings\n"
	policyHere   = ".\\\" policy\n"
)

func main() {
	dir := filepath.Join("docs", "man")
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := write(dir); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	all, err := pages()
	if err != nil {
		return err
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	root := filepath.Join(dir, "..", "..")
	all, err = documents(root)
	if err != nil {
		return err
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pages returns the text of each page by the name of its file.
func pages() (map[string]string, error) {
	files, err := sources.ReadDir("pages")
	if err != nil {
		return nil, err
	}
	root := new(cli.Program).Command()
	parts := strings.NewReplacer(
		commandsHere, commands(root), optionsHere, options(root), settingsHere, settings(conf.Settings()),
		policyHere, settings(conf.InstallSettings()))
	all := map[string]string{}
	for _, f := range files {
		b, err := sources.ReadFile("pages/" + f.Name())
		if err != nil {
			return nil, err
		}
		all[strings.TrimSuffix(f.Name(), ".in")] = parts.Replace(string(b))
	}
	return all, nil
}
