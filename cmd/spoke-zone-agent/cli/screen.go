package cli

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// The screen is for the narrowest terminal that is still met: a serial console.
const (
	defaultColumns = 80
	indent         = 13 // of the text beside a label
	leastText      = 24 // columns beside a label; with fewer the text goes below it
	narrowIndent   = 6  // of the text there
)

// A page is a screen being written: labels at the left, text beside them.
type page struct {
	strings.Builder
	now     time.Time // by the clock of the times on it
	left    int       // where the text begins; indent if zero
	columns int       // defaultColumns if zero
}

// row writes text beside label, broken between words where the line ends. No
// text, no row.
func (p *page) row(label, text string) {
	words := strings.Fields(printable(text))
	if len(words) == 0 {
		return
	}
	left, columns := cmp.Or(p.left, indent), cmp.Or(p.columns, defaultColumns)
	line := fmt.Sprintf("%-*s %s", left-1, oneLine(label), words[0])
	if columns-left < leastText { // a narrow terminal: the text goes below the label
		p.WriteString(strings.TrimRight(oneLine(label), " ") + "\n")
		left = narrowIndent
		line = strings.Repeat(" ", left) + words[0]
	}
	for _, word := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			p.WriteString(line + "\n")
			line = strings.Repeat(" ", left-1)
		}
		line += " " + word
	}
	p.WriteString(line + "\n")
}

// at writes when something was or will be, unless that is unknown.
func (p *page) at(label string, t time.Time, more ...string) {
	if !t.IsZero() {
		p.row(label, strings.Join(append([]string{timeText(t, p.now)}, more...), ", "))
	}
}

// screen is s for people, as of now by the system's clock.
func screen(s local.Status, now time.Time) string { return screenIn(s, now, defaultColumns) }

// screenIn is screen for a terminal with that many columns.
func screenIn(s local.Status, now time.Time, columns int) string {
	p := &page{now: now, columns: columns}
	cloud := now.Add(span(s.Clock.ServerOffset)) // the times of tokens are by the cloud's clock
	p.head(s)
	for _, problem := range s.Problems {
		p.row("  problem", problem)
	}
	p.as(cloud, func() { p.token(s.Token) })
	p.mqtt(s.MQTT)
	p.outbox(s.Outbox)
	p.as(cloud, func() { p.accounts(s.Accounts) })
	p.telemetry(s)
	p.updates(s.OTA)
	p.uploads(s.Upload)
	p.clock(s.Clock)
	return p.String()
}

// as has write tell times as of another clock's now.
func (p *page) as(now time.Time, write func()) {
	was := p.now
	p.now = now
	write()
	p.now = was
}

func (p *page) head(s local.Status) {
	device := "no device yet"
	if s.Identity.DeviceID != "" {
		device = "device " + s.Identity.DeviceID
		if s.Identity.Source != "" {
			device += " (from " + strings.ReplaceAll(s.Identity.Source, "_", " ") + ")"
		}
	}
	head := []string{Name + " " + s.Version, device}
	if !s.Started.IsZero() {
		head = append(head, "up "+spanText(p.now.Sub(s.Started)))
	}
	p.WriteString(cutText(oneLine(strings.Join(head, ", ")), cmp.Or(p.columns, defaultColumns)) + "\n")
	p.row("  settings", s.Settings.Error)
	p.row("  identity", s.Identity.Error)
}

func (p *page) token(t local.Token) {
	state := cmp.Or(t.State, "unknown")
	if !t.Expires.IsZero() {
		verb := ", expires "
		if t.Expires.Before(p.now) {
			verb = ", expired "
		}
		state += verb + timeText(t.Expires, p.now)
	}
	p.row("Token", state)
	p.row("  reason", t.Reason)
	if t.Tail != "" {
		subject := ""
		if t.Subject != "" {
			subject = " (subject " + t.Subject + ")"
		}
		p.row("  ends in", t.Tail+subject)
	}
	p.at("  renew at", t.RenewAt)
	p.at("  no return", t.PointOfNoReturn, spentText(t.Spent)...)
	p.at("  renewed", t.LastRenewal, countOf(t.Renewals, "renewal")+" so far")
	if t.Attempt > 0 {
		p.at("  next try", t.NextTry, fmt.Sprintf("attempt %d", t.Attempt))
	} else if !t.NextTry.Equal(t.RenewAt) {
		p.at("  next try", t.NextTry)
	}
	var stored []string
	if t.Stored.State {
		stored = append(stored, "state directory")
	}
	if t.Stored.IdentityFile {
		stored = append(stored, "identity file")
	}
	if t.State != "none" && t.State != "" {
		p.row("  stored in", cmp.Or(strings.Join(stored, ", "), "memory alone"))
	}
	p.row("  not stored", t.Stored.Error)
	p.row("  error", t.LastError)
}

