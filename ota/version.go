package ota

import (
	"cmp"
	"strings"
)

// A Version names a release of a module. Clouds and people write versions in
// many ways, so Compare reads any string:
//
//   - Runs of digits are numbers of any length; runs of letters are words,
//     compared without regard to ASCII case; all else separates.
//   - A leading v before a digit, build metadata (from the first +) and spaces
//     around do not count.
//   - A pre-release comes before its release. It begins at a word after a
//     hyphen ("1.2-rc1"), at a tilde ("1.2~5"), or at one of the words alpha,
//     beta, dev, nightly, pre, preview, rc and snapshot ("1.2rc1"). A hyphen
//     before a digit only separates, as in the date 2026-01-02 and in the
//     revision 1.2-3, which follows 1.2.
//   - A zero that no number follows does not count: 1, 1.0 and 1.0.0 are
//     equal, and so are 1.0-rc1 and 1.0.0-rc1.
//   - What goes on comes after what ends ("1.2.1" and "1.2a" after "1.2"). A
//     number comes after a word ("1.2.1" after "1.2a"); inside a pre-release it
//     comes before one, as in semantic versioning.
//   - A version that says nothing, the empty one above all, precedes all others.
//
// Versions that compare equal may differ as strings; neither is newer.
type Version string

// Compare returns -1, 0 or +1 as v precedes, equals or follows w. It is a total
// preorder: every version maps to a list of elements, and lists are compared
// from the left.
func (v Version) Compare(w Version) int {
	a, b := v.elements(), w.elements()
	for i := range max(len(a), len(b)) {
		if c := at(a, i).compare(at(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// A rank orders elements of different kinds.
type rank uint8

const (
	preNumber   rank = iota // begins a pre-release
	preWord                 // likewise
	end                     // what follows the last element
	word                    // of a release
	number                  // of a release
	innerNumber             // in a pre-release
	innerWord               // in a pre-release
)

// An element is one number, without leading zeros, or one word in lower case.
type element struct {
	rank rank
	text string
}

func (e element) compare(f element) int {
	if c := cmp.Compare(e.rank, f.rank); c != 0 {
		return c
	}
	if e.numeric() {
		return cmp.Or(cmp.Compare(len(e.text), len(f.text)), cmp.Compare(e.text, f.text))
	}
	return cmp.Compare(e.text, f.text)
}

func (e element) numeric() bool {
	return e.rank == preNumber || e.rank == number || e.rank == innerNumber
}

func at(list []element, i int) element {
	if i < len(list) {
		return list[i]
	}
	return element{rank: end}
}

var preWords = map[string]bool{
	"alpha": true, "beta": true, "dev": true, "nightly": true,
	"pre": true, "preview": true, "rc": true, "snapshot": true,
}

// elements reads v. Its first element is the same for every version that says
// anything, so that one that does not comes first.
func (v Version) elements() []element {
	s, _, _ := strings.Cut(strings.TrimSpace(string(v)), "+")
	if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') && digit(s[1]) {
		s = s[1:]
	}
	var list []element
	var inPre, dash, tilde bool
	for s != "" {
		n := run(s)
		text := s[:n]
		s = s[n:]
		switch {
		case digit(text[0]):
			r := number
			switch {
			case tilde:
				r = preNumber
			case inPre:
				r = innerNumber
			}
			list = append(list, element{r, strings.TrimLeft(text, "0")})
			inPre = inPre || tilde
		case letter(text[0]):
			text = lower(text)
			r := word
			switch {
			case tilde, !inPre && (preWords[text] || dash && list != nil):
				r = preWord
			case inPre:
				r = innerWord
			}
			list = append(list, element{r, text})
			inPre = inPre || r == preWord
		default:
			dash, tilde = strings.Contains(text, "-"), strings.Contains(text, "~")
			continue
		}
		dash, tilde = false, false
	}
	if list == nil {
		return nil
	}
	return append([]element{{rank: number}}, dropZeros(list)...)
}

// dropZeros removes the zeros that no number follows.
func dropZeros(list []element) []element {
	kept := len(list)
	for i := len(list) - 1; i >= 0; i-- {
		if e := list[i]; e.rank == preNumber || !e.numeric() || e.text != "" ||
			kept < len(list) && list[kept].numeric() && list[kept].rank != preNumber {
			kept--
			list[kept] = e
		}
	}
	return list[kept:]
}

// run returns the length of the run of one kind that s begins with.
func run(s string) int {
	kind := func(c byte) int {
		switch {
		case digit(c):
			return 1
		case letter(c):
			return 2
		}
		return 0
	}
	n := 1
	for n < len(s) && kind(s[n]) == kind(s[0]) {
		n++
	}
	return n
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80 }

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
