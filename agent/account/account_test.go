package account

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// jwt makes a token with the payload given. The signature is n.
func jwt(payload string, n int) string {
	return fmt.Sprintf("eyJhbGciOiJIUzI1NiJ9.%s.sig%04d", base64.RawURLEncoding.EncodeToString([]byte(payload)), n)
}

// A statusError is an answer with a status other than 2xx.
type statusError struct {
	code  int
	after time.Duration
}

func (e statusError) Error() string             { return http.StatusText(e.code) }
func (e statusError) HTTPStatus() int           { return e.code }
func (e statusError) RetryAfter() time.Duration { return e.after }

// A cloud judges and renews tokens as Spoke Zone does.
type cloud struct {
	mu      sync.Mutex
	life    time.Duration
	n       int
	expires map[string]time.Time
	dead    map[string]bool
	strange string            // it makes the cloud answer 500
	fault   func(n int) error // before anything is done
	lose    func(n int) bool  // the answer, after it was done
	calls   []time.Time
	early   int           // renewals asked outside the window
	delay   time.Duration // of every answer
}

func newCloud(life time.Duration) *cloud {
	return &cloud{life: life, expires: map[string]time.Time{}, dead: map[string]bool{}}
}

func (c *cloud) issue() string {
	c.n++
	exp := time.Now().Add(c.life)
	raw := jwt(fmt.Sprintf(`{"deviceId":7,"prefix":"mrs","iat":%d,"exp":%d}`, time.Now().Unix(), exp.Unix()), c.n)
	c.expires[raw] = time.Unix(exp.Unix(), 0)
	return raw
}

func (c *cloud) usable(tok Token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	exp, ok := c.expires[tok.Raw()]
	return ok && time.Now().Before(exp) && !c.dead[tok.Raw()]
}

func (c *cloud) login(ctx context.Context, tok Token) (string, error) {
	select {
	case <-time.After(c.delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, time.Now())
	if c.fault != nil {
		if err := c.fault(len(c.calls)); err != nil {
			return "", err
		}
	}
	exp, ok := c.expires[tok.Raw()]
	switch left := time.Until(exp); {
	case tok.Raw() == c.strange:
		return "", statusError{code: 500}
	case !ok || c.dead[tok.Raw()]:
		return "", statusError{code: 401}
	case left > 12*time.Hour:
		c.early++
		return "", nil
	case left < -12*time.Hour:
		return "", statusError{code: 401}
	}
	raw := c.issue()
	if c.lose != nil && c.lose(len(c.calls)) {
		return "", io.ErrUnexpectedEOF
	}
	return raw, nil
}

func (c *cloud) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// An identityFile holds a token where other programs see it.
type identityFile struct {
	mu     sync.Mutex
	token  string
	fault  error
	writes int
}

func (f *identityFile) write(tok Token) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == nil {
		f.token, f.writes = tok.Raw(), f.writes+1
	}
	return f.fault
}

func (f *identityFile) read() (token string, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token, f.writes
}

// A rig is a Keeper with its disk and its identity file.
type rig struct {
	*Keeper
	file   *identityFile
	cancel context.CancelFunc
	done   chan error
}

func newRig(t *testing.T, c *cloud, dir, file string) *rig {
	return startRig(t, c, dir, &identityFile{token: file})
}

