package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A scripted source answers with what the test says.
type scripted struct {
	*post   // whose lock guards it
	fix     Fix
	failure error
	looks   []time.Duration
}

func (s *scripted) Fix(context.Context) (Fix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, time.Since(s.start))
	return s.fix, s.failure
}

func (*scripted) Close() error { return nil }

// pass lets time pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// locate runs a Location in a bubble beside f.
func locate(t *testing.T, distance float64, f func(t *testing.T, p *post, s *scripted, l *Location)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &post{start: time.Now()}
		p.online.Set(true)
		heading := 271.25
		s := &scripted{post: p, fix: Fix{Lat: 44.123456789, Lon: -93.1, Heading: &heading, Speed: 13.888}}
		l := &Location{
			Every: 15 * time.Second, Distance: distance, Source: s, Publish: p.publish, Log: slog.New(slog.DiscardHandler),
			Online: func() (bool, <-chan struct{}) { on, _, changed := p.online.Get(); return on, changed },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		f(t, p, s, l)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLocationIsPublishedEachInterval(t *testing.T) {
	locate(t, 0, func(t *testing.T, p *post, s *scripted, l *Location) {
		pass(40 * time.Second)
		p.set(func() { s.fix.Heading = nil })
		pass(10 * time.Second)
		if want := []time.Duration{0, 15 * time.Second, 30 * time.Second, 45 * time.Second}; !slices.Equal(p.at, want) {
			t.Errorf("published at %v, want %v", p.at, want)
		}
		want := `{"lat":44.1234568,"lon":-93.1,"heading":271.3,"speed":13.89}`
		if p.payloads[0] != want || p.payloads[3] != want { // at rest with the last heading
			t.Errorf("published %q, want %s", p.payloads, want)
		}
	})
}

func TestNoFixIsNotPublished(t *testing.T) {
	locate(t, 0, func(t *testing.T, p *post, s *scripted, l *Location) {
		pass(time.Second)
		p.set(func() { s.failure = ErrNoFix })
		pass(10 * time.Minute)
		if n := p.count(); n != 1 {
			t.Errorf("published %d times", n)
		}
		if st := l.Status(); st.Fix || st.Err != "no fix" || st.Published.IsZero() {
			t.Errorf("%+v", st)
		}
		p.set(func() { s.failure = nil })
		pass(15 * time.Second)
		if n := p.count(); n != 2 {
			t.Errorf("published %d times once there is a fix again", n)
		}
	})
}

func TestLocationThatDidNotMoveIsPublishedOnceAnHour(t *testing.T) {
	locate(t, 50, func(t *testing.T, p *post, s *scripted, l *Location) {
		pass(30 * time.Minute)
		p.set(func() { s.fix.Lat += 0.0004 }) // 44 m
		pass(10 * time.Minute)
		p.set(func() { s.fix.Lat += 0.0001 }) // 56 m altogether
		pass(time.Minute)
		pass(time.Hour)
		want := []time.Duration{0, 40*time.Minute + 0, 100 * time.Minute}
		if len(p.at) != 3 || p.at[1]-want[1] > 15*time.Second || p.at[2]-want[2] > 30*time.Second {
			t.Errorf("published at %v, want about %v", p.at, want)
		}
	})
}

func TestLocationIsLeftAloneWhileOffline(t *testing.T) {
	locate(t, 50, func(t *testing.T, p *post, s *scripted, l *Location) {
		pass(time.Second)
		p.online.Set(false)
		pass(time.Hour)
		if n := len(s.looks); n != 1 {
			t.Errorf("looked %d times", n)
		}
		p.online.Set(true)
		pass(time.Second)
		if len(p.at) != 2 || p.at[1] != time.Hour+time.Second {
			t.Errorf("not at once when the session is back: %v", p.at)
		}
	})
}

func TestSourceThatFailsIsAskedLessAndLess(t *testing.T) {
	locate(t, 0, func(t *testing.T, p *post, s *scripted, l *Location) {
		pass(time.Second)
		p.set(func() { s.failure = errors.New("connection refused") })
		pass(24 * time.Hour)
		if n := len(s.looks); n > 24*6+10 {
			t.Errorf("asked %d times in a day", n)
		}
		last := s.looks[len(s.looks)-2:]
		if gap := last[1] - last[0]; gap != sourceGap {
			t.Errorf("the last gap is %v, want %v", gap, sourceGap)
		}
	})
}

// terminal is a pair of a pseudoterminal: what is written to the one end comes
// out of the device.
func terminal(t *testing.T) (end *os.File, device string) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	if err := unix.IoctlSetPointerInt(int(end.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(end.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return end, filepath.Join("/dev/pts", strconv.Itoa(n))
}

func TestReceiverAtASerialLine(t *testing.T) {
	end, device := terminal(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			text := "\xff\x00noise" + sentence("GPGSV,1,1,00") + sentence("GNRMC,000000.00,A,4404.5,N,09306.0,W,10.0,90.0,010126,,,A")
			if _, err := end.WriteString(text); err != nil {
				return
			}
		}
	}()
	n := &NMEA{Device: device, Baud: 38400}
	for range 2 {
		fix, err := n.Fix(t.Context())
		if err != nil || round(fix.Lat, 6) != 44.075 || round(fix.Lon, 6) != -93.1 || round(fix.Speed, 2) != 5.14 {
			t.Errorf("got %+v, %v", fix, err)
		}
	}
	close(stop)
	<-done
}

func TestSilentReceiverHasNoFix(t *testing.T) {
	_, device := terminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (&NMEA{Device: device, Baud: 9600}).Fix(ctx); !errors.Is(err, ErrNoFix) {
		t.Errorf("got %v", err)
	}
	if _, err := (&NMEA{Device: device + "x"}).Fix(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no device: %v", err)
	}
	if _, err := (&NMEA{Device: "/dev/null", Baud: 9600}).Fix(ctx); err == nil || errors.Is(err, ErrNoFix) {
		t.Errorf("no terminal: %v", err)
	}
}
