package conf

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSplitWords(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{" \t", nil},
		{"a  b\tc", []string{"a", "b", "c"}},
		{`'a b' "c d"`, []string{"a b", "c d"}},
		{`a'b'"c"\ d`, []string{"abc d"}},
		{`''`, []string{""}},
		{`"\"\\\n$x"`, []string{`"\\n$x`}},
		{`'\'`, []string{`\`}},
		{`a#b;c`, []string{"a#b;c"}},
		{`a # b`, []string{"a"}},
		{`a ;b`, []string{"a"}},
		{`# b`, nil},
		{`a '#' \;`, []string{"a", "#", ";"}},
		{"$HOME * `x` a|b", []string{"$HOME", "*", "`x`", "a|b"}},
		{"ä 'ö ü'", []string{"ä", "ö ü"}},
	} {
		got, err := splitWords(c.in, "")
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{`'`, `a "b`, `a\`, `"\"`} {
		if got, err := splitWords(in, ""); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
}

func TestWordsReadWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune(`ab #;'"\,$ä`+"`\t")))).Draw(t, "words")
		text := joinWords(words)
		for _, also := range []string{"", ","} {
			got, err := splitWords(text+" # comment", also)
			if err != nil || !slices.Equal(got, words) {
				t.Fatalf("%q became %q, which is read as %q, %v", words, text, got, err)
			}
		}
	})
}

func TestDurationsReadWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Duration(1<<63-1)/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%d became %s, which is read as %d, %v", d, formatDuration(d), got, err)
		}
	})
}

func TestSizesReadWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "round") {
			n = n % (1 << 20) << 20
		}
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Fatalf("%d became %s, which is read as %d, %v", n, formatSize(n), got, err)
		}
	})
}

// TestDurationsAgreeWithGo compares with time.ParseDuration where both apply.
func TestDurationsAgreeWithGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`([0-9]{0,5}(ms|s|m|h|x)?){1,3}`).Draw(t, "text")
		want, werr := time.ParseDuration(s)
		got, err := parseDuration(s)
		if s == "0" || s == "00" || strings.Trim(s, "0") == "" {
			return // Go wants no unit there
		}
		if (err == nil) != (werr == nil) || got != want {
			t.Fatalf("%q: got %v, %v, Go reads %v, %v", s, got, err, want, werr)
		}
	})
}
