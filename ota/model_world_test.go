package ota

import (
	"context"
	"errors"
	"fmt"
)

// A world is what a hook changes: the system, as the abstract model of the
// update machine has it. A and B slots with a boot loader that may fall back know
// OLD, HALF (the other slot is half written), STAGED, NEWU (the new slot runs and
// is not confirmed), NEWC and BACK (the new slot runs, the old one is next); one
// partition knows OLD, HALF and NEW.
type world struct {
	slots    bool
	good     bool // the new version works
	weak     bool // rolling back may fail
	sys      string
	verified bool   // in this update
	last     string // how the newest install ended, durably: attempt and code
	fault    string // an invariant that was broken
}

// boots are what may run after a boot.
func (w world) boots() []string {
	if !w.slots {
		return []string{w.sys}
	}
	return map[string][]string{
		"OLD": {"OLD"}, "HALF": {"OLD"}, "STAGED": {"NEWU", "OLD"}, "NEWU": {"NEWU", "OLD"}, "NEWC": {"NEWC"}, "BACK": {"OLD"},
	}[w.sys]
}

// probe is what the hook says of it.
func (w world) probe() Code {
	if w.slots {
		return map[string]Code{"OLD": HookPrevious, "HALF": HookPrevious, "STAGED": HookStaged,
			"NEWU": HookActive, "NEWC": HookActive, "BACK": HookActive}[w.sys]
	}
	return map[string]Code{"OLD": HookPrevious, "HALF": HookDamaged, "NEW": HookActive}[w.sys]
}

func (w world) target() string {
	if w.slots {
		return "STAGED"
	}
	return "NEW"
}

func (w world) runsNew() bool { return w.sys == "NEW" || w.sys == "NEWU" || w.sys == "NEWC" }

func (w *world) blame(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

// between are the systems that a verb may leave when it is cut.
func (w world) between(v Verb) []string {
	switch {
	case v == HookInstall:
		return []string{"HALF", w.target()}
	case v == HookCommit && w.sys == "NEWU":
		return []string{"NEWC"}
	case v == HookRollback && w.slots:
		return []string{w.rolledBack()}
	case v == HookRollback:
		return []string{"HALF", "OLD"}
	}
	return nil
}

func (w world) rolledBack() string {
	if w.slots && (w.runsNew() || w.sys == "BACK") {
		return "BACK"
	}
	return "OLD"
}

// A stage is a world with what its hook is going to answer.
type stage struct {
	*world
	answer  Code
	payload func() bool // it is there
}

var _ Installer = stage{}

// liar is the answer of a hook that says OK and has not gone back.
const liar Code = -1

// answers are what a verb may answer in w.
func (w world) answers(v Verb) []Code {
	switch v {
	case HookCheck:
		return []Code{HookOK, HookReject}
	case HookInstall:
		codes := []Code{HookOK, HookChanged, HookReject, HookLater, HookRetry}
		if w.sys == "OLD" || w.slots {
			codes = append(codes, HookUnchanged)
		}
		return codes
	case HookCommit:
		return []Code{HookOK, HookRetry}
	case HookRollback:
		if w.weak {
			return []Code{HookOK, HookRetry, HookChanged, liar}
		}
	}
	return []Code{HookOK}
}

func (s stage) Do(_ context.Context, v Verb, t Txn) (Result, error) {
	code := s.answer
	switch v {
	case HookProbe:
		return Result{Code: s.probe()}, nil
	case HookInstall:
		if s.runsNew() || s.sys == "BACK" {
			s.blame("install over the running target (%s)", s.sys)
		}
		if !s.payload() {
			s.blame("the payload is gone while it is needed")
		}
		switch code {
		case HookOK:
			s.sys = s.target()
			if s.slots {
				code = HookOKReboot
			}
		case HookUnchanged:
			if s.slots {
				s.sys = "HALF"
			}
		case HookChanged, HookRetry:
			s.sys = "HALF"
		}
		s.last = fmt.Sprint(t.Attempt, code)
	case HookVerify:
		if !s.good || !s.runsNew() {
			return Result{Code: HookUnchanged}, nil
		}
		s.verified = true
	case HookCommit:
		if !s.verified {
			s.blame("commit without a verify that passed")
		}
		if code == HookOK && s.sys == "NEWU" {
			s.sys = "NEWC"
		}
	case HookRollback:
		if code == HookOK {
			if s.sys = s.rolledBack(); s.sys == "BACK" {
				code = HookOKReboot
			}
		} else if code != HookRetry && !s.slots {
			s.sys = "HALF"
		}
		if code == liar {
			if code = HookOK; s.slots && s.runsNew() {
				code = HookOKReboot
			}
		}
	}
	return Result{Code: code}, nil
}

func (s stage) Last(_ context.Context, _ Verb, t Txn) (Result, bool, error) {
	var attempt, code int
	if n, _ := fmt.Sscan(s.last, &attempt, &code); n == 2 && attempt == t.Attempt {
		return Result{Code: Code(code)}, true, nil
	}
	return Result{}, false, nil
}

func (s stage) Running(context.Context, Txn) (<-chan struct{}, error) { return nil, nil }

func (s stage) Reboot(context.Context, Txn) error { return errors.New("the test reboots") }
