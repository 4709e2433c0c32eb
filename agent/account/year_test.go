package account

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// A happening comes again and again.
type happening struct {
	next time.Time
	fire func() (wait time.Duration)
}

// exp draws a wait whose mean is d.
func (w *world) exp(d time.Duration) time.Duration {
	return time.Second + time.Duration(w.rng.ExpFloat64()*float64(d))
}

// between draws a wait from a to b.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// year simulates a device for so many days and reports each lock-out that was
// avoidable.
func year(t *testing.T, seed uint64, days int, omit string, sum *tally) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := &world{seed: seed, rng: rng, linked: true, tokens: map[string]*issued{}}
		w.certs = time.Now().Add(-w.between(0, rekeyed))
		d := &device{world: w, disk: powercut.New(), omit: omit, built: time.Now().Add(-w.between(0, 400*24*time.Hour)), mrs: rng.IntN(4) == 0}
		best := w.issue()
		d.disk.Put(confFile, []byte(best))
		all := d.happenings()
		end := w.now().Add(time.Duration(days) * 24 * time.Hour)
		d.boot()
		reported := 0
		for w.now().Before(end) {
			h := slices.MinFunc(all, func(a, b *happening) int { return a.next.Compare(b.next) })
			d.wait(h.next)
			if d.keeper != nil && d.disk.Off() { // the power failed in the middle of a write
				d.halt(true)
				time.Sleep(w.between(time.Second, 2*time.Hour))
				d.boot()
			}
			if !w.now().Before(h.next) {
				wait := h.fire()
				d.locked(d.reach)
				h.next = later(w.now(), h.next).Add(wait)
			}
			var fate string
			if best, fate = d.fate(best); fate == "" {
				continue
			}
			sum.lost.Add(1)
			if fate == "avoidable" {
				sum.avoidable.Add(1)
				if reported++; omit == "" && reported < 3 {
					sum.report("%s", d.story(best))
				}
			}
			d.locked(func() { best = w.issue() })
			d.brought = best
			d.disk.Put(confFile, []byte(best))
			d.offer()
		}
		if d.keeper != nil {
			d.halt(false)
		}
		sum.logins.Add(int64(w.logins))
		sum.tokens.Add(int64(w.issues))
		sum.boots.Add(int64(d.boots))
	})
}

// wait lets time pass until next or until the power fails.
func (d *device) wait(next time.Time) {
	timer := time.NewTimer(next.Sub(d.now()))
	defer timer.Stop()
	died := d.died
	if d.keeper == nil {
		died = nil
	}
	select {
	case <-timer.C:
	case <-died:
	}
	synctest.Wait()
}

// fate returns the token of the latest expiry that the device has had, and
// whether it has come to a lock-out: "", "unavoidable" or "avoidable". That is
// judged half an hour after the cloud can be reached again.
func (d *device) fate(best string) (string, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keeper == nil {
		return best, ""
	}
	s, _ := d.keeper.Status()
	raw := s.Token.Raw()
	if t := d.tokens[raw]; t != nil && !t.stillborn && t.expires.After(d.tokens[best].expires) {
		best = raw
	}
	if d.renewable(best) || d.renewable(raw) || d.since.IsZero() || d.now().Sub(d.since) < 30*time.Minute {
		return best, ""
	}
	exp := d.tokens[best].expires
	if d.chanceWithin(append(slices.Clone(d.spans), span{d.since, d.now()}), exp.Add(-margin), exp.Add(margin)) {
		return best, "avoidable"
	}
	return best, "unavoidable"
}