func (p *page) mqtt(m local.MQTT) {
	state := cmp.Or(m.State, "unknown")
	if !m.Since.IsZero() {
		state += " since " + timeText(m.Since, p.now)
	}
	p.row("MQTT", state)
	broker := m.Broker
	if m.ClientID != "" {
		broker += " as " + m.ClientID
	}
	p.row("  broker", broker)
	p.at("  next try", m.NextTry, fmt.Sprintf("attempt %d", m.Attempt))
	p.row("  refused", strings.Join(m.RefusedFilters, " "))
	p.row("  error", m.Error)
	p.row("  token", m.Held)
}

func (p *page) outbox(o local.Outbox) {
	p.row("Outbox", fmt.Sprintf("%s (%s), %d delivered, %d dropped", countOf(o.Messages, "message")+" "+wait(o.Messages), bytesText(o.Bytes), o.Delivered, o.Dropped))
	p.at("  oldest", o.Oldest)
	p.row("  error", o.Error)
}

func (p *page) updates(modules []local.Module) {
	if len(modules) == 0 {
		p.row("Updates", "no modules in the settings")
		return
	}
	p.row("Updates", countOf(len(modules), "module"))
	for _, m := range modules {
		p.row("  "+cutText(oneLine(m.Module), indent-3), moduleText(m))
		p.row("", m.Reason)
		p.row("", m.Waits)
		p.row("", m.Error)
	}
}

// moduleText is one module in a line.
func moduleText(m local.Module) string {
	text := cmp.Or(m.Installed, "unknown version")
	if m.Offered != "" && m.Offered != m.Installed {
		text += " -> " + m.Offered
	}
	text += ", " + cmp.Or(m.Phase, "unknown") + " (" + m.Policy + ")"
	switch {
	case m.Total > 0 && m.Bytes < m.Total:
		text += fmt.Sprintf(", %d %% of %s", 100*m.Bytes/m.Total, bytesText(m.Total))
	case m.Bytes > 0:
		text += ", " + bytesText(m.Bytes)
	}
	if m.Rate > 0 {
		text += ", " + bytesText(m.Rate) + "/s"
	}
	return text
}

func (p *page) uploads(u local.Upload) {
	p.row("Uploads", fmt.Sprintf("%d queued (%s), %d sent, %d quarantined, %d dropped",
		u.Queued, bytesText(u.QueuedBytes), u.Sent, u.Quarantined, u.Dropped))
	p.row("  sending", u.InFlight)
	p.at("  next try", u.NextTry)
	p.row("  error", u.Error)
	for _, c := range u.Collect {
		p.row("  from logs", fmt.Sprintf("%s: %s, %s behind", c.Name, countOf(c.Files, "file"), bytesText(c.BytesBehind)))
		p.row("  error", c.Error)
	}
}

func (p *page) clock(c local.Clock) {
	text := "as the cloud's"
	if off := math.Abs(c.ServerOffset); off >= 1 {
		way := " behind the cloud's"
		if c.ServerOffset < 0 {
			way = " ahead of the cloud's"
		}
		text = spanText(span(off)) + way
	}
	if c.Source != "server" {
		text = "not compared with the cloud's yet"
	}
	p.row("Clock", text)
}

// spentText is the share of the time for renewing that is over, if any.
func spentText(spent float64) []string {
	if spent <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("%.0f %% of the time spent", 100*spent)}
}

// span is a number of seconds as a duration, within 250 years.
func span(seconds float64) time.Duration {
	const limit = 250 * 365 * 24 * 3600
	return time.Duration(max(-limit, min(seconds, limit)) * float64(time.Second))
}

// cutText is s in at most n characters.
func cutText(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "~"
}
