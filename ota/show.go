package ota

import "time"

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
	if w.room == nil {
		return
	}
	rec, held, outcome := w.room.rec, w.room.held, w.room.outcome()
	if !rec.State.Installs() && rec.State != Ready || rec.State == Ready && w.hook == nil {
		w.m.turns.release(w.index)
	}
	if w.room.lost {
		w.m.show(w.index, func(s *ModuleStatus) { s.Fault = "it is not known how far the update to " + string(rec.To) + " came" })
		return
	}
	w.m.show(w.index, func(s *ModuleStatus) {
		if held.ID == "" || s.Held == nil || s.Held.ID != held.ID || rec.State != s.Phase {
			s.Bytes, s.Total, s.Rate, s.Attempt, s.NextTry = 0, 0, 0, 0, time.Time{}
		}
		s.Phase, s.Since, s.Outcome = rec.State, rec.Since, outcome
		if s.Phase != Ready {
			s.Waits = ""
		}
		s.Held, s.SHA256, s.Payload, s.Approved, s.Cause = nil, "", "", string(rec.Approved), rec.Reason
		s.Means = rec.warning()
		if w.storage == nil {
			s.Fault = ""
		}
		if rec.State != Idle {
			s.Held = held.release()
		}
		if rec.State == Ready || rec.State.Installs() {
			p := w.room.payload()
			s.Bytes, s.Total, s.SHA256, s.Payload = p.Size, p.Size, p.SHA256, p.Path
		}
	})
}
