package ota

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

func checkpoints() *rapid.Generator[checkpoint] {
	return rapid.Custom(func(t *rapid.T) checkpoint {
		total := rapid.Int64Range(-1, 1<<40).Draw(t, "total")
		most := total
		if total < 0 {
			most = 1 << 40
		}
		c := checkpoint{
			Gen:    rapid.Uint64().Draw(t, "gen"),
			Offset: rapid.Int64Range(0, most).Draw(t, "offset"),
			Total:  total,
			SHA256: digest([]byte{rapid.Byte().Draw(t, "sum")}),
			URLKey: urlKey("https://x/"),
			Spent:  rapid.Int64Range(0, 1<<40).Draw(t, "spent"),
		}
		c.Mark = validator{ETag: `"` + rapid.StringMatching(`[!#-~]{0,190}`).Draw(t, "tag") + `"`}
		c.Complete = c.Offset == total && rapid.Bool().Draw(t, "complete")
		return c
	})
}

func TestCheckpointSurvivesTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := checkpoints().Draw(t, "checkpoint")
		data, err := c.encode()
		if err != nil || len(data) != slotSize {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		got, err := decodeCheckpoint(data)
		if err != nil || got != c {
			t.Fatalf("got %+v, %v, want %+v", got, err, c)
		}
		data[rapid.IntRange(0, slotSize-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := decodeCheckpoint(data); err == nil {
			t.Fatalf("a flipped bit is not noticed: %+v", got)
		}
	})
}

func TestSlotsKeepTheOlderCheckpointWhenAWriteIsTorn(t *testing.T) {
	disk := newMemFS("/d")
	s, _, ok, err := openSlots(disk, "/d")
	if err != nil || ok {
		t.Fatalf("empty slots: %v, %v", ok, err)
	}
	c := checkpoint{Total: -1, SHA256: digest(nil)}
	for c.Offset = 1; c.Offset <= 3; c.Offset++ {
		if err := s.write(c); err != nil {
			t.Fatal(err)
		}
	}
	disk.dieAt = disk.calls + 1 // in the write of the fourth
	if err := s.write(c); err == nil {
		t.Fatal("written without power")
	}
	disk = disk.kill()
	s, got, ok, err := openSlots(disk, "/d")
	if err != nil || !ok || got.Offset != 3 {
		t.Fatalf("got %+v, %v, %v, want the third", got, ok, err)
	}
	c.Offset = 5
	if err := s.write(c); err != nil {
		t.Fatal(err)
	}
	if _, got, _, _ = openSlots(disk, "/d"); got.Offset != 5 || got.Gen != 4 {
		t.Fatalf("got %+v, want the fifth as generation 4", got)
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(`{"gen":1,"offset":5,"sha256":"` + digest(nil) + `","total":10,"mark":{"etag":"\"x\""},"spent":0}`))
	f.Add([]byte(`{"gen":2,"offset":5,"sha256":"","total":-1}`))
	f.Add([]byte("\n00000000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, reseal(data)} {
			c, err := decodeCheckpoint(d)
			if err != nil {
				continue
			}
			if c.Offset < 0 || c.Total >= 0 && c.Offset > c.Total || c.Complete && c.Offset != c.Total || len(c.SHA256) != 64 {
				t.Fatalf("impossible: %+v", c)
			}
			if again, err := c.encode(); err != nil {
				t.Fatalf("cannot be written again: %v", err)
			} else if back, err := decodeCheckpoint(again); err != nil || back != c {
				t.Fatalf("got %+v, %v, want %+v", back, err, c)
			}
		}
	})
}

// reseal gives data the right length and checksum, so that the fuzzer gets past
// them.
func reseal(data []byte) []byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	const room = slotSize - len("\n00000000")
	if len(line) > room {
		line = line[:room]
	}
	return atomicfile.Seal(append(bytes.Clone(line), bytes.Repeat([]byte(" "), room-len(line))...))
}
