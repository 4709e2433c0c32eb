package upload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"seq":1,"type":"log","module":"display","name":"a.log","size":10,"added":"2026-01-01T00:00:00Z","offset":3,"part":1,"id":"101","end":10}`))
	f.Add([]byte(`{"seq":1,"type":"log","name":"..","size":-1}`))
	f.Add([]byte(`{"seq":1,"type":"log","name":"a","size":5,"offset":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r record
		if json.Unmarshal(line, &r) != nil || r.check(1) != nil {
			return
		}
		if r.Seq != 1 || strings.ContainsAny(r.Name+r.Module, "/\n\x00") || r.Offset < 0 || r.Offset > r.Size || r.End > r.Size || r.ID != "" && r.End <= r.Offset {
			t.Errorf("passed: %+v", r)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"000000000001.data", "1.rec", "..", "a\x1b", "app.log", ".part", "x.PART", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if seq, rest, ok := parseSeq(name); ok && seqName(seq)+rest != name {
			t.Errorf("%q is not %d and %q", name, seq, rest)
		}
		if moduleKey(name) && (strings.ContainsAny(name, "/\\ \n") || name[0] == '.') {
			t.Errorf("module key %q", name)
		}
		if checkName(name) != nil {
			return
		}
		if strings.ContainsRune(name, '/') || strings.ContainsFunc(name, unicode.IsControl) || name == ".." {
			t.Errorf("name %q", name)
		}
		if p := partName(name, 7); checkName(clip(p, 255)) != nil || !strings.Contains(p, ".007") {
			t.Errorf("part of %q is %q", name, p)
		}
	})
}

func TestPartName(t *testing.T) {
	for in, want := range map[string]string{"app.log": "app.003.log", "app": "app.003", ".log": ".log.003", "a.tar.gz": "a.tar.003.gz", "a.": "a.003."} {
		if got := partName(in, 3); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestCutLosesNothing: the parts of any file are the file, each ends at a line
// end, and each that is longer than the limit is a single line.
func TestCutLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SliceOfN(rapid.SampledFrom([]byte("ab\n")), 0, 50)
		var data []byte
		for range rapid.IntRange(0, 5).Draw(t, "blocks") {
			data = append(data, line.Draw(t, "text")...)
			data = append(data, bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{0, 1, 5000, 9000}).Draw(t, "run"))...)
		}
		limit := int64(rapid.SampledFrom([]int{1, 2, 7, 100, sampleSize - 1, sampleSize, sampleSize + 1, 20000}).Draw(t, "limit"))
		size := int64(len(data))
		for off := int64(0); off < size; {
			end, err := cut(bytes.NewReader(data), off, size, limit)
			if err != nil || end <= off || end > size {
				t.Fatalf("cut from %d to %d of %d: %v", off, end, size, err)
			}
			part := data[off:end]
			if end < size && part[len(part)-1] != '\n' {
				t.Fatalf("part %d to %d does not end at a line end", off, end)
			}
			if int64(len(part)) > limit && bytes.IndexByte(part[:len(part)-1], '\n') >= 0 {
				t.Fatalf("part %d to %d is longer than %d and has several lines", off, end, limit)
			}
			if rest := data[off:min(off+limit, size)]; end < size && int64(len(part)) <= limit && bytes.LastIndexByte(rest, '\n')+1 != len(part) {
				t.Fatalf("part %d to %d could hold more", off, end)
			}
			off = end
		}
	})
}

func TestLined(t *testing.T) {
	for text, want := range map[string]bool{
		"plain\nlines\n":                   true,
		"caf\xe9 in latin 1\n":             true,
		"colour \x1b[31mred\x1b[0m\r\n\tx": true,
		"":                                 true,
		"\x00\x01":                         false,
		"a\x00":                            false,
		"P\x00K\x00":                       false,
		strings.Repeat("x", 5000) + "\x00": true, // beyond what is looked at
	} {
		if got, err := lined(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}
