package telemetry

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Bounds of a talk with gpsd.
const (
	gpsdTimeout = 5 * time.Second
	gpsdLine    = 64 << 10         // bytes; one with all satellites has some 10 KiB
	gpsdStale   = 15 * time.Second // how long the time of a fix may stand still
)

// GPSD asks a gpsd for the location (gpsd_json(5)). It has gpsd watch the
// receivers and polls it, so that nothing wakes the gateway between two
// locations.
type GPSD struct {
	Network, Address string // as for net.Dial
	Dial             func(ctx context.Context, network, address string) (net.Conn, error)

	conn net.Conn
	in   *bufio.Reader
	last string    // time of the last fix
	at   time.Time // since when it is that
}

// Close leaves gpsd.
func (g *GPSD) Close() error {
	if g.conn == nil {
		return nil
	}
	conn := g.conn
	g.conn = nil
	return conn.Close()
}

// Fix polls gpsd, to which it connects if need be.
func (g *GPSD) Fix(ctx context.Context) (Fix, error) {
	fix, stamp, err := g.poll(ctx)
	if err != nil {
		if !errors.Is(err, ErrNoFix) {
			_ = g.Close() // what is left in it answers no later question
		}
		return Fix{}, err
	}
	if stamp != g.last || stamp == "" {
		g.last, g.at = stamp, time.Now()
	}
	if time.Since(g.at) > gpsdStale {
		return Fix{}, fmt.Errorf("%w: the receiver has been silent since %.30s", ErrNoFix, stamp)
	}
	return fix, nil
}

func (g *GPSD) poll(ctx context.Context) (Fix, string, error) {
	question := "?POLL;\n"
	if g.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, gpsdTimeout)
		defer cancel()
		conn, err := g.Dial(ctx, g.Network, g.Address)
		if err != nil {
			return Fix{}, "", fmt.Errorf("gpsd: %w", err)
		}
		g.conn, g.in = conn, bufio.NewReaderSize(conn, gpsdLine)
		question = `?WATCH={"enable":true};` + "\n" + question
	}
	stop := context.AfterFunc(ctx, func() { _ = g.conn.SetDeadline(time.Now()) }) // ends what is under way
	defer stop()
	if err := g.conn.SetDeadline(time.Now().Add(gpsdTimeout)); err != nil {
		return Fix{}, "", fmt.Errorf("gpsd: %w", err)
	}
	if _, err := g.conn.Write([]byte(question)); err != nil {
		return Fix{}, "", fmt.Errorf("gpsd: %w", err)
	}
	for range 100 {
		line, err := g.in.ReadSlice('\n')
		if err != nil {
			return Fix{}, "", fmt.Errorf("gpsd: %w", err)
		}
		fix, stamp, err := ParsePoll(line)
		if !errors.Is(err, errNoPoll) {
			return fix, stamp, err
		}
	}
	return Fix{}, "", errors.New("gpsd: no answer among 100 lines")
}

var errNoPoll = errors.New("gpsd: another class than POLL")

// A tpv is a report of time, position and velocity.
type tpv struct {
	Mode  int      `json:"mode"` // 2: two dimensions, 3: three
	Time  string   `json:"time"`
	Lat   *float64 `json:"lat"`
	Lon   *float64 `json:"lon"`
	Track *float64 `json:"track"` // degrees from true north
	Speed *float64 `json:"speed"` // metres per second
}

// ParsePoll reads gpsd's answer to ?POLL. Of several receivers the one that
// knows most counts. stamp is the time of its fix as it tells it.
func ParsePoll(line []byte) (f Fix, stamp string, err error) {
	var answer struct {
		Class   string `json:"class"`
		Message string `json:"message"`
		TPV     []tpv  `json:"tpv"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return Fix{}, "", fmt.Errorf("gpsd: %w", err)
	}
	switch answer.Class {
	case "POLL":
	case "ERROR":
		return Fix{}, "", fmt.Errorf("gpsd: %.100q", answer.Message)
	default:
		return Fix{}, "", errNoPoll
	}
	var best tpv
	for _, t := range answer.TPV {
		if t.Mode > best.Mode && t.Lat != nil && t.Lon != nil {
			best = t
		}
	}
	if best.Mode < 2 {
		return Fix{}, "", ErrNoFix
	}
	f = Fix{Lat: *best.Lat, Lon: *best.Lon, Heading: best.Track}
	if best.Speed != nil {
		f.Speed = *best.Speed
	}
	if err := f.check(); err != nil {
		return Fix{}, "", fmt.Errorf("gpsd: %w", err)
	}
	return f, best.Time, nil
}

// defaultGPSD is where gpsd listens (gpsd(8)).
const defaultGPSD = "127.0.0.1:2947"

// newGPSD is the one at address: HOST:PORT, or the path of a socket.
func newGPSD(address string) *GPSD {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	return &GPSD{Network: network, Address: address, Dial: new(net.Dialer).DialContext}
}
