package main

import (
	"strings"
	"testing"
)

func TestSpliceReplacesOneSection(t *testing.T) {
	const page = "# Benchmarks\n\n## Idle\n\nold\n\n## Start\n\nkept\n\nLoad average at the end: 1.\n\n## Fleet\n\nkept\n"
	got := splice(page, "\n## Idle\n\nnew\n")
	if want := strings.Replace(page, "old", "new", 1); got != want {
		t.Errorf("the first: got %q, want %q", got, want)
	}
	got = splice(page, "\n## Start\n\nnew\n")
	if want := strings.Replace(page, "## Start\n\nkept", "## Start\n\nnew", 1); got != want {
		t.Errorf("the last that is measured: got %q, want %q", got, want)
	}
	got = splice(page, "\n## Tokens\n\nnew\n")
	if want := strings.Replace(page, "\nLoad", "\n## Tokens\n\nnew\n\nLoad", 1); got != want {
		t.Errorf("one more: got %q, want %q", got, want)
	}
}

func TestASectionOfItsOwnRunSaysSo(t *testing.T) {
	got := alone("\n## Idle\n\nAfter a minute.\n", "1.50")
	if !strings.HasPrefix(got, "\n## Idle\n\nMeasured in a run of its own on ") || !strings.HasSuffix(got, " load average of 1.50: read the ratios.\n\nAfter a minute.\n") {
		t.Errorf("got %q", got)
	}
}
