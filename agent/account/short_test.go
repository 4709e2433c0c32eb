package account

import (
	"testing"
	"time"
)

// Many OAuth servers give tokens that live for minutes: each is renewed in its
// own window although the last renewal was a moment ago.
func TestShortTokensAreRenewedInTheirWindow(t *testing.T) {
	for _, life := range []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour} {
		issued := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		tok := Token{raw: "a.b.c", Claims: Claims{Issued: issued, Expires: issued.Add(life)}}
		w := ShareSchedule.Window(tok)
		for _, now := range []time.Time{issued, w.Due, w.Due.Add(time.Second)} {
			next := ShareSchedule.Next(now, w, History{Last: Renewed, At: issued})
			if next.Before(w.Due) || next.After(issued.Add(life*7/10)) {
				t.Errorf("life %v, seen after %v: got the next renewal after %v; want it in the window from %v on",
					life, now.Sub(issued), next.Sub(issued), w.Due.Sub(issued))
			}
		}
	}
	// A cloud whose tokens are born expired is not asked all the time.
	issued := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	w := ShareSchedule.Window(Token{raw: "a.b.c", Claims: Claims{Issued: issued, Expires: issued}})
	if next := ShareSchedule.Next(issued, w, History{Last: Renewed, At: issued}); next.Sub(issued) < renewGap {
		t.Errorf("got the next renewal after %v; want at least %v", next.Sub(issued), renewGap)
	}
}
