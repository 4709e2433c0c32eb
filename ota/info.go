package ota

import (
	"context"
	"fmt"
	"strconv"
)

// What the hook's info tells, by the keys of the contract. It is kept with the
// update; its time-outs are the installer's business.
const (
	infoAPI      = "api"         // the version of the contract
	infoReboot   = "reboot"      // always, maybe or never
	infoRollback = "rollback"    // yes or no
	infoExtra    = "extra_bytes" // that must be free beside the payload
)

const maxExtra = 1 << 50 // bytes

// extra is how much the hook needs of the disk beside the payload.
func (r record) extra() int64 {
	n, err := strconv.ParseInt(r.Set[infoExtra], 10, 64)
	if err != nil || n < 0 || n > maxExtra {
		return 0
	}
	return n
}

// foreign tells what is wrong with a hook that speaks another contract, "" if
// nothing is.
func (r record) foreign() string {
	if api := r.Set[infoAPI]; api != "" && api != "1" {
		return fmt.Sprintf("the hook speaks version %s of the contract, and this agent 1", api)
	}
	return ""
}

// warning tells a person what installing means, by the hook's word.
func (r record) warning() string {
	text := ""
	if r.Set[infoReboot] == "always" {
		text = "; the device reboots for it"
	}
	if r.Set[infoRollback] == "no" {
		text += "; it cannot be undone"
	}
	return text
}

// inform asks the hook what it can do, once for each update in each run of the
// agent: before the fetch, which needs to know of how much room there must be,
// and before the installation, if there was no answer then. It reports whether
// the answer is awaited.
func (w *worker) inform(ctx context.Context) bool {
	if w.informed || w.m.Installer == nil {
		return false
	}
	w.do(ctx, effect{do: call, verb: HookInfo})
	return true
}

// heard notes the end of a verb.
func (w *worker) heard(ctx context.Context, ev event) {
	switch {
	case ev.kind != ended:
	case ev.verb == HookCheck:
		w.checked = ev.err == nil && ev.result.Code == HookOK
	case ev.verb == HookInfo:
		w.informed = ev.err == nil
		if w.room.rec.State == Downloading && w.dl == nil && w.storage == nil {
			w.download(ctx) // whether there was an answer or not
		}
	}
}
