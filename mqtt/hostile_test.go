package mqtt

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile/powercut"
)

// TestHostileBrokers meets each for a day: no storm, bounded memory, a cause
// that `why` has words for, and everything delivered once the broker is good.
func TestHostileBrokers(t *testing.T) {
	greeting := "\x20\x02\x00\x00"
	for name, c := range map[string]struct {
		b     *broker
		cause string
		says  string
	}{
		"header of 256 MiB":              {&broker{raw: []byte("\x30\xff\xff\xff\x7f")}, CauseProtocol, "larger than the limit"},
		"header of 256 MiB when greeted": {&broker{raw: []byte(greeting + "\x30\xff\xff\xff\x7f" + strings.Repeat("x", 1<<20))}, CauseProtocol, "larger than the limit"},
		"five bytes of garbage":          {&broker{raw: []byte("\xde\xad\xbe\xef\x00")}, CauseProtocol, "packet"},
		"half open from the start":       {&broker{raw: []byte{}}, CauseNetwork, "no CONNACK"},
		"half open when greeted":         {&broker{silent: true}, CauseSilent, "silent"},
		"CONNACK and a kick":             {&broker{greet: func(net.Conn) bool { return false }}, CauseKicked, "another client"},
		"refuses every token":            {&broker{code: func(string) byte { return packets.ErrRefusedNotAuthorised }}, CauseRefused, "refused"},
		"refuses the client id":          {&broker{code: func(string) byte { return packets.ErrRefusedIDRejected }}, CauseRejected, "rejected"},
		"never free":                     {&broker{code: func(string) byte { return packets.ErrRefusedServerUnavailable }}, CauseUnavailable, "navailable"},
		"no PUBACK ever":                 {&broker{noAck: true}, CauseSilent, "no PUBACK"},
		"closes every few seconds":       {&broker{greet: func(c net.Conn) bool { time.AfterFunc(5*time.Second, func() { c.Close() }); return true }}, CauseTaken, "client id"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, c.b, withOutbox(powercut.New()), func(t *testing.T, f *fixture) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				f.keep(t, "x", KeepAll)
				seen := false
				for range 24 * 60 {
					pause(time.Minute)
					st := f.state()
					seen = seen || st.Cause == c.cause && strings.Contains(st.Err, c.says)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				if n := len(c.b.attempts()); n > 2000 {
					t.Errorf("%d attempts in a day", n)
				}
				if !seen {
					t.Errorf("never said: %s (%s); now %+v", c.cause, c.says, f.state())
				}
				if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
					t.Errorf("%d bytes of memory more", grown)
				}
				c.b.set(func() {
					c.b.raw, c.b.silent, c.b.noAck, c.b.greet, c.b.code, c.b.pubs = nil, false, false, nil, nil, nil
					c.b.conns[len(c.b.conns)-1].Close()
				})
				pause(10 * time.Minute)
				if q := f.Queue(); q.Messages != 0 || q.Delivered != 1 {
					t.Errorf("afterwards %d PUBLISH, queue %+v", len(c.b.pubs), q)
				}
			})
			gaps(t, c.b)
		})
	}
}
