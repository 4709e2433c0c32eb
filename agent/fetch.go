package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// fetch has the module's offer fetched, and returns when it is at hand, or with
// the reason for which it waits for another try.
func (g *generation) fetch(ctx context.Context, module string) error {
	if err := g.provisioned(); err != nil {
		return err
	}
	if err := g.updates.Fetch(ctx, module); err != nil {
		return err
	}
	for {
		list, changed := g.updates.Status()
		if over, err := fetched(list, module); over {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fetched reports whether the module's fetch is over for now, and what went
// wrong.
func fetched(list []ota.ModuleStatus, module string) (over bool, err error) {
	i := slices.IndexFunc(list, func(s ota.ModuleStatus) bool { return s.Module == module })
	if i < 0 {
		return true, nil
	}
	s := list[i]
	switch s.Phase {
	case ota.Selected, ota.Downloading, ota.Verified:
		if !s.NextTry.IsZero() {
			return true, fmt.Errorf("fetch %s: %s", s.Module, s.LastError)
		}
		return false, nil
	}
	return true, nil
}
