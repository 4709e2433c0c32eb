package upload

import (
	"context"
	"io"
	"maps"
	"slices"
)

// What is read from a file that stays where it is must not be sent before its
// reader has noted, durably, how far it has read: else a crash between the two
// sends it again. So it is staged with its origin, in one durable step, and
// released afterwards. After a crash whoever staged it learns from Staged what
// he had got to, and releases it.

// maxOrigin bounds the text of an origin, in bytes.
const maxOrigin = 2 << 10

// Stage puts the contents of r into the spool as Add does, but to be sent only
// once Release was called for it, in this life or a later one. Nothing is
// dropped to make room for it: it is ErrFull, and stays where it is. An r that
// tells by Len how much it has is not written to the disk for that.
func (u *Uploader) Stage(ctx context.Context, typ, module, name, origin string, r io.Reader) (Item, error) {
	if err := checkNames(typ, module, name); err != nil {
		return Item{}, err
	}
	if origin == "" || len(origin) > maxOrigin {
		return Item{}, errOrigin
	}
	if err := u.open(); err != nil {
		return Item{}, err
	}
	if sized, ok := r.(interface{ Len() int }); ok && !u.spool.fits(int64(sized.Len()), typ) {
		return Item{}, ErrFull
	}
	tmp, size, err := u.spool.receive(ctx, r)
	if err != nil {
		return Item{}, err
	}
	added, dated := u.Now()
	it, err := u.adopt(record{Type: typ, Module: module, Name: name, Size: size, Added: added, Dated: dated, Origin: origin}, tmp)
	if err != nil {
		_ = u.spool.fs.Remove(tmp)
	}
	return it, err
}

// Staged returns the origins of the items that are not released, by their ids:
// after a start those of all that wait.
func (u *Uploader) Staged() (map[string]string, error) {
	if err := u.open(); err != nil {
		return nil, err
	}
	u.spool.mu.Lock()
	defer u.spool.mu.Unlock()
	return maps.Clone(u.spool.origins), nil
}

// Release lets staged items be sent.
func (u *Uploader) Release(ids ...string) {
	u.spool.unstage(ids)
	u.note(nil)
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Discard takes a staged item back: its reader has found that it is not what it
// was thought to be.
func (u *Uploader) Discard(id string) error {
	s := &u.spool
	s.mu.Lock()
	_, staged := s.origins[id]
	i := slices.IndexFunc(s.items, func(it *item) bool { return staged && it.staged && seqName(it.Seq) == id })
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	victim := s.items[i]
	s.discard([]*item{victim})
	delete(s.origins, id)
	s.mu.Unlock()
	u.note(nil)
	return s.erase(victim.Seq)
}

// unstage takes the items' staging back.
func (s *spool) unstage(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.origins, id)
	}
	for _, it := range s.items {
		if it.Origin != "" {
			it.staged = s.isStaged(it.Seq)
		}
	}
}

// isStaged reports whether item seq waits for its release. The caller holds mu.
func (s *spool) isStaged(seq uint64) bool {
	_, staged := s.origins[seqName(seq)]
	return staged
}

// staging reports whether an item waits for its release.
func (s *spool) staging() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.origins) > 0
}

// stage notes that the item of rec waits for its release, if it has an origin.
func (s *spool) stage(rec *record) {
	if rec.Origin == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.origins[seqName(rec.Seq)] = rec.Origin
}

// fits reports whether size more bytes of type typ have room as things are.
func (s *spool) fits(size int64, typ string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, c := s.quotas[typ], s.counts[typ]
	return s.bytes+size <= s.max && len(s.items) < maxItems &&
		(q.Bytes <= 0 || c.bytes+size <= q.Bytes) && (q.Files <= 0 || c.files < q.Files)
}
