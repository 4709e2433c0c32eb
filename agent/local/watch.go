package local

import (
	"encoding/json"
	"net/http"
	"time"
)

// watchBuffer bounds what the kernel keeps for a watcher that does not read, in
// bytes: the lines in it are old by the time they are read.
const watchBuffer = 8 << 10

// An AccountState is one line of the answer to a watch. Token is absent while
// there is none.
type AccountState struct {
	Account string    `json:"account"`
	State   string    `json:"state"` // as in Token
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Stale   bool      `json:"stale"` // the cloud is not known to take the token
	Reason  string    `json:"reason,omitempty"`
}

// String tells the account alone.
func (a AccountState) String() string { return "state of " + a.Account }

// GoString is as String.
func (a AccountState) GoString() string { return a.String() }

// watchAccount writes the account's state in force, then each change, until the
// peer leaves or the agent stops. Nothing is queued: a watcher that reads
// slowly finds the newest state when it comes to it, and one that does not read
// for 30 s is sent away.
func (c *calls) watchAccount(w http.ResponseWriter, r *http.Request, p peer) error {
	account, err := pathName(r, "account")
	if err != nil {
		return err
	}
	if c.Follow == nil {
		return Errorf(NotFound, "there is no account %q", account)
	}
	narrow(r)
	var last AccountState
	given := ""
	for begun := false; ; {
		s, changed, err := c.Follow(account)
		switch {
		case err != nil && !begun:
			return err
		case err != nil:
			return nil // the account was taken away: the watch ends
		}
		s.Account, s.Expires, s.Reason = account, wireTime(s.Expires), string(scrub([]byte(s.Reason)))
		if s != last || !begun {
			line, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if !begun {
				c.begin(w, ndjson)
			}
			if s.Token != "" && s.Token != given {
				c.audit.note(c.Log, account, "watch", p, time.Now())
				given = s.Token
			}
			if c.write(w, append(line, '\n')) != nil {
				return nil // the peer has left, or does not read
			}
			last, begun = s, true
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-changed:
		}
	}
}

// narrow keeps the kernel from queueing much for the peer of r.
func narrow(r *http.Request) {
	if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
		if conn, ok := g.Conn.(interface{ SetWriteBuffer(int) error }); ok {
			_ = conn.SetWriteBuffer(watchBuffer) // then it queues more
		}
	}
}