func startRig(t *testing.T, c *cloud, dir string, file *identityFile) *rig {
	r := &rig{file: file, done: make(chan error, 1)}
	r.Keeper = &Keeper{
		Login:     c.login,
		WriteBack: file.write,
		Store:     &Store{Dir: dir}, Names: DefaultNames, Schedule: DefaultSchedule,
		Log: slog.New(slog.DiscardHandler),
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	if raw, _ := file.read(); raw != "" {
		r.Offer(raw, nil)
	}
	go func() { r.done <- r.Run(ctx) }()
	return r
}

func (r *rig) reason() string {
	s, _ := r.Status()
	return s.Reason
}

// onDisk is what a new process finds.
func onDisk(r *rig) (slots, error) { return (&Store{Dir: r.Store.Dir}).load(DefaultNames) }

func (r *rig) stop() {
	r.cancel()
	<-r.done
}

func (r *rig) current(t *testing.T) Token {
	t.Helper()
	tok, ok, _ := r.tokens.Get()
	if !ok {
		t.Fatal("no token is announced")
	}
	return tok
}

func TestSixtyDaysWithOutagesAndReboots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		start := time.Now()
		outage := func() bool { // 30 h in every 9 days
			return time.Since(start)%(9*24*time.Hour) > 7*24*time.Hour-18*time.Hour && time.Since(start)%(9*24*time.Hour) < 7*24*time.Hour+12*time.Hour-time.Hour
		}
		c.fault = func(n int) error {
			switch {
			case outage():
				return errors.New("no route to host")
			case n%5 == 0:
				return statusError{code: 503}
			}
			return nil
		}
		dir, file := t.TempDir(), c.issue()
		r := newRig(t, c, dir, file)
		reachable := time.Duration(0)
		for day := range 60 {
			if day == 20 || day == 41 {
				r.stop()
				r = startRig(t, c, dir, r.file)
			}
			for range 24 * 6 {
				time.Sleep(10 * time.Minute)
				if outage() {
					reachable = 0
				} else {
					reachable += 10 * time.Minute
				}
				if tok := r.current(t); !c.usable(tok) && reachable > 40*time.Minute {
					t.Fatalf("day %d: %v not usable although the cloud could be reached for %v: %+v", day, tok, reachable, r.reason())
				}
			}
		}
		r.stop()
		if c.early > 0 {
			t.Errorf("%d renewals asked outside the window", c.early)
		}
		for i := 1; i < c.count(); i++ {
			if gap := c.calls[i].Sub(c.calls[i-1]); gap < time.Second {
				t.Fatalf("two attempts %v apart", gap)
			}
		}
		if c.n < 8 || c.count() > 2000 {
			t.Errorf("%d tokens in %d calls", c.n, c.count())
		}
		t.Logf("%d tokens, %d calls, %d write-backs", c.n, c.count(), r.file.writes)
	})
}

func TestNewTokenIsStoredAndWrittenBackBeforeUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newCloud(10*time.Hour), t.TempDir()
		r := newRig(t, c, dir, c.issue())
		first, superseded, _ := r.Current(t.Context())
		<-superseded
		tok := r.current(t)
		if raw, _ := r.file.read(); tok.Same(first) || raw != tok.Raw() {
			t.Fatalf("announced %v, identity file holds another", tok)
		}
		s, err := onDisk(r)
		if err != nil || !s.Next.Same(tok) || !s.Cur.Same(first) {
			t.Fatalf("stored %v then %v, %v", s.Cur, s.Next, err)
		}
		r.Prove(tok)
		time.Sleep(time.Second)
		if s, _ := onDisk(r); !s.Cur.Same(tok) || !s.Next.IsZero() {
			t.Fatalf("after the cloud's acceptance: %v then %v", s.Cur, s.Next)
		}
		r.stop()
	})
}

func TestRefusedNewTokenFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newCloud(7*24*time.Hour), t.TempDir()
		r := newRig(t, c, dir, c.issue())
		first, superseded, _ := r.Current(t.Context())
		<-superseded
		bad := r.current(t)
		c.mu.Lock()
		c.dead[bad.Raw()] = true
		c.mu.Unlock()
		r.Reject(bad, errors.New("401"))
		time.Sleep(2 * time.Minute)
		if got := r.current(t); got.Same(bad) {
			t.Fatal("still the refused token")
		}
		time.Sleep(30 * time.Minute)
		if got := r.current(t); got.Same(bad) || got.Same(first) || !c.usable(got) {
			t.Fatalf("got %v, which the cloud does not take", got)
		}
		r.stop()
	})
}

func TestRejectionOfASupersededTokenChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		first, superseded, _ := r.Current(t.Context())
		<-superseded
		calls := c.count()
		r.Reject(first, errors.New("401"))
		time.Sleep(time.Hour)
		if c.count() != calls {
			t.Fatalf("%d logins for a stale report", c.count()-calls)
		}
		r.stop()
	})
}

func TestRejectionsNeverSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		for range 24 * 3600 / 2 { // the API refuses what the login calls good, every 2 s for a day
			time.Sleep(2 * time.Second)
			r.Reject(r.current(t), errors.New("401"))
		}
		if n := c.count(); n > 150 {
			t.Errorf("%d logins in a day", n)
		}
		if s, _ := r.Status(); s.State != Failing {
			t.Errorf("state %s: %s", s.State, s.Reason)
		}
		r.stop()
	})
}

