package agent

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// status gathers what the parts say of themselves.
func (g *generation) status() local.Status {
	tok, _ := g.keeper.Status()
	session, _ := g.session.Status()
	queue := g.session.Queue()
	uploads, _ := g.uploads.Status()
	read, _, _ := g.reading.Get()
	inForce, known, _ := g.settings.Get()
	s := local.Status{
		Version: g.Version, PID: os.Getpid(), Started: g.started,
		Settings: local.Settings{File: g.ConfigPath, Generation: g.number, Loads: read.loads, Loaded: read.at, Pending: known && !inForce.Equal(g.conf), Error: text(read.err)},
		Identity: g.identityStatus(tok),
		Token:    g.tokenStatus(tok),
		Accounts: g.accountsStatus(),
		MQTT:     mqttStatus(session),
		Outbox:   outboxStatus(queue),
		OTA:      g.modulesStatus(),
		Upload:   uploadStatus(uploads),
		Clock:    g.clockStatus(),
		Sandbox:  g.sandbox,
	}
	s.MQTT.ClientID = g.conf.MQTT.ClientID
	if !tok.Token.IsZero() && s.MQTT.ClientID == "" {
		s.MQTT.ClientID = "spoke-zone-agent-" + cmp.Or(s.Identity.DeviceID, tok.Token.Tail())
	}
	collected, _ := g.collect.Status()
	s.Upload.Collect = collectStatus(collected)
	g.telemetryStatus(&s)
	s.Problems = append(g.problems(tok, session, uploads, read.err), g.telemetryProblems(s)...)
	return s
}

func mqttStatus(s mqtt.Status) local.MQTT {
	return local.MQTT{
		State: s.State, Since: s.Since, Broker: s.Broker, Attempt: s.Attempt, NextTry: s.NextTry,
		Connects: s.Connects, Refusals: s.Refusals, RefusedFilters: s.FiltersRefused, Error: s.Err,
		Cause: s.Cause, Held: s.Held, Takeovers: s.Takeovers, Gap: s.Gap.Seconds(), BreakFirst: s.BreakFirst,
	}
}

func uploadStatus(s upload.Status) local.Upload {
	types := make([]local.UploadType, 0, len(s.Types))
	for _, t := range s.Types {
		types = append(types, local.UploadType{Type: t.Type, Queued: t.Queued, QueuedBytes: t.Bytes, Dropped: int64(t.Dropped)})
	}
	return local.Upload{
		Types: types, Spent: s.Spent,
		State: s.State, Since: s.Since,
		Queued: s.Queued, QueuedBytes: s.QueuedBytes, InFlight: s.InFlight, Sent: int64(s.Sent),
		Quarantined: int64(s.Quarantined), Dropped: int64(s.Dropped), NextTry: s.NextTry, Error: cmp.Or(s.LastError, s.IntakeError),
	}
}

func (g *generation) clockStatus() local.Clock {
	state, now := g.clock.State()
	c := local.Clock{ServerOffset: state.Now(now).Sub(now.Wall).Round(10 * time.Millisecond).Seconds(), Source: "system"}
	switch {
	case state.Learned(now):
		c.Source = "server"
	case c.ServerOffset != 0:
		c.Source = "floor"
	}
	return c
}

// problems are sentences for the person at the gateway, worst first.
func (g *generation) problems(tok account.Status, session mqtt.Status, uploads upload.Status, settings error) []string {
	var p []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	add(tok.State != account.Good && tok.State != account.Due && tok.State != "", "token %s: %s", tok.State, tok.Reason)
	add(tok.State == account.Lost, "a person must bring a new token: spoke-zone-agent adopt")
	advice := g.advice()
	add(advice != "", "%s", advice)
	add(tok.StoreError != "", "the token is not stored in %s and would be lost with the power: %s", g.conf.Paths.State, tok.StoreError)
	add(tok.FileError != "" && !tok.Token.IsZero(), "identity file: %s", tok.FileError)
	add(tok.WriteError != "", "the identity file does not hold the newest token: %s", tok.WriteError)
	add(settings != nil, "settings: %v; the ones before stay in force", settings)
	queue := g.session.Queue()
	add(queue.Err != "", "messages are not durable, and are taken only while the broker takes them at once: %s", queue.Err)
	add(session.Held != "", "the newest token is not in use with the broker: %s", session.Held)
	add(session.State != mqtt.Online && session.Err != "", "mqtt %s: %s", session.State, session.Err)
	for _, f := range session.FiltersRefused {
		add(true, "the broker refuses the subscription to %s", f)
	}
	p = append(p, g.accountProblems()...)
	p = append(p, g.installProblems()...)
	add(uploads.LastError != "", "upload: %s", uploads.LastError)
	add(uploads.IntakeError != "", "upload: no data files are taken: %s", uploads.IntakeError)
	for _, s := range uploads.Skipped {
		add(true, "spool file %s is not taken: %s", s.Path, s.Reason)
	}
	collected, _ := g.collect.Status()
	for _, c := range collected.Sources {
		add(c.Error != "", "collect %s: %s", c.Name, c.Error)
		add(c.Lost > 0, "collect %s: %d bytes were gone before they were read", c.Name, c.Lost)
	}
	g.troubles.mu.Lock()
	defer g.troubles.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(g.troubles.text)) {
		p = append(p, g.troubles.text[name])
	}
	return p
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
