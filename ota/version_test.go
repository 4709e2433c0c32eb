package ota

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Each line is a class of equal versions, and precedes the next.
var ordered = []string{
	" | + |-|.|+5",
	"1~5|1~05",
	"1.0-alpha|1-ALPHA|v1.0.0-alpha",
	"1.0-alpha.1",
	"1.0-alpha.beta",
	"1.0-beta|1.0beta|1.0.beta",
	"1.0-beta.2",
	"1.0-beta.11",
	"1.0-rc1|1.0rc1|1.0-rc.1|1.0~rc1|1.0.0-rc1|V1.0RC1",
	"1.0-rc10",
	"1.0|1|v1.0.0|1.0.0+build.7|01.00| 1.0 ",
	"1.0a",
	"1.0b",
	"1.0.0.1",
	"1.2-rc1",
	"1.2|1.2.0",
	"1.2-3|1.2.3",
	"1.9",
	"1.10",
	"1.10.1-dev",
	"1.10.1",
	"2.0",
	"2025-12-31",
	"2026-01-01|2026.1.1",
	"2026-01-02",
	"2026-01-10",
	"20260110",
	"99999999999999999999999998",
	"99999999999999999999999999",
	"100000000000000000000000000",
}

func TestVersionsStandInOrder(t *testing.T) {
	type ranked struct {
		v Version
		n int
	}
	var all []ranked
	for n, class := range ordered {
		for v := range strings.SplitSeq(class, "|") {
			all = append(all, ranked{Version(v), n})
		}
	}
	for _, a := range all {
		for _, b := range all {
			if got, want := a.v.Compare(b.v), cmp.Compare(a.n, b.n); got != want {
				t.Errorf("%q.Compare(%q) = %d, want %d", a.v, b.v, got, want)
			}
		}
	}
}

func TestWordsOfAReleaseFollowIt(t *testing.T) {
	for _, v := range []Version{"1.2a", "1.2.x", "1.2 hotfix", "1.2_p1"} {
		if v.Compare("1.2") <= 0 {
			t.Errorf("%q does not follow 1.2", v)
		}
		if v.Compare("1.3") >= 0 {
			t.Errorf("%q does not precede 1.3", v)
		}
	}
}

func versions() *rapid.Generator[Version] {
	part := rapid.SampledFrom([]string{
		"0", "1", "2", "10", "01", "00", "9999999999999999999999", ".", "-", "~", "+", "_", " ",
		"rc", "RC", "beta", "dev", "v", "V", "a", "b", "Z", "é", "\xff", "\x00",
	})
	return rapid.Custom(func(t *rapid.T) Version {
		return Version(strings.Join(rapid.SliceOfN(part, 0, 7).Draw(t, "parts"), ""))
	})
}

func TestCompareIsATotalPreorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := versions().Draw(t, "a"), versions().Draw(t, "b"), versions().Draw(t, "c")
		preorder(t, a, b, c)
	})
}

func preorder(t interface{ Fatalf(string, ...any) }, a, b, c Version) {
	if a.Compare(a) != 0 {
		t.Fatalf("%q is not equal to itself", a)
	}
	if a.Compare(b) != -b.Compare(a) {
		t.Fatalf("not antisymmetric: %q %q", a, b)
	}
	list := []Version{a, b, c}
	slices.SortFunc(list, Version.Compare)
	a, b, c = list[0], list[1], list[2]
	if a.Compare(b) > 0 || b.Compare(c) > 0 || a.Compare(c) > 0 {
		t.Fatalf("not transitive: %q %q %q", a, b, c)
	}
	if a.Compare(b) == 0 && a.Compare(c) != b.Compare(c) {
		t.Fatalf("equals differ towards a third: %q %q %q", a, b, c)
	}
}

func TestPreReleasePrecedesItsRelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		release := Version(rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,3}){0,3}`).Draw(t, "release"))
		pre := Version(rapid.StringMatching(`(-|~|\.)?(alpha|beta|rc|dev)[.-]?[0-9]{0,2}`).Draw(t, "pre"))
		if v := release + pre; v.Compare(release) >= 0 {
			t.Fatalf("%q does not precede %q", v, release)
		}
		if v := release + "+" + pre; v.Compare(release) != 0 {
			t.Fatalf("%q differs from %q", v, release)
		}
		if v := "v" + release; v.Compare(release) != 0 {
			t.Fatalf("%q differs from %q", v, release)
		}
		if v := release + ".1"; v.Compare(release) <= 0 {
			t.Fatalf("%q does not follow %q", v, release)
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("1.0", "1.0.0", "1.0-rc1")
	f.Add("", "v", "2026-01-02")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		preorder(t, Version(a), Version(b), Version(c))
	})
}
