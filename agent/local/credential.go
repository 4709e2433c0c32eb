package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// unitName is enough of one for a log (systemd.unit(5)).
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]+$`)

// credentialsWait bounds what waits for a token at a time.
const credentialsWait = 32

// handOut answers systemd's LoadCredential= at ln until ctx is done: who
// connects gets the bare token of the account that the credential is named for,
// and the end of the stream. There is no way to say why there is none: then
// nothing comes, systemd passes an empty credential on, and the log says why.
func (c *calls) handOut(ctx context.Context, ln net.Listener) error {
	var g errgroup.Group
	g.SetLimit(credentialsWait)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			_ = g.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("credential socket: %w", err)
		}
		g.Go(func() error {
			defer conn.Close()
			if err := c.credential(ctx, conn.(*guest)); err != nil {
				c.Log.Warn("credential not given", "err", asError(err), "peer_uid", conn.(*guest).peer.uid)
			}
			return nil
		})
	}
}

// credential gives one peer its token.
func (c *calls) credential(ctx context.Context, g *guest) error {
	unit, account, err := wanted(g.RemoteAddr())
	switch {
	case err != nil:
		return err
	case !c.rights.trusts(g.peer):
		return fmt.Errorf("unit %s, account %s: uid %d may not read tokens", unit, account, g.peer.uid)
	case !c.limiterOf(g.peer).allow(g.peer.uid, time.Now()):
		return fmt.Errorf("unit %s, account %s: uid %d asks too often", unit, account, g.peer.uid)
	case c.Token == nil:
		return fmt.Errorf("there is no account %q", account)
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	t, err := c.Token(ctx, account, 0)
	if err != nil {
		return fmt.Errorf("unit %s, account %s: %w", unit, account, err)
	}
	c.audit.note(c.Log, account, unit, g.peer, time.Now())
	c.deadline(g.SetWriteDeadline)
	_, err = g.Write([]byte(t.Token))
	return err
}

// wanted reads who asks for which credential from the address that systemd binds
// its end to, \0RANDOM/unit/UNIT/ID in the abstract namespace (systemd.exec(5),
// LoadCredential=). ID is the account's name. Anybody may bind such an address:
// it says what is wanted, and grants nothing.
func wanted(addr net.Addr) (unit, account string, err error) {
	at, ok := addr.(*net.UnixAddr)
	if !ok || at == nil || len(at.Name) < 2 || !strings.HasPrefix(at.Name, "@") && !strings.HasPrefix(at.Name, "\x00") {
		return "", "", errors.New("the peer does not say which credential it wants: it is not systemd's LoadCredential=")
	}
	words := strings.Split(at.Name[1:], "/")
	if len(words) != 4 || words[0] == "" || words[1] != "unit" || len(words[2]) > 255 || !unitName.MatchString(words[2]) || !isName(words[3]) {
		return "", "", fmt.Errorf("the peer's address %q is not RANDOM/unit/UNIT/ACCOUNT", shorten(at.Name[1:]))
	}
	return words[2], words[3], nil
}
