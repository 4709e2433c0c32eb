// Command bench measures the agent beside the programs that a gateway would
// otherwise use: all in one run, in turn, on the same servers.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// fleet is what simulations measured, which no run of this program repeats.
//
//go:embed fleet.md
var fleet string

func main() {
	var o options
	flag.StringVar(&o.agent, "agent", "build/spoke-zone-agent", "the agent")
	flag.StringVar(&o.fetch, "fetch", "build/bench/fetch", "the program of test/bench/fetch")
	flag.StringVar(&o.dir, "dir", "build/bench", "where files are made: on the disk to measure")
	flag.StringVar(&o.page, "page", "docs/benchmarks.md", "the page to write")
	flag.BoolVar(&o.quick, "quick", false, "measure once and write no page")
	worker := flag.String("worker", "", "be the program that publishes (JSON)")
	only := flag.String("only", "", "some of fetch, upload, start, rotate, idle, publish, tokens, by commas: rewrites their sections of the page alone")
	flag.Parse()
	o.only = *only
	if *worker != "" {
		if err := work(*worker); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	agent, fetch, dir, page, only string
	quick                         bool
}

// often is n, or 1 when it is quick.
func (o options) often(n int) int {
	if o.quick {
		return 1
	}
	return n
}

func run(o options) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "run.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, p := range []*string{&dir, &o.agent, &o.fetch} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	r, err := newRig(o, dir)
	if err != nil {
		return err
	}
	defer r.stop()

	var page strings.Builder
	fmt.Fprintf(&page, head, machine(), time.Now().UTC().Format("2006-01-02"), versions(o), load())
	var sections []string
	for _, part := range []struct {
		name    string
		measure func(*rig, io.Writer) error
	}{{"fetch", measureFetch}, {"upload", measureUpload}, {"start", measureStart}, {"rotate", measureRotation}, {"idle", measureIdle}, {"publish", measurePublish}, {"tokens", measureTokens}} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), part.name) {
			continue
		}
		var section strings.Builder
		loaded := load()
		if err := part.measure(r, &section); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		page.WriteString(section.String())
		sections = append(sections, alone(section.String(), loaded))
	}
	fmt.Fprintf(&page, lastLine+"%s.\n", load())
	fmt.Print(page.String())
	switch {
	case o.quick:
		return nil
	case o.only != "":
		return rewrite(o.page, sections)
	}
	page.WriteString(fleet)
	return os.WriteFile(o.page, []byte(page.String()), 0o644)
}

const head = `# Benchmarks

Made by ` + "`make bench`" + `, which rewrites this page. Each table comes from one run in which the programs take turns on the same
servers over loopback and TLS 1.3; figures are medians, with the least and the greatest in parentheses. Read the ratios:
the absolute figures are those of the machine.

Machine: %s. Measured on %s with %s. Load average at the start: %s.
`

func machine() string {
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores (%s), Linux %s, %s/%s", runtime.NumCPU(), model, strings.TrimSpace(string(release)), runtime.GOOS, runtime.GOARCH)
}

func versions(o options) string {
	return strings.Join([]string{
		release(o.agent, "version"), runtime.Version(), release("curl", "--version"), release("openssl", "version"),
		release("mosquitto_sub", "--version"), release("nginx", "-v"),
	}, ", ")
}

func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
