package agent

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/capture"
	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/redact"
	"github.com/spoke-zone/spoke-zone-agent/agent/telemetry"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// keepLog lets the agent's own log be recorded too.
func (r *runner) keepLog() {
	r.ownLog = capture.NewOwnLog(systemd.NewHandler)
	r.Log = slog.New(r.ownLog.Handler(r.Log.Handler()))
}

// newRecorder joins what is recorded of the gateway to the level of diagnostics
// and to the queue of data files.
func (g *generation) newRecorder() *capture.Recorder {
	c := g.conf.Diagnostics
	if g.ownLog == nil {
		g.keepLog()
	}
	read := g.ReadClock
	if read == nil {
		read = clock.Read
	}
	rec := &capture.Recorder{
		Dir: filepath.Join(g.conf.Paths.State, "capture"), Types: c.Record, Units: c.JournalUnits,
		Every: c.Interval, MaxFile: c.MaxFile, Daily: c.DailyLimit, History: c.History,
		Level: g.recordLevel,
		Hand: func(ctx context.Context, typ, name, path string) error {
			_, err := g.uploads.Adopt(ctx, typ, "", name, path)
			return err
		},
		Redact: redact.Text, Now: g.clock.Now, BootID: read().BootID, OwnLog: g.ownLog,
		Log: g.Log.With("task", "recorder"),
	}
	rec.Listen()
	return rec
}

// recordLevel is the level of diagnostics in the words of the recorder.
func (g *generation) recordLevel() (capture.Level, <-chan struct{}) {
	s, changed := g.diagnostics.State()
	return capture.Level{On: s.Level.Level != telemetry.LevelNormal, Least: logLevels[s.DebugLevel]}, changed
}

// logLevels are the cloud's words for how much is logged.
var logLevels = map[string]slog.Level{
	"error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": slog.LevelDebug - 4,
}
