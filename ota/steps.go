package ota

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// check reads the catalogue and acts on it.
func (w *worker) check(ctx context.Context, fetch bool) error {
	installed, ierr := Version(""), error(nil)
	if w.mod.Installed != nil {
		installed, ierr = w.mod.Installed(ctx)
	}
	files, refused, err := w.m.Source.catalogue(ctx, w.mod.Key)
	if err != nil {
		return err
	}
	for _, err := range refused {
		w.log.Warn("release refused", "err", err)
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	if err := w.advance(ctx); err != nil {
		return err
	}
	w.listing = fingerprint(files)
	denied, err := w.room.denied()
	if err != nil {
		return err
	}
	now := time.Now()
	s := situation{
		phase: w.room.rec.State, held: w.room.held, files: files, module: w.mod.Key,
		installed: installed, known: ierr == nil, downgrade: w.mod.AllowDowngrade,
		fetch: (fetch || w.mod.Policy != Notify) && w.storage == nil,
		denied: func(f File) (string, bool) {
			for _, d := range denied {
				if !fetch && d.holds(f, w.listing, now) { // who asks by hand may
					return d.Reason, true
				}
			}
			return "", false
		},
	}
	p := s.plan()
	w.found(p, installed, ierr, refused)
	if err := w.follow(ctx, p); err != nil {
		return err
	}
	if !fetch {
		return nil
	}
	switch {
	case w.storage != nil:
		return w.storage
	case ierr != nil:
		return fmt.Errorf("installed version: %w", ierr)
	case w.room.rec.State == Idle && installed != "":
		return fmt.Errorf("%w: no active release is newer than %s", ErrNothing, installed)
	case w.room.rec.State == Idle:
		return fmt.Errorf("%w: no active release", ErrNothing)
	case w.dl != nil:
		select {
		case w.dl.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// found tells what a check saw.
func (w *worker) found(p plan, installed Version, ierr error, refused []error) {
	w.m.show(w.index, func(s *ModuleStatus) {
		if p.ok && (s.Offered == nil || s.Offered.ID != p.offer.ID) {
			w.log.Info("newer release", "version", p.offer.Version, "installed", installed)
		}
		s.LastCheck, s.LastError, s.Denied = time.Now(), "", p.denied
		s.Installed, s.Offered, s.Refused = installed, nil, nil
		if ierr != nil {
			s.LastError = fmt.Sprintf("installed version unknown: %v", ierr)
		}
		if p.ok {
			s.Offered = p.offer.release()
		}
		for _, err := range refused {
			s.Refused = append(s.Refused, err.Error())
		}
	})
}

// follow does what was planned.
func (w *worker) follow(ctx context.Context, p plan) error {
	if p.drop != "" {
		w.stop()
		w.log.Info("release given up", "version", w.room.held.Version, "err", p.drop)
		if err := w.room.end(Withdrawn, p.drop, nil); err != nil {
			return err
		}
		w.reveal()
	}
	if !p.start {
		return nil
	}
	if w.room.rec.State == Idle {
		installed := Version("")
		w.m.show(w.index, func(s *ModuleStatus) { installed = s.Installed })
		policy := w.mod.Policy
		if policy == Notify {
			policy = Fetch // asked for by hand
		}
		if err := w.room.begin(p.offer, installed, policy); err != nil {
			return err
		}
	}
	if w.room.rec.State == Selected {
		if err := w.room.move(Downloading, nil); err != nil {
			return err
		}
	}
	return w.advance(ctx)
}

// advance takes every step that needs no decision.
func (w *worker) advance(ctx context.Context) error {
	var err error
	switch w.room.rec.State {
	case Downloading:
		if w.dl == nil && w.storage == nil {
			w.download(ctx)
		}
	case Verified:
		err = w.room.move(Ready, nil)
	case Failed, Withdrawn:
		err = w.room.clear()
	}
	w.reveal()
	return err
}

// download starts fetching what is held.
func (w *worker) download(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	dl := &running{cancel: cancel, wake: make(chan struct{}, 1), done: make(chan result, 1)}
	f := w.room.held
	d := Download{
		Dir: w.room.txn(), ID: f.ID, Open: w.m.Source.Open,
		Listed:  func(ctx context.Context) (bool, error) { return w.m.Source.listed(ctx, f) },
		MaxSize: w.m.MaxSize, Limit: w.m.limiter, Progress: w.progress, Wake: dl.wake,
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
		if failure.Later || w.listing == "" {
			d.Until = time.Now().UTC().Add(denyTime)
		} else {
			d.Listing = w.listing
		}
		return w.room.end(Failed, failure.Error(), &d)
	}
	return r.err
}

// progress is called by the download.
func (w *worker) progress(p Progress) {
	w.m.show(w.index, func(s *ModuleStatus) {
		s.Bytes, s.Total, s.Rate = p.Bytes, max(p.Total, 0), p.Rate
		s.Attempt, s.NextTry, s.LastError = p.Attempt, p.NextTry, ""
		if p.Err != nil {
			s.LastError = p.Err.Error()
		}
	})
}

// reveal tells where the record stands.
func (w *worker) reveal() {
	rec, held, outcome := w.room.rec, w.room.held, w.room.outcome()
	w.m.show(w.index, func(s *ModuleStatus) {
		if held.ID == "" || s.Held == nil || s.Held.ID != held.ID || rec.State != s.Phase {
			s.Bytes, s.Total, s.Rate, s.Attempt, s.NextTry = 0, 0, 0, 0, time.Time{}
		}
		s.Phase, s.Since, s.Outcome = rec.State, rec.Since, outcome
		s.Held, s.SHA256, s.Payload = nil, "", ""
		if rec.State != Idle {
			s.Held = held.release()
		}
		if rec.State == Ready {
			p := w.room.payload()
			s.Bytes, s.Total, s.SHA256, s.Payload = p.Size, p.Size, p.SHA256, p.Path
		}
	})
}
