package account

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWrongClockDoesNotHideThatRenewalIsDue: while the cloud has not been heard
// since the boot it is asked, whatever the clock shows.
func TestWrongClockDoesNotHideThatRenewalIsDue(t *testing.T) {
	for _, off := range []time.Duration{-30 * 365 * 24 * time.Hour, -6 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(7 * 24 * time.Hour)
			dir, raw := t.TempDir(), c.issue()
			r := newRig(t, c, dir, raw)
			synctest.Wait()
			r.stop()
			time.Sleep(7 * 24 * time.Hour)
			var heard atomic.Bool
			k := &Keeper{
				WriteBack: func(Token) error { return nil }, Store: &Store{Dir: dir}, Names: DefaultNames,
				Schedule: DefaultSchedule, Log: slog.New(slog.DiscardHandler), Known: heard.Load,
				Now: func() time.Time {
					if heard.Load() {
						return time.Now()
					}
					return time.Now().Add(off)
				},
			}
			k.Login = func(ctx context.Context, tok Token) (string, error) {
				defer heard.Store(true)
				return c.login(ctx, tok)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- k.Run(ctx) }()
			time.Sleep(firstAsk)
			if s, _ := k.Status(); s.Renewals != 1 || c.count() != 1 {
				t.Errorf("clock off by %v: %d renewals in %d calls", off, s.Renewals, c.count())
			}
			cancel()
			<-done
		})
	}
}

// TestTokenThatCausesErrorsDoesNotStarveOurs: a cloud may answer 500 to what it
// cannot read, for ever.
func TestTokenThatCausesErrorsDoesNotStarveOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		time.Sleep(7*24*time.Hour - 13*time.Hour)
		c.mu.Lock()
		c.strange = jwt(`{"deviceId":8,"exp":4102444800}`, 1)
		strange := c.strange
		c.mu.Unlock()
		r.Offer(strange, nil)
		time.Sleep(2 * time.Hour)
		if s, _ := r.Status(); s.Renewals != 1 || !c.usable(r.current(t)) {
			t.Errorf("%d renewals: %s", s.Renewals, s.Reason)
		}
		r.stop()
	})
}

// TestTokenOfAPersonIsNotForgotten: the cloud refuses it once in error, while
// ours is lost.
func TestTokenOfAPersonIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		c.mu.Lock()
		c.fault = func(int) error { return statusError{code: 401} }
		c.mu.Unlock()
		time.Sleep(9 * 24 * time.Hour)
		c.mu.Lock()
		theirs := c.issue()
		c.mu.Unlock()
		r.Offer(theirs, nil)
		time.Sleep(time.Hour)
		c.mu.Lock()
		c.fault = nil
		c.mu.Unlock()
		time.Sleep(13 * time.Hour)
		if s, _ := r.Status(); s.State != Good || r.current(t).Raw() != theirs {
			t.Errorf("%s: %s", s.State, s.Reason)
		}
		r.stop()
	})
}

// TestOldCopyDoesNotTakeTheNewTokensPlace, and is not fought over: the file is
// mended once an hour at most.
func TestOldCopyDoesNotTakeTheNewTokensPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		c.mu.Lock()
		old := c.issue()
		c.mu.Unlock()
		time.Sleep(time.Minute)
		c.mu.Lock()
		newer := c.issue()
		c.mu.Unlock()
		r.Offer(newer, nil)
		time.Sleep(time.Minute)
		_, before := r.file.read()
		for range 3 * 60 {
			r.Offer(old, nil) // another program insists, each minute
			time.Sleep(time.Minute)
		}
		if got := r.current(t); got.Raw() != newer {
			t.Errorf("now %v", got)
		}
		if raw, writes := r.file.read(); raw != newer || writes-before < 2 || writes-before > 4 {
			t.Errorf("%d writes in three hours", writes-before)
		}
		r.Reject(r.current(t), errors.New("401")) // ours serves no longer: the cloud is asked for theirs
		c.mu.Lock()
		c.dead[newer] = true
		c.mu.Unlock()
		time.Sleep(2 * time.Minute)
		r.Offer(old, nil)
		time.Sleep(2 * time.Minute)
		if got := r.current(t); got.Raw() != old {
			t.Errorf("now %v, which the cloud refuses", got)
		}
		r.stop()
	})
}

func TestOneFalseRefusalDoesNotCostTheOnlyLivingToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		_, superseded, _ := r.Current(t.Context())
		<-superseded // Next is never proven: nobody uses it
		living := r.current(t)
		time.Sleep(time.Until(r.Schedule.Window(living).Opens) - time.Hour)
		c.mu.Lock()
		refusals := 1
		c.fault = func(int) error {
			if refusals--; refusals >= 0 {
				return statusError{code: 403}
			}
			return nil
		}
		c.mu.Unlock()
		_ = r.Renew(t.Context())
		raw, _ := r.file.read()
		r.Offer(raw, nil)
		time.Sleep(24 * time.Hour)
		if tok := r.current(t); !c.usable(tok) {
			t.Fatalf("%v: %s", tok, r.reason())
		}
		if raw, _ := r.file.read(); raw != r.current(t).Raw() {
			t.Error("the identity file holds another token")
		}
		r.stop()
	})
}
