package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// statusLine keeps the line that `systemctl status` shows.
func (g *generation) statusLine(ctx context.Context) error {
	for {
		tok, a := g.keeper.Status()
		session, b := g.session.Status()
		uploads, c := g.uploads.Status()
		g.tokenStatus(tok) // notes when its state began
		systemd.Statusf("%s", line(tok, session, uploads))
		select {
		case <-ctx.Done():
			return nil
		case <-a:
		case <-b:
		case <-c:
		}
	}
}

// line says how the session is, how the token is, and what waits.
func line(tok account.Status, session mqtt.Status, uploads upload.Status) string {
	text := session.State
	switch until, closes := tok.Token.Expires, tok.Window.Closes; {
	case tok.Token.IsZero() && tok.FileError == "":
		text = "starting"
	case tok.Token.IsZero():
		text = "waiting for a token: " + tok.FileError
	case tok.State == account.Lost:
		text = "TOKEN LOST since " + short(closes) + ": a person must bring a new one (spoke-zone-agent adopt); " + text
	case tok.State == account.Rejected:
		text += ", token refused: " + tok.LastError
		if !closes.IsZero() {
			text += ", no return after " + short(closes)
		}
	case tok.State == account.Failing && !closes.IsZero():
		text += fmt.Sprintf(", token not renewed in %d attempts, no return after %s", tok.Failures, short(closes))
	case !until.IsZero():
		text += ", token until " + short(until) + ", no return after " + short(closes)
	}
	return fmt.Sprintf("%s, %d queued", text, uploads.Queued)
}

func short(t time.Time) string { return t.UTC().Format(time.RFC3339) }
