package mqtt

import (
	"slices"
	"time"
)

// usable returns the filters to subscribe: those that MQTT knows, and the
// optional ones unless they got us kicked. Topics are unique in it.
func (s *Session) usable(filters []Filter) []Filter {
	var out []Filter
	for _, f := range filters {
		if f.Optional && s.optionalOff || slices.ContainsFunc(out, func(o Filter) bool { return o.Topic == f.Topic }) {
			continue
		}
		if err := f.check(); err != nil {
			s.tell(f, "err", err)
			continue
		}
		out = append(out, f)
	}
	return out
}

// accepted records a CONNACK with code 0.
func (s *Session) accepted(cred Credential, present bool) {
	s.note(func(st *Status) {
		st.Connects++
		st.OnlineAt, st.SessionPresent = time.Now(), present
	})
	if s.OnAccepted != nil {
		s.OnAccepted(cred)
	}
}

// online records that the session can be used.
func (s *Session) online(cred Credential, asked, refused []Filter) {
	for _, f := range asked {
		if slices.Contains(refused, f) {
			s.tell(f)
		} else {
			delete(s.told, f.Topic)
		}
	}
	s.note(func(st *Status) {
		st.State, st.Err, st.Cause, st.Attempt, st.NextTry = Online, "", "", 0, time.Time{}
		st.OptionalLeft, st.BreakFirst = s.optionalOff, s.breakFirst
		st.FiltersRefused = nil
		for _, f := range cred.Filters {
			if !f.Optional && s.told[f.Topic] {
				st.FiltersRefused = append(st.FiltersRefused, f.Topic)
			}
		}
	})
	s.log().Info("connected to the broker", "broker", s.Broker)
}

// tell logs the refusal of a filter once, until it is accepted again. An
// optional one is expected to be refused somewhere.
func (s *Session) tell(f Filter, args ...any) {
	if s.told[f.Topic] {
		return
	}
	s.told[f.Topic] = true
	if !f.Optional {
		s.log().Warn("subscription refused", append([]any{"topic", clip(f.Topic)}, args...)...)
	}
}

// conclude records and logs how an attempt ended.
func (s *Session) conclude(e ending, cred Credential, r *retries, next time.Time) {
	now := time.Now()
	s.note(func(st *Status) {
		st.State, st.Held, st.BreakFirst = Offline, "", s.breakFirst
		st.Cause, st.Err, st.Attempt, st.NextTry = e.cause, e.err.Error(), r.failures, next
		if e.up > 0 {
			st.OfflineAt = now
		}
		switch e.cause {
		case CauseRefused:
			st.State = Refused
			st.Refusals++
		case CauseKicked:
			st.Kicks++
		}
	})
	switch e.cause {
	case CauseSuperseded:
		s.optionalOff = false
		s.log().Info("connecting again with the new credential")
		return
	case CauseAsked:
		s.log().Info("connecting again as asked")
		return
	case CauseKicked:
		s.suspect(cred, r)
	}
	if closedByPeer(e.err) && e.link != nil {
		if topic, ok := s.window.ended(e.link, e.cause == CauseKicked); ok {
			s.log().Warn("message given up: the broker ends each connection that carries it", "topic", clip(topic))
		}
	}
	s.log().Warn("broker connection failed", "err", e.err, "attempt", r.failures, "retry_in", time.Until(next).Round(time.Millisecond))
	if e.cause == CauseRefused && s.OnRefused != nil {
		s.OnRefused(cred, e.err)
	}
}

// suspect looks for what of ours the broker may answer by closing.
func (s *Session) suspect(cred Credential, r *retries) {
	optional := slices.ContainsFunc(cred.Filters, func(f Filter) bool { return f.Optional })
	if optional && r.kicks >= kicksWithOptional && !s.optionalOff {
		s.optionalOff = true
		s.log().Warn("leaving out optional subscriptions: the broker ends the connection")
	}
}

// held records that the connection stays with the credential before.
func (s *Session) held(e ending, cred Credential, r *retries, next time.Time) {
	s.note(func(st *Status) {
		st.Held, st.NextTry = e.err.Error(), next
		if e.cause == CauseRefused {
			st.Refusals++
		}
	})
	s.log().Warn("new credential not in use: the connection stays as it is", "err", e.err, "attempt", r.failures, "retry_in", time.Until(next).Round(time.Millisecond))
	if e.cause == CauseRefused && s.OnRefused != nil {
		s.OnRefused(cred, e.err)
	}
}
