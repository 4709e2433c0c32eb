package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// lookEvery is how often a condition is looked at.
const lookEvery = 50 * time.Millisecond

// A player plays a scenario on a stage and tells what happens.
type player struct {
	*stage
	scenario *Scenario
	out      io.Writer
	patience int // times every limit
	start    time.Time
	told     int // the last event that was told
}

// play does every step in order, and then looks at what must be true of the
// whole. The error ends with where in the text it is.
func (p *player) play(ctx context.Context) error {
	p.start = time.Now()
	for _, st := range p.scenario.steps {
		if err := p.step(ctx, st); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", p.scenario.Name, st.line, st.text, err)
		}
	}
	p.tell()
	return errors.Join(p.bounds(), p.sound())
}

func (p *player) step(ctx context.Context, st step) error {
	if st.act != nil {
		p.tell()
		who, text := "play", st.text
		if rest, is := strings.CutPrefix(text, "say "); is {
			who, text = "", "-- "+rest
		}
		p.say(who, text)
		events, _ := p.cloud.Events(p.seq)
		if len(events) > 0 {
			p.seq = events[len(events)-1].Seq // what is awaited comes after it
		}
		return st.act(ctx, p.stage)
	}
	limit := st.limit * time.Duration(p.patience)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	seen, err := "", error(nil)
	if st.event != nil {
		err = p.await(ctx, *st.event)
	} else {
		seen, err = p.look(ctx, *st.state)
	}
	p.tell()
	if err != nil {
		if seen != "" {
			seen = "; " + seen
		}
		return fmt.Errorf("not within %v%s", limit, seen)
	}
	text := fmt.Sprintf("%s  (%.2f s)", st.text, time.Since(began).Seconds())
	p.say("ok", text)
	return nil
}

// await returns at the first such event that no expectation has seen.
func (p *player) await(ctx context.Context, event happening) error {
	e, err := p.cloud.WaitFor(ctx, p.seq, event)
	if err == nil {
		p.seq = e.Seq
	}
	return err
}

// look returns when the condition holds.
func (p *player) look(ctx context.Context, is condition) (seen string, err error) {
	for {
		now, ok := is(ctx, p.stage)
		if ctx.Err() == nil || seen == "" {
			seen = now // what is seen with a context that is over tells of that alone
		}
		if ok {
			return seen, nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return seen, err
		}
	}
}

// bounds are looked at when all is over.
func (p *player) bounds() error {
	events, _ := p.cloud.Events(0)
	var wrong []error
	for _, b := range p.scenario.bounds {
		n := len(slices.DeleteFunc(slices.Clone(events), func(e cloudtest.Event) bool { return !b.event(e) }))
		if n > b.most {
			wrong = append(wrong, fmt.Errorf("%s:%d: %s: it happened %d times", p.scenario.Name, b.line, b.text, n))
			continue
		}
		p.say("ok", fmt.Sprintf("%s  (%d)", b.text, n))
	}
	return errors.Join(wrong...)
}

func (p *player) say(who, text string) { p.sayAt(time.Now(), who, text) }

func (p *player) sayAt(at time.Time, who, text string) {
	fmt.Fprintf(p.out, "%7.2f s  %-8s %s\n", at.Sub(p.start).Seconds(), who, text)
}

// tell writes the events that nobody has been told of. Many of a kind in a row
// are one line.
func (p *player) tell() {
	events, _ := p.cloud.Events(p.told)
	offset := p.cloud.Offset()
	for i := 0; i < len(events); {
		line := inWords(events[i])
		n := 1
		for i+n < len(events) && inWords(events[i+n]) == line {
			n++
		}
		if line != "" {
			if n > 1 {
				line += fmt.Sprintf("  (%d times)", n)
			}
			p.sayAt(events[i].At.Add(-offset), "gateway", line)
		}
		i += n
	}
	if len(events) > 0 {
		p.told = events[len(events)-1].Seq
	}
}

// inWords is an event in words, the same for events that differ in no way that
// matters here.
func inWords(e cloudtest.Event) string {
	switch e.Kind {
	case cloudtest.EventRequest:
		if e.Status < 400 && e.Status > 0 {
			return ""
		}
		return fmt.Sprintf("%s %s: %d", e.Method, e.Path, e.Status)
	case cloudtest.EventFault:
		return "the fault " + e.Why + " happens"
	case cloudtest.EventLogin:
		return fmt.Sprintf("POST /loginDevice: %d", e.Status)
	case cloudtest.EventConnect:
		return "CONNECT: " + map[bool]string{true: "accepted", false: fmt.Sprintf("refused with code %d", e.Status)}[e.Status == 0]
	case cloudtest.EventDisconnect:
		return "the MQTT connection ended"
	case cloudtest.EventSubscribe:
		return "SUBSCRIBE " + e.Topic + strings.TrimSuffix(" "+e.Why, " ")
	case cloudtest.EventPublish:
		return "PUBLISH " + e.Topic
	case cloudtest.EventDownload:
		return fmt.Sprintf("bytes of the release %d are fetched", e.ID)
	case cloudtest.EventUpload:
		return fmt.Sprintf("data file %d: %d bytes", e.ID, e.Size)
	case cloudtest.EventForbidden:
		return "the broker refuses to " + e.Why + " " + e.Topic
	case cloudtest.EventLeak:
		return "ALARM: a token at another host: " + e.Why
	}
	return ""
}
