package capture

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzExport(f *testing.F) {
	f.Add([]byte("__CURSOR=s=1\n__REALTIME_TIMESTAMP=1\nMESSAGE=hello\n\n"))
	f.Add([]byte("__CURSOR=s=1\nMESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00he\nlo\n\n"))
	f.Add([]byte("MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("A=" + strings.Repeat("x", 2*maxField) + "\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x := newExportReader(bytes.NewReader(data))
		for range len(data) + 1 {
			e, err := x.next()
			if err != nil {
				return
			}
			size := 0
			for k, v := range e {
				if len(v) > maxField+64 {
					t.Fatalf("a value of %d bytes", len(v))
				}
				size += len(k) + len(v)
			}
			if size > len(data) {
				t.Fatalf("%d bytes of %d", size, len(data))
			}
			if line := clean(e.line() + e.kernelLine()); strings.ContainsAny(line, "\x00\x1b") {
				t.Fatalf("%q", line)
			}
			if c := e.cursor(); strings.ContainsAny(c, " \n") {
				t.Fatalf("cursor %q", c)
			}
		}
		t.Fatal("more entries than bytes")
	})
}

func FuzzKmsg(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n"))
	f.Add([]byte("6,1,2,-"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseKmsg(data); err == nil && (m.micros < 0 || strings.Contains(m.text, "\n") || len(m.text) > len(data)) {
			t.Fatalf("%+v", m)
		}
	})
}
