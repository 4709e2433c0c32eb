package local

import (
	"log/slog"
	"sync"
	"time"
)

const (
	auditEvery = 10 * time.Second // at most one line for a peer and an account
	maxAudited = 256              // known at a time
)

// An audit logs who was given which account's token. A peer that asks without
// end has one line in 10 s, which counts the others: a log that floods is as
// good as none.
type audit struct {
	mu    sync.Mutex
	peers map[auditKey]*audited
}

type auditKey struct {
	account string
	via     string // how, if not by asking for it: proxy, or the unit of a credential
	uid     uint32
	pid     int
}

type audited struct {
	at    time.Time
	times int // since at, without a line
}

// note logs that a token of the account was given to p, or used for it.
func (a *audit) note(log *slog.Logger, account, via string, p peer, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := auditKey{account, via, p.uid, p.pid}
	e := a.peers[key]
	if e != nil && now.Sub(e.at) < auditEvery {
		e.times++
		return
	}
	more := 0
	if e != nil {
		more = e.times
	}
	if a.peers == nil {
		a.peers = map[auditKey]*audited{}
	}
	if e == nil && len(a.peers) >= maxAudited {
		a.forget(log)
	}
	a.peers[key] = &audited{at: now}
	given(log, key, more)
}

func given(log *slog.Logger, key auditKey, more int) {
	args := []any{"account", key.account, "peer_uid", key.uid, "peer_pid", key.pid}
	if key.via != "" {
		args = append(args, "via", key.via)
	}
	if more > 0 {
		args = append(args, "times_before", more)
	}
	log.Info("token given", args...)
}

// forget drops the peer that was silent for longest, and tells what is not told.
func (a *audit) forget(log *slog.Logger) {
	var oldest auditKey
	var at time.Time
	for key, e := range a.peers {
		if at.IsZero() || e.at.Before(at) {
			oldest, at = key, e.at
		}
	}
	a.drop(log, oldest)
}

// close tells what is not told.
func (a *audit) close(log *slog.Logger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.peers {
		a.drop(log, key)
	}
}

func (a *audit) drop(log *slog.Logger, key auditKey) {
	if e := a.peers[key]; e != nil && e.times > 0 {
		given(log, key, e.times)
	}
	delete(a.peers, key)
}
