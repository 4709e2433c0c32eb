package local

import "time"

// Outbox tells what waits for the broker, on disk. Counts are since the start.
type Outbox struct {
	Messages       int       `json:"messages"`
	Bytes          int64     `json:"bytes"`           // on disk
	Oldest         time.Time `json:"oldest,omitzero"` // about when the oldest was published
	Published      int64     `json:"published"`       // messages made durable
	Delivered      int64     `json:"delivered"`       // of them acknowledged by the broker
	Dropped        int64     `json:"dropped"`         // lost: outbox full, too old, damaged, or what the broker closes the connection for
	Superseded     int64     `json:"superseded"`      // replaced by a newer one of the topic
	PublishedBytes int64     `json:"published_bytes"` // topics and payloads of Published
	WrittenBytes   int64     `json:"written_bytes"`   // to disk: the wear
	Quarantined    int       `json:"quarantined"`     // damaged files set aside
	Error          string    `json:"error,omitempty"` // why nothing can be made durable
}

func (m *metricsText) outbox(o Outbox, now time.Time) {
	m.gauge("outbox_messages", "Messages that wait for the broker.", float64(o.Messages))
	m.age("outbox_oldest_seconds", "About how long ago the oldest of them was published.", o.Oldest, now)
	m.gauge("outbox_bytes", "What they take on disk.", float64(o.Bytes))
	m.gauge("outbox_durable", "1 while the disk takes messages.", truth(o.Error == ""))
	m.counter("outbox_published_total", "Messages made durable since the start.", float64(o.Published))
	m.counter("outbox_delivered_total", "Of them acknowledged by the broker since the start.", float64(o.Delivered))
	m.counter("outbox_dropped_total", "Messages lost to the limits or to damage since the start.", float64(o.Dropped))
	m.counter("outbox_superseded_total", "Messages replaced by a newer one of their topic since the start.", float64(o.Superseded))
	m.counter("outbox_published_bytes_total", "Topics and payloads of the messages made durable since the start.", float64(o.PublishedBytes))
	m.counter("outbox_written_bytes_total", "Bytes written to disk for them since the start.", float64(o.WrittenBytes))
	m.counter("outbox_quarantined_total", "Damaged files set aside since the start.", float64(o.Quarantined))
}
