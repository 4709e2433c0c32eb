package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	gpsdHello = `{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}` + "\n"
	gpsdWatch = `{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyS0"}]}` + "\n" + `{"class":"WATCH","enable":true,"json":false}` + "\n"
)

func TestParsePoll(t *testing.T) {
	for line, want := range map[string]string{
		`{"class":"POLL","time":"2026-01-01T00:00:00Z","active":1,"tpv":[{"class":"TPV","mode":3,"time":"2026-01-01T00:00:00.000Z","lat":46.5,"lon":7.6,"track":10.3,"speed":0.09}],"gst":[],"sky":[]}`: "46.5 7.6 10.3 0.09 2026-01-01T00:00:00.000Z <nil>",
		`{"class":"POLL","tpv":[{"mode":1},{"mode":2,"lat":1,"lon":2},{"mode":3,"lat":3,"lon":4}]}`:                                                                                                     "3 4 nil 0  <nil>",
		`{"class":"POLL","tpv":[{"mode":3,"lat":3}]}`:                     "no fix",
		`{"class":"POLL","tpv":[]}`:                                       "no fix",
		`{"class":"POLL","tpv":[{"mode":3,"lat":91,"lon":4}]}`:            "out of range",
		`{"class":"POLL","tpv":[{"mode":3,"lat":1,"lon":4,"speed":-1}]}`:  "out of range",
		`{"class":"POLL","tpv":[{"mode":3,"lat":1,"lon":4,"track":-10}]}`: "1 4 350 0  <nil>",
		`{"class":"POLL","tpv":[{"mode":3,"lat":"1","lon":4}]}`:           "cannot unmarshal",
		`{"class":"ERROR","message":"Unrecognized request"}`:              `gpsd: "Unrecognized request"`,
		`{"class":"TPV"}`: "another class",
		`[]`:              "cannot unmarshal",
		``:                "unexpected end",
	} {
		f, stamp, err := ParsePoll([]byte(line))
		heading := "nil"
		if f.Heading != nil {
			heading = fmt.Sprint(*f.Heading)
		}
		got := fmt.Sprintf("%v %v %s %v %s %v", f.Lat, f.Lon, heading, f.Speed, stamp, err)
		if got != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ParsePoll(%s) = %s, want %s", line, got, want)
		}
	}
}

func FuzzParsePoll(f *testing.F) {
	f.Add([]byte(`{"class":"POLL","tpv":[{"mode":3,"time":"t","lat":46.5,"lon":7.6,"track":-10.3,"speed":0.09}]}`))
	f.Add([]byte(gpsdHello))
	f.Add([]byte(`{"class":"POLL","tpv":[{"mode":1e9}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if fix, _, err := ParsePoll(line); err == nil {
			plausible(t, fix)
		}
	})
}

// A daemon is a gpsd whose answers to polls are a script's.
type daemon struct {
	answers []string
	watched int // times that a client wanted it to watch
	polls   int
}

func (d *daemon) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		for in := bufio.NewScanner(theirs); in.Scan(); {
			switch {
			case strings.HasPrefix(in.Text(), `?WATCH={"enable":true}`):
				d.watched++
				_, _ = theirs.Write([]byte(gpsdHello + gpsdWatch)) // a pipe has no room for what nobody reads
			case in.Text() == "?POLL;":
				answer := d.answers[min(d.polls, len(d.answers)-1)]
				d.polls++
				if answer == "" {
					return
				}
				_, _ = theirs.Write([]byte(answer + "\n"))
			}
		}
	}()
	return ours, nil
}

func pollAnswer(stamp string, lat float64) string {
	return fmt.Sprintf(`{"class":"POLL","tpv":[{"mode":3,"time":%q,"lat":%v,"lon":7}]}`, stamp, lat)
}

func TestGPSDIsWatchedOnceAndPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{answers: []string{`{"class":"POLL","tpv":[]}`, pollAnswer("1", 1), pollAnswer("2", 2), "", pollAnswer("3", 3)}}
		g := newGPSD("memory")
		g.Dial = d.dial
		for i, want := range []string{"0 no fix", "1 <nil>", "2 <nil>", "0 gpsd: EOF", "3 <nil>"} {
			fix, err := g.Fix(t.Context())
			if got := fmt.Sprint(fix.Lat, " ", err); got != want {
				t.Errorf("poll %d: %s, want %s", i, got, want)
			}
		}
		if d.watched != 2 {
			t.Errorf("it was asked to watch %d times, want once a connection", d.watched)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFixThatStandsStillIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{answers: []string{pollAnswer("1", 1)}}
		g := newGPSD("memory")
		g.Dial = d.dial
		for range 2 {
			if _, err := g.Fix(t.Context()); err != nil {
				t.Errorf("%v", err)
			}
			time.Sleep(gpsdStale)
		}
		time.Sleep(time.Second)
		if _, err := g.Fix(t.Context()); !errors.Is(err, ErrNoFix) {
			t.Errorf("a fix of 30 s ago: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestGPSDThatSaysNothingOrTooMuch(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "silence", "no end of a line": strings.Repeat("x", 2*gpsdLine), "lines without an answer": strings.Repeat("{}\n", 200),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGPSD("memory")
				g.Dial = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						defer theirs.Close()
						buf := make([]byte, 256)
						_, _ = theirs.Read(buf)
						if answer != "silence" {
							_, _ = theirs.Write([]byte(answer))
						}
						_, _ = theirs.Read(buf)
					}()
					return ours, nil
				}
				start := time.Now()
				if fix, err := g.Fix(t.Context()); err == nil || errors.Is(err, ErrNoFix) {
					t.Errorf("got %+v, %v", fix, err)
				}
				if after := time.Since(start); after > gpsdTimeout {
					t.Errorf("it took %v", after)
				}
			})
		})
	}
}

func TestSources(t *testing.T) {
	for setting, want := range map[string]string{
		"off": "<nil>", "gpsd": "tcp 127.0.0.1:2947", "gpsd:10.0.0.1:99": "tcp 10.0.0.1:99", "gpsd:/run/gpsd.sock": "unix /run/gpsd.sock",
		"nmea:/dev/ttymxc1@9600": "/dev/ttymxc1 9600", "auto": "auto",
	} {
		s, err := NewSource(setting)
		got := fmt.Sprint(s)
		switch s := s.(type) {
		case *GPSD:
			got = s.Network + " " + s.Address
		case *NMEA:
			got = fmt.Sprint(s.Device, " ", s.Baud)
		case *either:
			got = "auto"
		}
		if got != want || err != nil {
			t.Errorf("NewSource(%q) = %s, %v, want %s", setting, got, err, want)
		}
	}
	for _, setting := range []string{"", "gps", "nmea:/dev/x", "nmea:/dev/x@fast"} {
		if s, err := NewSource(setting); err == nil {
			t.Errorf("NewSource(%q) = %v", setting, s)
		}
	}
	nobody := &either{gpsd: newGPSD("x"), receiver: &NMEA{Device: t.TempDir() + "/none"}}
	nobody.gpsd.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	if _, err := nobody.Fix(t.Context()); !errors.Is(err, errNoSource) {
		t.Errorf("with nothing there: %v", err)
	}
}
