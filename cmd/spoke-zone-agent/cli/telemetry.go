package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// telemetry writes of the commands, the level of diagnostics, the location and,
// if there is one, the bridge.
func (p *page) telemetry(s local.Status) {
	c, d, l := s.Commands, s.Diagnostics, s.Location
	text := "nothing yet"
	if c.Done+c.Failed+c.Ignored+c.Dropped+c.Unknown+c.Queued+len(c.Running) > 0 {
		text = fmt.Sprintf("%d done, %d failed, %d unknown, %d ignored, %d dropped", c.Done, c.Failed, c.Unknown, c.Ignored, c.Dropped)
	}
	p.row("Commands", text)
	p.row("  running", strings.Join(c.Running, " "))
	if c.LastError != "" {
		p.row("  error", c.Last+": "+c.LastError)
	}
	text = cmp.Or(d.Level, "unknown")
	if !d.Until.IsZero() {
		text += ", debug level " + d.DebugLevel
		if d.Broadcast > 0 {
			text += ", broadcast every " + spanText(span(d.Broadcast))
		}
		text += ", until " + timeText(d.Until, p.now)
	}
	p.row("Diagnostics", text)
	p.row("  error", d.Error)
	for _, r := range d.Recorded {
		if r.Files == 0 && r.Error == "" {
			continue
		}
		text := countOf(r.Files, "file") + " (" + bytesText(r.Bytes) + ")"
		if !r.Last.IsZero() {
			text += ", the last " + timeText(r.Last, p.now)
		}
		if r.Skipped > 0 {
			text += ", " + countOf(r.Skipped, "line") + " missing"
		}
		p.row("  "+r.Type, text)
		p.row("    error", r.Error)
	}
	p.location(l)
	if b := s.Bridge; b != nil {
		p.row("Bridge", b.State+", "+b.File)
		p.row("  error", b.Error)
	}
}

func (p *page) location(l local.Location) {
	switch {
	case l.Source == "off" || l.Source == "":
		p.row("Location", "off")
		return
	case l.Fix:
		p.row("Location", "known ("+l.Source+")")
	default:
		p.row("Location", "no fix ("+l.Source+")")
	}
	p.at("  published", l.Published)
	p.row("  error", l.Error)
}

// whyCommands tells of the cloud's commands and of diagnostics.
func whyCommands(s local.Status, now time.Time) []string {
	t := &story{now: now}
	c, d := s.Commands, s.Diagnostics
	t.say(c.Last == "" && c.Unknown == 0, "The cloud has sent no command since the agent started")
	t.say(len(c.Running) > 0, "Running: %s", strings.Join(c.Running, " "))
	t.say(c.Queued > 0, "%s %s for its turn: of one command one runs at a time", countOf(c.Queued, "message"), wait(c.Queued))
	t.say(c.Last != "" && c.LastError == "", "The last command, %s, was done at %s", c.Last, t.at(c.LastAt))
	t.say(c.LastError != "", "The last command, %s, failed at %s: %s", c.Last, t.at(c.LastAt), c.LastError)
	t.say(c.Unknown > 0, "%s named no command: each needs a section [command.NAME] in the settings or a program in paths.commands", countOf(c.Unknown, "message"))
	t.say(c.Ignored > 0, "%s ignored, as kept by the broker and perhaps old: see command.NAME.retained in the settings", were(c.Ignored, "message"))
	t.say(c.Dropped > 0, "%s dropped because too many waited", were(c.Dropped, "message"))
	t.say(!d.Until.IsZero(), "The cloud has set the level of diagnostics to %s; it falls back to normal at %s", d.Level, t.at(d.Until))
	raised := !d.Until.IsZero() && d.Level != "normal"
	for _, r := range d.Recorded {
		t.say(raised && r.Files == 0 && r.Error == "", "Of type %s nothing has been recorded yet", r.Type)
		t.say(r.Files > 0, "Of type %s, %s recorded (%s) and put into the queue of data files since the agent started, the last at %s",
			r.Type, were(r.Files, "file"), bytesText(r.Bytes), t.at(r.Last))
		t.say(r.Skipped > 0, "%s left out of them, for they came too fast: see diagnostics.max_file in the settings", were(r.Skipped, "line"))
		t.say(r.Error != "", "Type %s is not recorded: %s", r.Type, r.Error)
	}
	t.say(d.Level == "debug-only", "Until then nothing but diagnostics is published: messages of QoS 1 wait on disk")
	t.say(d.Broadcast > 0, "The gateway's figures are broadcast every %s", spanText(span(d.Broadcast)))
	return t.said
}

// whyLocation tells of the location.
func whyLocation(s local.Status, now time.Time) []string {
	t := &story{now: now}
	l := s.Location
	t.say(l.Source == "off" || l.Source == "", "No location is looked for: see telemetry.location_source in the settings")
	t.say(l.Fix, "The location is known, from %s", l.Source)
	t.say(l.Source != "off" && l.Source != "" && !l.Fix, "The location is not known: %s", cmp.Or(l.Error, "nobody was asked yet, for there was no session"))
	t.say(!l.Published.IsZero(), "It was published last at %s", t.at(l.Published))
	return t.said
}

// were is a number of things that something happened to.
func were(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " was"
	}
	return countOf(n, thing) + " were"
}
