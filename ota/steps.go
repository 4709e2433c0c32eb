package ota

import (
	"context"
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
