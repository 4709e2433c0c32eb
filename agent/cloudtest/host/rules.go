package host

import (
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Fault names one thing that a simulated cloud can do wrong, or differently
// from its default where the vendor's documents leave the truth open.
type Fault string

// FaultInfo describes a Fault for people: flags, the admin API and the manual
// are made of it.
type FaultInfo struct {
	Name    Fault
	Doc     string
	Arg     string // what the argument is, empty for none
	Default string // the argument when none is given
	Check   func(arg string) error
}

// Info returns the description of a fault; check is nil if it takes no
// argument.
func Info(name Fault, doc, arg, def string, check func(arg string) error) FaultInfo {
	return FaultInfo{name, doc, arg, def, check}
}

// Rules are the faults of one cloud and their positions. Its methods may be
// called from any goroutine.
type Rules struct {
	table      []FaultInfo
	operations []string
	anywhere   []Fault // cannot be limited to operations

	mu    sync.Mutex
	rand  *mathrand.Rand
	rules map[Fault]*rule
}

type rule struct {
	Switch
	seen int // for every
}

// NewRules returns the faults of table, all off, with draws from seed.
// Operations are what a Switch can be limited to, save those of the faults
// named by anywhere.
func NewRules(table []FaultInfo, operations []string, seed uint64, anywhere ...Fault) *Rules {
	return &Rules{
		table: table, operations: operations, anywhere: anywhere,
		rand: mathrand.New(mathrand.NewPCG(seed, 1)), rules: map[Fault]*rule{},
	}
}

// Table describes every fault.
func (r *Rules) Table() []FaultInfo { return slices.Clone(r.table) }

// Set turns a fault on or off. It returns an error for an unknown fault, a bad
// argument or an unknown operation.
func (r *Rules) Set(name Fault, s Switch) error {
	i := slices.IndexFunc(r.table, func(f FaultInfo) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("fault %q: there is none of that name", name)
	}
	info := r.table[i]
	switch {
	case s.arg == "":
		s.arg = info.Default
	case info.Check == nil:
		return fmt.Errorf("fault %s: takes no argument, got %q", name, s.arg)
	}
	if info.Check != nil {
		if err := info.Check(s.arg); err != nil {
			return fmt.Errorf("fault %s: argument %q: want %s", name, s.arg, info.Arg)
		}
	}
	if len(s.ops) > 0 && slices.Contains(r.anywhere, name) {
		return fmt.Errorf("fault %s: cannot be limited to operations", name)
	}
	for _, op := range s.ops {
		if !slices.Contains(r.operations, op) {
			return fmt.Errorf("fault %s: operation %q: want %s", name, op, strings.Join(r.operations, ", "))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules[name] = &rule{Switch: s}
	return nil
}

// Switches returns the position of every fault that is not off.
func (r *Rules) Switches() map[Fault]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	on := map[Fault]string{}
	for name, rule := range r.rules {
		if s := rule.String(); s != "off" {
			on[name] = s
		}
	}
	return on
}

// Roll decides whether the fault happens to this operation, and with what
// argument. It counts, so it is asked once for each chance.
func (r *Rules) Roll(name Fault, op string) (arg string, happens bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rule := r.rules[name]
	if rule == nil || len(rule.ops) > 0 && !slices.Contains(rule.ops, op) {
		return "", false
	}
	switch {
	case rule.times < 0:
	case rule.times > 0:
		rule.times--
	case rule.every > 0:
		if rule.seen++; rule.seen%rule.every != 0 {
			return "", false
		}
	case rule.share > 0:
		if r.rand.Float64() >= rule.share {
			return "", false
		}
	default:
		return "", false
	}
	return rule.arg, true
}

// IsDuration checks an argument such as 90s or -24h.
func IsDuration(s string) error { _, err := time.ParseDuration(s); return err }

// IsDurationOrNone checks an argument that may also be the word none.
func IsDurationOrNone(s string) error {
	if s == "none" {
		return nil
	}
	return IsDuration(s)
}

// IsSize checks a number that is not negative.
func IsSize(s string) error { _, err := strconv.ParseUint(s, 10, 62); return err }

// IsStatus checks a status of HTTP that says that something went wrong.
func IsStatus(s string) error {
	n, err := strconv.Atoi(s)
	if err == nil && (n < 400 || n > 599 || http.StatusText(n) == "") {
		err = strconv.ErrRange
	}
	return err
}

// OneOf checks that an argument is one of words.
func OneOf(words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return strconv.ErrSyntax
		}
		return nil
	}
}
