package powercut

import (
	"bytes"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
)

// After yields every disk that may be found after a power cut now: every
// choice of the names that were not synced, with every state of the data that
// was not. With lies, also those of a medium that has lied about its newest
// sync. Beyond 8 names, choices are drawn by a fixed seed: all beginnings, all
// but one, and 64 others.
func (d *Disk) After(lies bool) iter.Seq[*Disk] {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := survivors(d.durable, d.pending, nil, nil)
	if b := d.last; lies && b.file != nil {
		found = append(found, survivors(d.durable, d.pending, b.file, b.before)...)
	}
	if b := d.last; lies && len(b.names) > 0 {
		found = append(found, survivors(b.base, slices.Concat(b.names, d.pending), nil, nil)...)
	}
	return slices.Values(found)
}

// Cut is one of After's, drawn by rng. It costs little. The medium lies once
// in lies times; never if lies is 0.
func (d *Disk) Cut(rng *rand.Rand, lies int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names, pending, lied := d.durable, d.pending, barrier{}
	if lies > 0 && rng.IntN(lies) == 0 {
		if lied = d.last; len(lied.names) > 0 {
			names, pending = lied.base, slices.Concat(lied.names, pending)
		}
	}
	names = maps.Clone(names)
	ordered := rng.IntN(2) == 0 // as a journal keeps it
	for _, c := range pending {
		if rng.IntN(3) == 0 {
			if ordered {
				break
			}
			continue
		}
		c.apply(names)
	}
	return reborn(names, func(ino *inode) []byte {
		synced := ino.synced
		if ino == lied.file {
			synced = lied.before
		}
		v := variants(ino.data, synced)
		return v[rng.IntN(len(v))]
	})
}

// survivors are the disks made of names and some of pending. The data of lied,
// if not nil, is durable only as far as before.
func survivors(names map[string]*inode, pending []change, lied *inode, before []byte) (found []*Disk) {
	synced := func(ino *inode) []byte {
		if ino == lied {
			return before
		}
		return ino.synced
	}
	for _, kept := range choices(len(pending)) {
		m := maps.Clone(names)
		for i, c := range pending {
			if kept[i] {
				c.apply(m)
			}
		}
		most := 1
		for _, ino := range m {
			most = max(most, len(variants(ino.data, synced(ino))))
		}
		for i := range most {
			found = append(found, reborn(m, func(ino *inode) []byte {
				v := variants(ino.data, synced(ino))
				return v[i%len(v)]
			}))
		}
	}
	return found
}

// choices lists which of n changes survive.
func choices(n int) (all [][]bool) {
	add := func(keep func(i int) bool) {
		c := make([]bool, n)
		for i := range c {
			c[i] = keep(i)
		}
		all = append(all, c)
	}
	if n <= 8 {
		for set := range 1 << n {
			add(func(i int) bool { return set>>i&1 == 1 })
		}
		return all
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for k := range n + 1 {
		add(func(i int) bool { return i < k })
		add(func(i int) bool { return i != k })
	}
	for range 64 {
		add(func(int) bool { return rng.IntN(2) == 0 })
	}
	return all
}

// variants are what may be found of a file: what was synced, all that was
// written, a beginning of it in sectors, zeros for one sector or for all. What
// was synced stays where it was only appended to.
func variants(data, synced []byte) [][]byte {
	if bytes.Equal(data, synced) {
		return [][]byte{data}
	}
	safe := 0
	if bytes.HasPrefix(data, synced) {
		safe = len(synced)
	}
	zeros := make([]byte, len(data))
	copy(zeros, data[:safe])
	v := [][]byte{synced, data, zeros}
	for at := safe; at < len(data); at += Sector - at%Sector {
		hole := slices.Clone(data)
		clear(hole[at:min(at+Sector-at%Sector, len(data))])
		v = append(v, data[:at], hole)
	}
	return v
}

// reborn is a disk with these names, on which all is durable.
func reborn(names map[string]*inode, content func(*inode) []byte) *Disk {
	d, made := New(), map[*inode]*inode{}
	for _, name := range sorted(names) {
		old := names[name]
		if made[old] == nil {
			data := slices.Clone(content(old))
			made[old] = &inode{data: data, synced: slices.Clone(data)}
		}
		d.names[name], d.durable[name] = made[old], made[old]
	}
	return d
}

func sorted(names map[string]*inode) []string { return slices.Sorted(maps.Keys(names)) }
