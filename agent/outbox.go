package agent

import (
	"path/filepath"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
)

// gather is how long a message waits for others before all are made durable at
// once: a sync takes flash about as long.
const gather = 2 * time.Millisecond

// newOutbox makes the queue of messages that must not be lost.
func (g *generation) newOutbox() *outbox.Outbox {
	return &outbox.Outbox{
		Dir: filepath.Join(g.conf.Paths.State, "outbox"), MaxBytes: g.conf.Outbox.MaxBytes, MaxAge: g.conf.Outbox.MaxAge,
		Window: gather, Now: func() (time.Time, bool) { return g.clock.Now(), g.clock.Learned() },
		Log: g.Log.With("task", "outbox"),
	}
}

// sessionAlive tells the watchdog that the session's loop turns.
func (g *generation) sessionAlive(within time.Duration) {
	if within == 0 {
		g.alive.Rest("mqtt")
		return
	}
	g.alive.Alive("mqtt", within)
}

func outboxStatus(q mqtt.Queue) local.Outbox {
	return local.Outbox{
		Messages: q.Messages, Bytes: q.Bytes, Oldest: q.Oldest,
		Published: q.Published, Delivered: q.Delivered, Dropped: q.Dropped, Superseded: q.Superseded,
		PublishedBytes: q.PublishedBytes, WrittenBytes: q.WrittenBytes, Quarantined: q.Quarantined, Error: q.Err,
	}
}
