package deliver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// A stage is an account at work in a bubble.
type stage struct {
	*Account
	tokens latest.Value[Token]
	log    bytes.Buffer

	mu    sync.Mutex
	heard []string // TARGET TOKEN of each telling
}

func (s *stage) hear(target string, tok Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, target+" "+tok.Value)
}

func (s *stage) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

// perform runs f beside an account with the targets.
func perform(t *testing.T, records string, telling func(context.Context, *stage, Target, Token) error, targets []Target, f func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		s.Account = &Account{
			Name: "x", Targets: targets, Records: records, Current: s.tokens.Get, Log: slog.New(slog.NewTextHandler(&s.log, nil)), disk: unsynced{},
			telling: func(ctx context.Context, target Target, tok Token) error {
				if telling != nil {
					return telling(ctx, s, target, tok)
				}
				s.hear(target.ID, tok)
				return nil
			},
		}
		s.Prepare()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		f(t, s)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(s.log.String(), "token-") {
			t.Errorf("a token is in the log: %s", s.log.String())
		}
	})
}

var someone = Notify{Argv: []string{"/bin/true"}}

func TestAProgramIsToldOnceOfEachToken(t *testing.T) {
	dir := t.TempDir()
	target := Target{ID: "app", File: filepath.Join(dir, "token"), Mode: 0o600, Notify: someone}
	perform(t, dir, nil, []Target{target}, func(t *testing.T, s *stage) {
		if st := s.Status()[0]; st.State != Waiting {
			t.Errorf("without a token: %+v", st)
		}
		s.tokens.Set(Token{Account: "x", Value: "token-1"})
		synctest.Wait()
		if b, err := os.ReadFile(target.File); string(b) != "token-1" || err != nil {
			t.Errorf("the file is not there at once: %q, %v", b, err)
		}
		if st := s.Status()[0]; st.State != Telling || len(s.said()) != 0 {
			t.Errorf("before it is quiet: %+v, told %v", st, s.said())
		}
		time.Sleep(time.Second)
		s.tokens.Set(Token{Account: "x", Value: "token-2"})
		time.Sleep(quiet + time.Second)
		if got := s.said(); !slices.Equal(got, []string{"app token-2"}) {
			t.Errorf("told %v, want the newest once", got)
		}
		s.tokens.Set(Token{Account: "x", Value: "token-2", Expires: time.Now().Add(time.Hour)}) // extended in place
		time.Sleep(time.Hour)
		if st := s.Status()[0]; st.State != Delivered || st.Told.IsZero() || len(s.said()) != 1 {
			t.Errorf("the token lives longer: %+v, told %v", st, s.said())
		}
	})
	perform(t, dir, nil, []Target{target}, func(t *testing.T, s *stage) { // the next start
		s.tokens.Set(Token{Account: "x", Value: "token-2"})
		time.Sleep(time.Hour)
		if got := s.said(); len(got) != 0 {
			t.Errorf("told again after a start: %v", got)
		}
		s.tokens.Set(Token{Account: "x", Value: "token-3"})
		synctest.Wait() // the file says so, and the agent dies
	})
	perform(t, dir, nil, []Target{target}, func(t *testing.T, s *stage) {
		s.tokens.Set(Token{Account: "x", Value: "token-3"})
		time.Sleep(time.Minute)
		if got := s.said(); !slices.Equal(got, []string{"app token-3"}) {
			t.Errorf("told %v: who died before telling must tell later", got)
		}
	})
}

func TestChangesWithoutEndAreToldOf(t *testing.T) {
	perform(t, "", nil, []Target{{ID: "app", Notify: someone}}, func(t *testing.T, s *stage) {
		for n := range 30 {
			s.tokens.Set(Token{Account: "x", Value: "token-" + string(rune('a'+n))})
			time.Sleep(time.Second)
		}
		if got := len(s.said()); got < 2 || got > 4 {
			t.Errorf("told %d times in 30 s of a change each second, want 3", got)
		}
	})
}

