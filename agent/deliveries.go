package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/deliver"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// newDelivery joins an account's token to the files and programs that its
// settings name. It is nil where they name none.
func (g *generation) newDelivery(acc accountInForce) (*deliver.Account, error) {
	if len(acc.Conf.Deliver) == 0 {
		return nil, nil
	}
	targets, err := targetsOf(acc.Conf)
	if err != nil {
		return nil, err
	}
	records := filepath.Join(g.accountDirectory(acc.Name), "told")
	if err := os.MkdirAll(records, 0o700); err != nil {
		g.Log.Warn("deliveries are not remembered", "task", "deliver", "account", acc.Name, "err", err)
	}
	d := &deliver.Account{
		Name: acc.Name, Targets: targets, Records: records,
		Current: func() (deliver.Token, bool, <-chan struct{}) {
			tok, ok, changed := acc.Newest()
			return deliver.Token{Account: acc.Name, Value: tok.Raw(), Expires: tok.Expires}, ok && !tok.IsZero(), changed
		},
		Edit: conf.SetKey,
		Log:  g.Log.With("task", "deliver"),
	}
	d.Prepare()
	return d, nil
}

// targetsOf puts the settings' words into the deliveries'.
func targetsOf(c conf.Account) (targets []deliver.Target, err error) {
	for _, d := range c.Deliver {
		t := deliver.Target{ID: d.ID, File: d.File, Mode: d.Mode, Owner: d.Owner, Group: d.Group}
		if t.Format, err = deliver.ParseFormat(d.Format); err != nil {
			return nil, fmt.Errorf("deliver.%s.format: %w", d.ID, err)
		}
		if t.Notify, err = deliver.ParseNotify(d.Notify); err != nil {
			return nil, fmt.Errorf("deliver.%s.notify: %w", d.ID, err)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// deliveriesStatus is how the deliveries of an account are.
func deliveriesStatus(d *deliver.Account) (list []local.Delivery) {
	if d == nil {
		return nil
	}
	for _, s := range d.Status() {
		list = append(list, local.Delivery{
			ID: s.ID, File: s.File, State: string(s.State), Since: s.Since, Written: s.Written, Told: s.Told,
			Error: s.Error, Attempt: s.Attempt, NextTry: s.NextTry,
		})
	}
	return list
}

// deliveryProblems are sentences for the person at the gateway.
func deliveryProblems(acc accountInForce) (p []string) {
	if acc.delivery == nil {
		return nil
	}
	for _, s := range acc.delivery.Status() {
		if s.State == deliver.Failing {
			p = append(p, "account "+acc.Name+": delivery "+s.ID+": "+s.Error)
		}
	}
	return p
}

// DeliveryWarnings are sentences on deliveries of the accounts in dir that a
// unit which may write to the directories alone will not make.
func DeliveryWarnings(dir string, writable []string) (all []string) {
	confs, _ := conf.LoadAccounts(dir) // its faults are told elsewhere
	for _, c := range confs {
		targets, err := targetsOf(c)
		if err != nil {
			continue
		}
		for _, t := range targets {
			for _, w := range t.Warnings(writable) {
				all = append(all, c.File+": deliver."+t.ID+": "+w)
			}
		}
	}
	return all
}
