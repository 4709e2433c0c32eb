// Package doctor finds out what is wrong with an agent and its gateway, and how
// to cure it.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// usualPatience bounds each check.
const usualPatience = 5 * time.Second

// A Verdict is how a check ended.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // it works, or may, but a person should look
	Fail Verdict = "fail" // it does not work before somebody acts
)

// A Finding is what one check found.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Cure    string  `json:"cure,omitempty"` // what to do
}

// A Doctor examines one gateway. Only ConfigPath and Status are needed.
type Doctor struct {
	ConfigPath string
	Version    string // of the program that examines
	Built      time.Time
	// Status asks the daemon; its error is local.ErrNotRunning where there is
	// none.
	Status func(ctx context.Context) (local.Status, error)

	// Dial and Lookup reach the network; the system's if nil.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Lookup func(ctx context.Context, host string) ([]string, error)

	patience time.Duration    // bounds each check; usualPatience if 0
	now      func() time.Time // time.Now if nil
	root     string           // where the files of the system are, "" outside of tests

	disk func(dir string) (room int64, name string, err error) // statfs if nil
	try  func(dir string) error                                // writable if nil
}

// A patient is what the checks look at.
type patient struct {
	*Doctor
	conf     conf.Config
	confErr  error
	identity conf.IdentityFile
	idErr    error
	status   local.Status
	running  error // why there is no status
}

// Examine makes every check and returns the findings in their order. Checks
// that need the network run side by side; none takes longer than 5 s.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	p := &patient{Doctor: d}
	p.conf, p.confErr = conf.Load(d.ConfigPath)
	p.identity, p.idErr = conf.ReadIdentity(p.conf.Paths.Identity)
	patience := cmp.Or(d.patience, usualPatience)
	ask, cancel := context.WithTimeout(ctx, patience)
	p.status, p.running = d.Status(ask)
	cancel()

	checks := []struct {
		name string
		do   func(context.Context) []Finding
	}{
		{"settings", p.settings},
		{"identity file", p.identityFile},
		{"cpu_id", p.cpuID},
		{"uuid", p.uuid},
		{"clock", p.clock},
		{"state", p.state},
		{"api", p.api},
		{"broker", p.broker},
		{"token", p.token},
		{"daemon", p.daemon},
		{"session", p.session},
		{"spool", p.spool},
		{"installer", p.installer},
	}
	found := make([][]Finding, len(checks))
	var g errgroup.Group
	for i, c := range checks {
		g.Go(func() error {
			found[i] = within(ctx, patience, c.do)
			for j := range found[i] {
				found[i][j].Check = c.name
			}
			return nil
		})
	}
	_ = g.Wait() // no check has an error: what it finds is its answer
	var all []Finding
	for _, f := range found {
		all = append(all, f...)
	}
	return all
}

// within makes a check, or says that it took too long: a file system on a
// network that is gone never answers.
func within(ctx context.Context, patience time.Duration, check func(context.Context) []Finding) []Finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan []Finding, 1)
	var g errgroup.Group
	g.Go(func() error { done <- check(ctx); return nil })
	select {
	case f := <-done:
		return f
	case <-ctx.Done():
	}
	select { // it may end by the same deadline, and say more
	case f := <-done:
		return f
	case <-time.After(patience / 10):
		return warn("it did not end within "+patience.String(), "look for file systems and servers that do not answer")
	}
}

// Worst is the verdict on all findings.
func Worst(all []Finding) Verdict {
	worst := OK
	for _, f := range all {
		if f.Verdict == Fail || worst == OK {
			worst = f.Verdict
		}
	}
	return worst
}

func ok(text string) []Finding         { return []Finding{{Verdict: OK, Text: text}} }
func warn(text, cure string) []Finding { return []Finding{{Verdict: Warn, Text: text, Cure: cure}} }
func fail(text, cure string) []Finding { return []Finding{{Verdict: Fail, Text: text, Cure: cure}} }

func (d *Doctor) time() time.Time {
	if d.now != nil {
		return d.now()
	}
	return time.Now()
}

// up reports whether the daemon answers.
func (p *patient) up() bool { return p.running == nil }

func stopped(err error) bool { return errors.Is(err, local.ErrNotRunning) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