// TestATargetThatHangsDelaysNoOther has one target that never comes back, one
// whose file cannot be written, and one that works.
func TestATargetThatHangsDelaysNoOther(t *testing.T) {
	dir := t.TempDir()
	targets := []Target{
		{ID: "hangs", Notify: someone},
		{ID: "fails", File: filepath.Join(dir, "none", "token"), Notify: someone},
		{ID: "refuses", File: filepath.Join(dir, "refused"), Mode: 0o600, Notify: someone},
		{ID: "works", File: filepath.Join(dir, "token"), Mode: 0o600, Notify: someone},
	}
	perform(t, dir, func(ctx context.Context, s *stage, target Target, tok Token) error {
		switch target.ID {
		case "hangs":
			<-ctx.Done()
			return ctx.Err()
		case "refuses":
			return errors.New("not now")
		}
		s.hear(target.ID, tok)
		return nil
	}, targets, func(t *testing.T, s *stage) {
		s.tokens.Set(Token{Account: "x", Value: "token-1"})
		time.Sleep(quiet)
		synctest.Wait()
		if got := s.said(); !slices.Equal(got, []string{"works token-1"}) {
			t.Errorf("told %v", got)
		}
		st := s.Status()
		if st[1].State != Failing || st[1].Error == "" || st[1].NextTry.IsZero() || st[2].State != Failing || st[2].Written.IsZero() || st[3].State != Delivered {
			t.Errorf("states: %+v", st)
		}
		s.tokens.Set(Token{Account: "x", Value: "token-2"})
		time.Sleep(quiet)
		synctest.Wait()
		if got := s.said(); len(got) != 2 {
			t.Errorf("told %v", got)
		}
	})
}

func TestFailuresAreTriedAgainEverSlower(t *testing.T) {
	var at []time.Time
	perform(t, "", func(_ context.Context, s *stage, _ Target, _ Token) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		at = append(at, time.Now())
		return errors.New("not now")
	}, []Target{{ID: "app", Notify: someone}}, func(t *testing.T, s *stage) {
		s.tokens.Set(Token{Account: "x", Value: "token-1"})
		time.Sleep(24 * time.Hour)
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap < firstTry || gap > lastTry*3/2 {
				t.Errorf("gap %d is %v", i, gap)
			}
		}
		if len(at) < 100 || len(at) > 320 {
			t.Errorf("%d attempts in a day", len(at))
		}
	})
}

func TestAFileThatSomebodyRemovedComesBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	perform(t, "", nil, []Target{{ID: "app", File: file, Mode: 0o600, Notify: someone}}, func(t *testing.T, s *stage) {
		s.tokens.Set(Token{Account: "x", Value: "token-1"})
		time.Sleep(time.Minute)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheck)
		if b, err := os.ReadFile(file); string(b) != "token-1" || err != nil {
			t.Errorf("it is %q, %v", b, err)
		}
		if got := s.said(); len(got) != 1 {
			t.Errorf("told %v of a token that did not change", got)
		}
	})
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		fails int
		draw  float64
		want  time.Duration
	}{{0, 0, time.Second}, {3, 0, 8 * time.Second}, {15, 0, lastTry}, {1 << 30, 0, lastTry}, {16, 0.5, lastTry * 5 / 4}} {
		if got := backoff(tt.fails, tt.draw); got != tt.want {
			t.Errorf("%d, %v: got %v, want %v", tt.fails, tt.draw, got, tt.want)
		}
	}
}

func TestNotifications(t *testing.T) {
	for _, tt := range []struct {
		words string
		want  string
	}{
		{"", "nobody"}, {"/usr/bin/true a b", "/usr/bin/true"}, {"signal:/run/app.pid:HUP", "signal SIGHUP to the process in /run/app.pid"},
		{"signal:/run/a:b.pid:USR1", "signal SIGUSR1 to the process in /run/a:b.pid"}, {"reload:app@1.service", "reload of app@1.service"},
	} {
		n, err := ParseNotify(strings.Fields(tt.words))
		if err != nil || n.String() != tt.want || n.IsZero() != (tt.words == "") {
			t.Errorf("%q: got %s, %v, want %s", tt.words, n, err, tt.want)
		}
	}
	for _, words := range []string{"true", "signal:", "signal:/run/a.pid", "signal:/run/a.pid:KILL", "signal:run/a.pid:HUP", "signal:/run/../a.pid:HUP",
		"reload:", "reload:app", "reload:-app.service", "reload:a/b.service", "signal:/run/a.pid:HUP x", "reload:a.service b"} {
		if n, err := ParseNotify(strings.Fields(words)); err == nil {
			t.Errorf("%q: got %+v, want an error", words, n)
		}
	}
	if unix.SignalName(signals["HUP"]) != "SIGHUP" {
		t.Error("HUP is another signal")
	}
}
