package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// GuardAfter is how long the daemon may say nothing of an update that it has not
// proven.
const GuardAfter = 30 * time.Minute

// Guard undoes each update that is not proven and of which no daemon has said
// anything for so long: the new version may be an agent that does not start. What
// it did is what the next daemon is told. It is safe to be killed at any time.
func (i *Installer) Guard(ctx context.Context, after time.Duration) error {
	if err := i.init(); err != nil {
		return err
	}
	lock, err := i.alone(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := i.recover(ctx); err != nil {
		return err
	}
	notes, err := unproven(i.path("unproven")).all()
	for _, n := range notes {
		err = errors.Join(err, i.guard(ctx, n, after))
	}
	return errors.Join(err, i.results().prune(i.KeepDone))
}

func (i *Installer) guard(ctx context.Context, n note, after time.Duration) error {
	all := unproven(i.path("unproven"))
	log := i.Log.With("module", n.Request.Module, "version", n.Request.To)
	n, what := n.judge(sight{boot: i.boot, now: bootTime(), alive: daemonLives(i.Agent), after: after})
	switch what {
	case leaveIt:
		log.Info("update not proven yet", "quiet", n.Quiet.Round(time.Second))
		return all.save(n)
	case giveUp:
		log.Error("update neither proven nor undone: a person must see to it", "attempt", n.Tries)
		return all.save(n)
	}
	if rule, err := i.Rule(n.Request.Module); err == nil {
		n.Rule = rule
	} else {
		log.Warn("policy of the installation holds", "err", err)
	}
	if n.Rule.Rollback == "never" {
		log.Error("update not proven, and install.conf says rollback = never")
		return all.clear(n.Request.Module)
	}
	t, err := loadTxn(i.path("txn", n.Request.Module))
	if err != nil || !n.of(Request{Module: n.Request.Module, Seq: t.Seq, ID: t.ID, To: t.To}) {
		log.Warn("update not proven, and its files are gone", "err", err)
		return all.clear(n.Request.Module)
	}
	n.Tries++
	if err := all.save(n); err != nil {
		return err
	}
	return i.undo(ctx, n, t)
}

// undo goes back, unless the previous version runs. The daemon may be back before
// it has ended: what it will be told is durable before anything changes.
func (i *Installer) undo(ctx context.Context, n note, t *txn) error {
	all, log := unproven(i.path("unproven")), i.Log.With("module", n.Request.Module, "version", n.Request.To, "attempt", n.Tries)
	is, _, err := i.ask(ctx, n, t, ota.HookProbe)
	if err != nil || is == ota.HookRunning {
		return err
	}
	if is == ota.HookPrevious {
		log.Info("the previous version runs", "undone", n.Undone)
		return all.clear(n.Request.Module)
	}
	if n.Undone == "" {
		n.Undone = fmt.Sprintf("undone without the agent, which was not heard of for %v", n.Quiet.Round(time.Second))
	}
	t.Undone = n.Undone
	if err := errors.Join(all.save(n), t.save(), i.tell(n)); err != nil {
		return err
	}
	log.Warn("going back", "reason", n.Undone)
	code, text, err := i.ask(ctx, n, t, ota.HookRollback)
	switch {
	case err != nil:
		return err
	case code == ota.HookOKReboot:
		return i.reboot() // the next look finds what came of it
	case code != ota.HookOK:
		log.Error("not undone", "code", int(code), "err", text)
		return nil
	}
	if is, _, err = i.ask(ctx, n, t, ota.HookProbe); err != nil || is != ota.HookPrevious {
		log.Error("not undone", "code", int(is), "err", err)
		return err
	}
	log.Info("undone")
	return all.clear(n.Request.Module)
}

// tell answers the daemon's last request to install: this payload never.
func (i *Installer) tell(n note) error {
	q := n.Request
	return i.results().put(q.key(), Answer{Nonce: q.Nonce, ID: q.ID, To: q.To, Kind: Refused, Outcome: Outcome{Code: ota.HookReject, Text: n.Undone}})
}

// ask runs a verb of the hook on the guard's own behalf. The daemon sees that
// something runs.
func (i *Installer) ask(ctx context.Context, n note, t *txn, v ota.Verb) (ota.Code, string, error) {
	hook := t.kept()
	if hook == "" {
		installed, err := i.trust(n.Rule.HookPath(n.Request.Module))
		if err != nil {
			return 0, "", err
		}
		hook = installed
	}
	q := n.Request
	q.Verb, q.Attempt, q.Reason, q.Until, q.Nonce = v, n.Tries, n.Undone, 0, newNonce()
	j := i.job(q, t, i.policy(n.Rule), hook)
	j.Key, j.Guard = "guard-"+j.Key, true
	if err := i.results().mark(j.Key, mark{Nonce: q.Nonce, ID: q.ID, To: q.To, Module: q.Module, Verb: v, Boot: i.boot}); err != nil {
		return 0, "", err
	}
	if err := i.run(ctx, j); err != nil {
		return 0, "", err
	}
	a, ok, err := i.results().answer(j.Key)
	if err == nil && (!ok || a.Kind != Ran) {
		err = fmt.Errorf("%s: it is not known how it ended: %s", v, a.Text)
	}
	return a.Meaning(v), a.Text, err
}
