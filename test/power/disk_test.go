package main

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestDiskKeepsItsPromise writes at random, cuts the power, and compares each
// sector with what may be there: the last flushed content, or any later one.
func TestDiskKeepsItsPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 6
		cached := rapid.Bool().Draw(t, "cached")
		d := newDisk(make([]byte, sectors*sector), cached)
		may := make([]map[byte]bool, sectors)
		for i := range may {
			may[i] = map[byte]bool{0: true}
		}
		last := make([]byte, sectors)
		for n := range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
				d.flush()
				for i := range may {
					may[i] = map[byte]bool{last[i]: true}
				}
				continue
			}
			from := rapid.IntRange(0, sectors-1).Draw(t, "from")
			count := rapid.IntRange(1, sectors-from).Draw(t, "count")
			through := rapid.IntRange(0, 3).Draw(t, "through") == 0
			d.write(bytes.Repeat([]byte{byte(n + 1)}, count*sector), int64(from*sector), through)
			for i := from; i < from+count; i++ {
				if through || !cached {
					may[i] = map[byte]bool{}
				}
				may[i][byte(n+1)], last[i] = true, byte(n+1)
			}
		}
		d.cut(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		got := make([]byte, sectors*sector)
		d.read(got, 0)
		for i := range sectors {
			one := got[i*sector : (i+1)*sector]
			if !may[i][one[0]] || !bytes.Equal(one, bytes.Repeat(one[:1], sector)) {
				t.Fatalf("sector %d is %d, may be %v", i, one[0], may[i])
			}
		}
	})
}
