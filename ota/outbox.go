package ota

import (
	"context"
	"fmt"
	"time"
)

const (
	reportTime  = 30 * time.Second
	reportRetry = time.Minute
)

// report tells the cloud of outcomes that it does not know yet. They stay in
// done until it does; whether it works changes nothing else.
func (w *worker) report(ctx context.Context) {
	if w.room == nil || w.m.Report == nil || w.reporting != nil || time.Now().Before(w.reportAt) {
		return
	}
	names := w.room.unacked()
	if len(names) == 0 {
		return
	}
	done := make(chan error, 1)
	w.reporting, w.told = done, names
	w.group.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, reportTime)
		defer cancel()
		done <- w.m.Report(ctx, w.mod.Key)
		return nil
	})
}

// reported notes how that went.
func (w *worker) reported(err error) {
	w.reporting, w.reportAt = nil, time.Time{}
	if err == nil && w.room != nil {
		err = w.room.ack(w.told)
	}
	if err != nil {
		w.reportAt = time.Now().Add(reportRetry)
		w.log.Debug("outcome not reported", "err", err, "retry_in", reportRetry)
	}
}

// unacked are the names of the outcomes that are to be reported, of those that
// can be read.
func (r *room) unacked() (names []string) {
	all, err := r.fs.ReadDir(r.path("done"))
	if err != nil {
		return nil
	}
	for _, name := range all {
		var out outcome
		if r.readJSON(&out, "done", name) == nil && !out.Acked && out.State != Withdrawn {
			names = append(names, name)
		}
	}
	return names
}

// ack notes that the outcomes of these names were reported.
func (r *room) ack(names []string) error {
	for _, name := range names {
		var out outcome
		if err := r.readJSON(&out, "done", name); err != nil {
			continue // swept meanwhile
		}
		out.Acked = true
		if err := r.writeJSON(out, "done", name); err != nil {
			return fmt.Errorf("outcome %s: %w", name, err)
		}
	}
	return nil
}
