package agent

import (
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

func TestTheStatusLineTellsThePointOfNoReturn(t *testing.T) {
	tok, err := account.ParseToken("eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjE3OTQ3NDQwMDAsImV4cCI6MTc5NTM0ODgwMH0.c2ln", account.DefaultNames)
	if err != nil {
		t.Fatal(err)
	}
	w := account.DefaultSchedule.Window(tok)
	for _, tt := range []struct {
		name string
		tok  account.Status
		mqtt string
		want string
	}{
		{"good", account.Status{State: account.Good, Token: tok, Window: w}, mqtt.Online,
			"online, token until 2026-11-22T12:00:00Z, no return after 2026-11-23T00:00:00Z, 7 queued"},
		{"failing", account.Status{State: account.Failing, Token: tok, Window: w, Failures: 5}, mqtt.Offline,
			"offline, token not renewed in 5 attempts, no return after 2026-11-23T00:00:00Z, 7 queued"},
		{"refused", account.Status{State: account.Rejected, Token: tok, Window: w, LastError: "POST /loginDevice: 400"}, mqtt.Online,
			"online, token refused: POST /loginDevice: 400, no return after 2026-11-23T00:00:00Z, 7 queued"},
		{"lost", account.Status{State: account.Lost, Token: tok, Window: w}, mqtt.Refused,
			"TOKEN LOST since 2026-11-23T00:00:00Z: a person must bring a new one (spoke-zone-agent adopt); refused, 7 queued"},
		{"none", account.Status{State: account.Unprovisioned, FileError: "no identity file"}, mqtt.Offline,
			"waiting for a token: no identity file, 7 queued"},
		{"without an expiry", account.Status{State: account.Good, Token: mustParse(t, "e30.e30.c2ln")}, mqtt.Online, "online, 7 queued"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := line(tt.tok, mqtt.Status{State: tt.mqtt}, upload.Status{Queued: 7}); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func mustParse(t *testing.T, raw string) account.Token {
	t.Helper()
	tok, err := account.ParseToken(raw, account.DefaultNames)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestASpellBeginsWithItsState(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) clock.Reading { return clock.Reading{Boot: time.Hour + d} }
	var s spell
	for _, step := range []struct {
		what  string
		state string
		boot  time.Duration
		now   time.Duration // of the cloud, since start
		want  time.Duration
	}{
		{"it begins", "valid", 0, 0, 0},
		{"it goes on", "valid", time.Minute, time.Minute, 0},
		{"two clocks are never read at once", "valid", 2 * time.Minute, 2*time.Minute + time.Millisecond, 0},
		{"the cloud's time is learned: it began later than we thought", "valid", 3 * time.Minute, 3*time.Minute + time.Hour, time.Hour},
		{"another state", "stale", 4 * time.Minute, 4*time.Minute + time.Hour, 4*time.Minute + time.Hour},
		{"it goes on", "stale", 9 * time.Minute, 9*time.Minute + time.Hour, 4*time.Minute + time.Hour},
	} {
		if got := s.since(step.state, at(step.boot), start.Add(step.now)); !got.Equal(start.Add(step.want)) {
			t.Errorf("%s: since %v, want %v", step.what, got.Sub(start), step.want)
		}
	}
	if got := s.since("", at(time.Hour), start); !got.IsZero() {
		t.Errorf("no state has been there since %v", got)
	}
}