func TestExternalEditWinsWhenTheCloudAcceptsIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		dead bool
	}{{"accepted", false}, {"refused", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, dir := newCloud(7*24*time.Hour), t.TempDir()
				r := newRig(t, c, dir, c.issue())
				time.Sleep(time.Hour)
				ours := r.current(t)
				c.mu.Lock()
				theirs := c.issue()
				c.dead[theirs] = tt.dead
				c.mu.Unlock()
				_, before := r.file.read()
				r.Offer(theirs, nil)
				time.Sleep(time.Hour)
				if got := r.current(t); got.Raw() == theirs == tt.dead || got.Same(ours) != tt.dead {
					t.Fatalf("now %v", got)
				}
				if _, writes := r.file.read(); writes != before {
					t.Fatalf("an external edit was answered by %d writes", writes-before)
				}
				r.stop()
			})
		})
	}
}

func TestReadOnlyIdentityFileDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newCloud(7*24*time.Hour), t.TempDir()
		factory := c.issue()
		file := &identityFile{token: factory, fault: errors.New("read-only file system")}
		r := startRig(t, c, dir, file)
		for range 5 {
			time.Sleep(7 * 24 * time.Hour)
			r.stop()
			r = startRig(t, c, dir, file)
			time.Sleep(time.Second)
			if tok := r.current(t); !c.usable(tok) {
				t.Fatalf("%v after a restart", tok)
			}
		}
		if s, _ := r.Status(); s.WriteError == "" {
			t.Error("the status does not say that the file is stale")
		}
		file.mu.Lock()
		file.fault = nil
		file.mu.Unlock()
		r.Offer(factory, nil)
		time.Sleep(time.Second)
		if raw, _ := file.read(); raw != r.current(t).Raw() {
			t.Error("not written back once the file could be")
		}
		r.stop()
	})
}

func TestUnprovisionedWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		r := newRig(t, c, t.TempDir(), "")
		r.Offer("", errors.New("spoke-zone.conf: no such file"))
		time.Sleep(24 * time.Hour)
		if s, _ := r.Status(); s.State != Unprovisioned || c.count() > 0 {
			t.Fatalf("%+v after %d calls", s, c.count())
		}
		if err := r.Renew(t.Context()); !errors.Is(err, ErrNoToken) {
			t.Fatalf("renew: %v", err)
		}
		r.Offer("not a token", nil)
		time.Sleep(time.Second)
		if s, _ := r.Status(); s.State != Unprovisioned {
			t.Fatalf("%+v", s)
		}
		r.Offer(c.issue(), nil)
		time.Sleep(time.Second)
		if !c.usable(r.current(t)) {
			t.Fatal("not provisioned")
		}
		r.stop()
	})
}

func TestLostDeviceTriesSlowlyForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(time.Hour)
		r := newRig(t, c, t.TempDir(), c.issue())
		c.mu.Lock()
		c.fault = func(int) error { return errors.New("no route to host") }
		c.mu.Unlock()
		time.Sleep(14 * time.Hour)
		before := c.count()
		time.Sleep(30 * 24 * time.Hour)
		s, _ := r.Status()
		if n := c.count() - before; s.State != Lost || n < 100 || n > 30*24*8 {
			t.Fatalf("%s after %d attempts in 30 days", s.State, n)
		}
		r.stop()
	})
}

func TestRenewNowIsOneAttemptForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(7 * 24 * time.Hour)
		c.delay = time.Second
		r := newRig(t, c, t.TempDir(), c.issue())
		time.Sleep(time.Minute)
		before := c.count()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := r.Renew(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := c.count() - before; n != 1 {
			t.Errorf("%d logins", n)
		}
		r.stop()
	})
}

func TestLoginUnderWayEndsBeforeTheAgentStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newCloud(10*time.Hour), t.TempDir()
		raw := c.issue()
		c.delay = 3 * time.Second
		r := newRig(t, c, dir, raw)
		tok, _, _ := r.Current(t.Context())
		time.Sleep(time.Until(r.Schedule.Window(tok).Due) + time.Second)
		r.stop()
		s, err := onDisk(r)
		if err != nil || s.use().Raw() == raw || !c.usable(s.use()) {
			t.Fatalf("the answer was lost: %v %v", s.use(), err)
		}
	})
}

func TestCorruptStoreFallsBackToTheGenerationBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir := newCloud(7*24*time.Hour), t.TempDir()
		r := newRig(t, c, dir, c.issue())
		time.Sleep(20 * 24 * time.Hour)
		r.stop()
		if err := writeFile(filepath.Join(dir, "tokens"), "{torn"); err != nil {
			t.Fatal(err)
		}
		r = newRig(t, c, dir, "")
		time.Sleep(time.Minute)
		if tok := r.current(t); tok.IsZero() {
			t.Fatal("no token after a torn record")
		}
		r.stop()
	})
}
