package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// A glass is a terminal that keeps what was drawn on it.
type glass struct {
	columns, rows int
	frames        []string
}

func (g *glass) Write(b []byte) (int, error) {
	g.frames = append(g.frames, string(b))
	return len(b), nil
}

func (g *glass) size() (int, int) { return g.columns, g.rows }

func (g *glass) last() string { return g.frames[len(g.frames)-1] }

// text is the newest frame without what moves the cursor and colours.
func (g *glass) text() string {
	return strings.NewReplacer("\x1b[H", "", "\x1b[2J", "", "\x1b[K", "", "\x1b[J", "", bold, "", red, "", green, "", yellow, "", plain, "").Replace(g.last())
}

// watching runs a live screen in a bubble and gives test its terminal.
func watching(t *testing.T, columns, rows int, test func(g *glass, l *live, show chan<- local.Status, resized chan<- os.Signal)) {
	synctest.Test(t, func(t *testing.T) {
		g := &glass{columns: columns, rows: rows}
		l := &live{out: g, size: g.size, now: time.Now}
		show, resized := make(chan local.Status), make(chan os.Signal, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.follow(ctx, show, resized) }()
		test(g, l, show, resized)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestALiveScreenMarksWhatChanges(t *testing.T) {
	watching(t, 80, 40, func(g *glass, _ *live, show chan<- local.Status, _ chan<- os.Signal) {
		s := local.Status{Version: "1", Started: time.Now(), MQTT: local.MQTT{State: "connecting"}, Upload: local.Upload{Queued: 1}}
		show <- s
		synctest.Wait()
		if strings.Contains(g.text(), changed) || !strings.HasPrefix(g.last(), "\x1b[H\x1b[2J") {
			t.Errorf("the first screen is %q", g.last())
		}
		time.Sleep(3 * time.Second)
		s.MQTT.State = "online"
		show <- s
		time.Sleep(3 * time.Second)
		if strings.Count(g.text(), changed) != 1 || !strings.Contains(g.text(), "* MQTT         online") || strings.Contains(g.last(), "\x1b[2J") {
			t.Errorf("after a change the screen is\n%s", g.text())
		}
		time.Sleep(3 * time.Second)
		if strings.Contains(g.text(), changed) {
			t.Errorf("5 s after the change it is still marked:\n%s", g.text())
		}
	})
}

func TestALiveScreenHasItsColoursBesideTheMarks(t *testing.T) {
	watching(t, 80, 40, func(g *glass, l *live, show chan<- local.Status, _ chan<- os.Signal) {
		l.paint = true
		s := local.Status{Token: local.Token{State: "valid"}, MQTT: local.MQTT{State: "offline"}}
		show <- s
		time.Sleep(time.Second)
		s.MQTT.State = "online"
		show <- s
		time.Sleep(time.Second)
		for _, want := range []string{"  " + bold + "Token        " + plain + green + "valid" + plain, bold + "* " + plain + bold + "MQTT         " + plain + green + "online" + plain} {
			if !strings.Contains(g.last(), want) {
				t.Errorf("%q is not on the screen %q", want, g.last())
			}
		}
	})
}

func TestALiveScreenIsDrawnFourTimesASecondAtMost(t *testing.T) {
	watching(t, 80, 40, func(g *glass, _ *live, show chan<- local.Status, _ chan<- os.Signal) {
		for n := range 1000 {
			show <- local.Status{Upload: local.Upload{Sent: int64(n)}}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := len(g.frames); n > 42 || n < 30 || !strings.Contains(g.text(), "999 sent") {
			t.Errorf("%d frames in 10 s, the last\n%s", n, g.text())
		}
		n := len(g.frames)
		time.Sleep(10 * time.Second)
		if len(g.frames) > n+2 { // the marks go
			t.Errorf("a screen on which nothing moves was drawn %d times", len(g.frames)-n)
		}
	})
}

func TestALiveScreenFollowsTheTerminal(t *testing.T) {
	watching(t, 80, 40, func(g *glass, _ *live, show chan<- local.Status, resized chan<- os.Signal) {
		show <- local.Status{Problems: []string{"a problem whose sentence is so long that no line of this terminal can hold the whole of it"}}
		synctest.Wait()
		for _, size := range [][2]int{{40, 50}, {80, 10}, {120, 24}, {5, 3}} {
			g.columns, g.rows = size[0], size[1]
			resized <- unix.SIGWINCH
			time.Sleep(time.Second)
			lines := strings.Split(strings.TrimSuffix(g.text(), "\n"), "\n")
			if len(lines) > size[1]-1 {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > max(size[0], leastColumns) || n > defaultColumns {
					t.Errorf("%v: %q has %d columns", size, line, n)
				}
			}
			if !strings.HasPrefix(g.last(), "\x1b[H\x1b[2J") {
				t.Errorf("%v: not drawn anew: %q", size, g.last())
			}
		}
	})
}

func TestPaint(t *testing.T) {
	for in, want := range map[string]string{
		"Token        valid, expires":       bold + "Token        " + plain + green + "valid" + plain + ", expires",
		"  error      no route":             "  error      " + red + "no route" + plain,
		"MQTT         offline":              bold + "MQTT         " + plain + red + "offline" + plain,
		"MQTT         connecting to a":      bold + "MQTT         " + plain + yellow + "connecting" + plain + " to a",
		"  building   stale, x":             "  building   " + yellow + "stale" + plain + ", x",
		"             valid is no state":    "             valid is no state",
		"  app        /run/t: failing: why": "  app        " + red + "/run/t: failing: why" + plain,
		"short":                             "short",
	} {
		if got := paint(in + "\n"); got != want+"\n" {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if coloured(&bytes.Buffer{}) || moves(&bytes.Buffer{}) {
		t.Error("what is no terminal is coloured")
	}
}

// TestAGatewayFitsOneScreen of the least terminal, 80 by 24.
func TestAGatewayFitsOneScreen(t *testing.T) {
	b, err := os.ReadFile("testdata/online.txt")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n > 24 {
		t.Errorf("the screen of a gateway that is well has %d lines", n)
	}
}
