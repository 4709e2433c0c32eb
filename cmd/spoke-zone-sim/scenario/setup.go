package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A setup is what is there before anything is done.
type setup struct {
	life, window, grace time.Duration // of tokens
	clock               time.Duration // that the cloud is ahead
	seed                uint64
	modules             []module
	set                 []setting
	fresh               bool  // the factory has written no token yet
	installer           bool  // the privileged one has a policy and a hook
	disk                int64 // bytes of the file system of the state; 0: as large as there is
}

type module struct{ key, version, policy string }

type setting struct{ section, key, value string }

func newSetup() setup {
	return setup{life: cloudtest.DefaultTokenLife, window: cloudtest.DefaultWindow, grace: cloudtest.DefaultGrace, seed: 1}
}

// machine reports whether the gateway needs a machine of its own: file systems
// and processes that are nobody else's.
func (s *Scenario) machine() bool {
	cut := false
	for _, st := range s.steps {
		cut = cut || strings.HasPrefix(st.text, "power ")
	}
	return cut || s.setup.installer || s.setup.disk > 0
}

// settings are the statements before the play.
var settings = []form[func(*Scenario) error]{
	{"shows TEXT...", "Say which guarantee the scenario shows. Several lines make one text.",
		func(w words) func(*Scenario) error {
			return func(s *Scenario) error {
				s.Shows = strings.TrimSpace(s.Shows + " " + strings.Join(w["TEXT"], " "))
				return nil
			}
		}},
	{"cloud OPTION...", "How long tokens live, how long before and after their expiry they are renewed (7d, 12h and 12h unless said), how far the cloud's clock is ahead, and the seed of faults that are drawn.",
		func(w words) func(*Scenario) error {
			return func(s *Scenario) error {
				for _, option := range w["OPTION"] {
					s.setup.option(option)
				}
				if s.setup.window < time.Second || s.setup.life < time.Second {
					return errors.New("life and window are 1s at least")
				}
				return nil
			}
		}},
	{"gateway new", "The factory has not written the gateway's token yet: `provision` does.",
		func(words) func(*Scenario) error {
			return func(s *Scenario) error { s.setup.fresh = true; return nil }
		}},
	{"module MODULE VERSION notify|fetch|install", "A module of the gateway, the version that is installed, and what is done about updates.",
		func(w words) func(*Scenario) error {
			return func(s *Scenario) error {
				for _, m := range s.setup.modules {
					if m.key == w.one("MODULE") {
						return fmt.Errorf("there is a module %s already", m.key)
					}
				}
				s.setup.modules = append(s.setup.modules, module{w.one("MODULE"), w.one("VERSION"), w.one("notify|fetch|install")})
				return nil
			}
		}},
	{"set SETTING TEXT...", "A setting of agent.conf, such as `set ota.rate_limit 2MiB`.",
		func(w words) func(*Scenario) error {
			return func(s *Scenario) error {
				name := w.one("SETTING")
				dot := strings.LastIndex(name, ".")
				s.setup.set = append(s.setup.set, setting{name[:dot], name[dot+1:], strings.Join(w["TEXT"], " ")})
				return nil
			}
		}},
	{"installer", "The privileged installer is there, without systemd, with the shipped hook `file` for each module and a key that signs what is offered. Needs root or user namespaces.",
		func(words) func(*Scenario) error {
			return func(s *Scenario) error { s.setup.installer = true; return nil }
		}},
	{"disk SIZE", "The agent's state is on a file system of that size. Needs root or user namespaces.",
		func(w words) func(*Scenario) error {
			return func(s *Scenario) error { s.setup.disk = w.size("SIZE"); return nil }
		}},
}

func (s *setup) spans() map[string]*time.Duration {
	return map[string]*time.Duration{"life": &s.life, "window": &s.window, "grace": &s.grace, "clock": &s.clock}
}

// option takes NAME=VALUE, which has been checked.
func (s *setup) option(text string) {
	name, value, _ := strings.Cut(text, "=")
	if to := s.spans()[name]; to != nil {
		*to, _ = parseSpan(value)
		return
	}
	s.seed, _ = strconv.ParseUint(value, 10, 64)
}

func checkOption(text string) error {
	name, value, _ := strings.Cut(text, "=")
	if new(setup).spans()[name] != nil {
		_, err := parseSpan(value)
		return err
	}
	_, err := strconv.ParseUint(value, 10, 64)
	return errors.Join(err, need(name == "seed"))
}
