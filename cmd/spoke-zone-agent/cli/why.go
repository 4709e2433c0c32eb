package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// reasons are what `why` can tell, in the order in which one thing needs the
// other.
var reasons = []struct {
	topic, label string
	tell         func(s local.Status, now time.Time) []string
}{
	{"token", "Token", whyToken},
	{"mqtt", "MQTT", whyMQTT},
	{"ota", "Updates", whyOTA},
	{"upload", "Uploads", whyUpload},
	{"accounts", "Accounts", whyAccounts},
	{"deliveries", "Deliveries", whyDeliveries},
	{"commands", "Commands", whyCommands},
	{"location", "Location", whyLocation},
}

func topics() (all []string) {
	for _, r := range reasons {
		all = append(all, r.topic)
	}
	return all
}

func (p *Program) whyCommand() *cobra.Command {
	return p.talks(&cobra.Command{
		Use:   "why [" + strings.Join(topics(), "|") + "]",
		Short: "Tell why things are as they are",
		Long: "Tell in sentences how the token, the session, the updates and so on are: since\n" +
			"when, because of what, and what happens next. Without a topic it tells all.",
		Args:      args(cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: topics(),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.client().Status(cmd.Context())
			if err != nil {
				return said(cmd, err)
			}
			_, err = fmt.Fprint(p.Out, whyIn(s, p.clock(), p.columns(), args...))
			return err
		},
	})
}

// why is the text about the topics, or all if none is named, as of now by the
// system's clock.
func why(s local.Status, now time.Time, topics ...string) string {
	return whyIn(s, now, defaultColumns, topics...)
}

// whyIn is why for a terminal with that many columns.
func whyIn(s local.Status, now time.Time, columns int, topics ...string) string {
	p := &page{columns: columns}
	for _, r := range reasons {
		if len(topics) == 0 || topics[0] == r.topic {
			label := r.label
			for item := range strings.SplitSeq(strings.Join(r.tell(s, now), " "), nextItem) {
				p.row(label, item)
				label = ""
			}
		}
	}
	return p.String()
}

// sentence makes text one: a capital at its front, a stop at its end.
func sentence(format string, args ...any) string {
	text := strings.TrimRight(strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf(format, args...), nextItem, "?")), ".")
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:] + "."
}

// nextItem stands before a sentence that begins in a new line.
const nextItem = "\f"

// item begins a new line, but for the first.
func (t *story) item() {
	if len(t.said) > 0 {
		t.said = append(t.said, nextItem)
	}
}

// A story is sentences being told.
type story struct {
	said []string
	now  time.Time // by the clock of the times in it
}

// say adds a sentence if it is true and says anything.
func (t *story) say(is bool, format string, args ...any) {
	if text := sentence(format, args...); is && text != "" {
		t.said = append(t.said, text)
	}
}

// at is a time in a sentence.
func (t *story) at(when time.Time) string { return timeText(when, t.now) }

// since is when something began, for the middle of a sentence.
func (t *story) since(when time.Time) string {
	if when.IsZero() {
		return ""
	}
	return " since " + t.at(when)
}

// next says when it is tried again.
func (t *story) next(when time.Time, more string) {
	t.say(!when.IsZero() && when.After(t.now), "The next attempt is at %s%s", t.at(when), more)
	t.say(!when.IsZero() && !when.After(t.now), "The next attempt is due now%s", more)
}
