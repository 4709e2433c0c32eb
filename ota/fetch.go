package ota

import (
	"context"
	"errors"
)

// download starts fetching what is held.
func (w *worker) download(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	dl := &running{cancel: cancel, wake: make(chan struct{}, 1), done: make(chan result, 1)}
	f := w.room.held
	d := Download{
		Dir: w.room.txn(), ID: f.ID, Open: w.m.Source.Open,
		Listed: func(ctx context.Context) (bool, error) { return w.m.Source.listed(ctx, f) },
		Due:    w.room.due, MaxSize: w.m.MaxSize, Extra: w.room.rec.extra(), Limit: w.m.limiter, budget: w.m.budget, Progress: w.progress, Wake: dl.wake,
		FS: w.m.FS, Rand: w.m.Rand, Log: w.log.With("version", f.Version),
	}
	w.log.Info("fetching", "version", f.Version)
	w.dl = dl
	w.group.Go(func() error {
		p, err := d.Run(ctx)
		dl.done <- result{p, err}
		return nil
	})
}

// stop ends the download, if one runs, and forgets its result.
func (w *worker) stop() {
	if w.dl != nil {
		w.dl.cancel()
		<-w.dl.done
		w.dl = nil
	}
}

// downloaded records how a download ended. It reports whether the catalogue
// should be looked at again soon.
func (w *worker) downloaded(ctx context.Context, r result) (again bool) {
	w.dl.cancel()
	w.dl = nil
	if ctx.Err() != nil {
		return false
	}
	err := w.recordResult(r)
	if errors.Is(r.err, ErrStorage) {
		w.storage = r.err
		w.log.Error("updates are off until the agent starts again", "err", r.err)
		w.m.show(w.index, func(s *ModuleStatus) { s.Fault = r.err.Error() })
		return false
	}
	if err == nil {
		err = w.advance(ctx)
	}
	if err != nil {
		w.log.Warn("download not finished", "err", err)
		w.blame(err)
		w.reveal()
		return true
	}
	return r.err != nil
}

func (w *worker) recordResult(r result) error {
	var failure *Failure
	version := w.room.held.Version
	switch {
	case r.err == nil:
		w.log.Info("fetched", "version", version, "bytes", r.payload.Size, "sha256", r.payload.SHA256)
		return w.room.move(Verified, func(rec *record) { rec.Size, rec.SHA256 = r.payload.Size, r.payload.SHA256 })
	case errors.Is(r.err, ErrWithdrawn):
		w.log.Info("release withdrawn", "version", version)
		return w.room.end(Withdrawn, "taken back by the server", nil)
	case errors.As(r.err, &failure):
		w.log.Error("download given up", "version", version, "err", r.err)
		d := denial{ID: w.room.held.ID, Version: version, Reason: failure.Error()}
		switch {
		case failure.Forever:
			d.Forever = true
		case failure.Later || w.listing == "":
			d.Until = w.m.moment().Wall.Add(denyTime)
		default:
			d.Listing = w.listing
		}
		return w.room.end(Failed, failure.Error(), &d)
	}
	return r.err
}
