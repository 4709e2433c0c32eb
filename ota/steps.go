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
	now, free := w.m.moment().Wall, int64(0)
	if space, err := w.m.FS.Space(w.m.Dir); err == nil {
		free = space.Free
	}
	s := situation{
		phase: w.room.rec.State, held: w.room.held, files: files, module: w.mod.Key,
		installed: installed, known: ierr == nil, downgrade: w.mod.AllowDowngrade,
		fetch: (fetch || w.mod.Policy != Notify) && w.storage == nil,
		denied: func(f File) (string, bool) {
			if why := w.mod.refusal(f); why != "" {
				return why, true // also to who asks by hand
			}
			for _, d := range denied {
				if !fetch && d.holds(f, w.listing, now, free) { // who asks by hand may
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
	case w.room.rec.State == Idle && p.denied != "":
		return fmt.Errorf("%w: %s", ErrNothing, p.denied)
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
	if p.drop != "" && w.room.rec.State == Downloading {
		w.halt() // it only asks what the hook can do
	}
	if p.drop != "" && w.hook == nil {
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
		w.informed = false
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
	defer w.reveal()
	switch {
	case w.hook != nil || w.room.rec.State == Idle && !w.room.lost || w.room.rec.State == Selected:
		return nil
	case w.room.rec.State == Downloading && !w.room.lost:
		if w.dl == nil && w.storage == nil && !w.inform(ctx) {
			w.download(ctx)
		}
		return nil
	case w.room.rec.State == Ready && !w.room.lost:
		w.consider(ctx)
	default:
		w.learn(ctx, event{kind: started})
	}
	if w.room == nil {
		return errUnrecorded
	}
	return nil
}

// errUnrecorded means that the record is to be read again from the disk.
var errUnrecorded = errors.New("the update's record could not be written")
