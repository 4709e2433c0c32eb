package lineend

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLineEndsAreThoseOfTheText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 3*block), 0, 6).Draw(t, "lines") {
			b.WriteString(strings.Repeat("x", n) + "\n")
		}
		b.WriteString(strings.Repeat("y", rapid.IntRange(0, 2*block).Draw(t, "rest")))
		text := []byte(b.String())
		from := rapid.Int64Range(0, int64(len(text))).Draw(t, "from")
		to := rapid.Int64Range(from, int64(len(text))).Draw(t, "to")
		last, lastOK, err := Last(bytes.NewReader(text), from, to)
		if err != nil {
			t.Fatal(err)
		}
		next, nextOK, err := Next(bytes.NewReader(text), from, to)
		if err != nil {
			t.Fatal(err)
		}
		part := text[from:to]
		if i := bytes.LastIndexByte(part, '\n'); lastOK != (i >= 0) || lastOK && last != from+int64(i)+1 {
			t.Fatalf("last of %d to %d: %d, %v", from, to, last, lastOK)
		}
		if i := bytes.IndexByte(part, '\n'); nextOK != (i >= 0) || nextOK && next != from+int64(i)+1 {
			t.Fatalf("next of %d to %d: %d, %v", from, to, next, nextOK)
		}
	})
}
