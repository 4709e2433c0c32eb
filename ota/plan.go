package ota

import "fmt"

// A situation is all that a check knows.
type situation struct {
	phase     Phase
	held      File // what a transaction is about, unless Idle
	files     []File
	module    string
	installed Version
	known     bool // installed is
	downgrade bool
	fetch     bool // more than reporting is wanted
	denied    func(File) (reason string, ok bool)
}

// A plan is what follows from a situation.
type plan struct {
	offer  File   // the release that the module should move to
	ok     bool   // there is one
	denied string // why the newest one is passed over
	drop   string // why what is held is given up; "" to keep it
	start  bool   // begin with offer, or go on with what is held
}

// plan decides. What is held is given up when the server took it back, when it
// is not newer than what is installed, and when there is a newer one to fetch.
func (s situation) plan() plan {
	var p plan
	if s.known {
		p.offer, p.ok, p.denied = s.choose()
	}
	if s.phase == Idle {
		p.start = p.ok && s.fetch
		return p
	}
	if !s.phase.MayBecome(Withdrawn) {
		return p // it is in the hands of the hook
	}
	switch {
	case !offers(s.files, s.held):
		p.drop = "taken back by the server"
	case p.ok && p.offer.ID == s.held.ID && p.offer.Version == s.held.Version:
		p.start = s.phase == Selected
		return p
	case p.ok && s.fetch:
		p.drop = fmt.Sprintf("replaced by %s", p.offer.Version)
	case s.known && !p.ok && p.denied == "":
		p.drop = fmt.Sprintf("not needed: %s is installed", s.installed)
	default:
		p.start = s.phase == Selected
		return p
	}
	p.start = p.ok && s.fetch
	return p
}

// choose is Newest without what is denied. If the newest is denied, another one
// may take its place, but never a step back: that is the operator's word alone,
// and the operator's word is the one that is denied.
func (s situation) choose() (f File, ok bool, denied string) {
	f, ok = Newest(s.files, s.module, s.installed, s.downgrade)
	if !ok {
		return f, false, ""
	}
	reason, no := s.denied(f)
	if !no {
		return f, true, ""
	}
	var rest []File
	for _, g := range s.files {
		if _, no := s.denied(g); !no {
			rest = append(rest, g)
		}
	}
	newest := f.Version
	f, ok = Newest(rest, s.module, s.installed, false)
	return f, ok, fmt.Sprintf("%s is passed over: %s", newest, reason)
}
