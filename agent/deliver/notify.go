package deliver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tellTime bounds one attempt to tell a program.
const tellTime = 30 * time.Second

// A Notify is how a program is told that its token has changed: at most one of
// the fields is set.
type Notify struct {
	Argv    []string // run, without a shell
	PIDFile string   // the process in it gets Signal
	Signal  unix.Signal
	Unit    string // systemctl try-reload-or-restart
}

// IsZero reports that nobody is told.
func (n Notify) IsZero() bool { return len(n.Argv) == 0 && n.PIDFile == "" && n.Unit == "" }

var signals = map[string]unix.Signal{"HUP": unix.SIGHUP, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "TERM": unix.SIGTERM, "INT": unix.SIGINT}

// unitForm is a name of a unit that can be reloaded (systemd.unit(5)).
var unitForm = regexp.MustCompile(`^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*\.(service|target|socket|mount|slice|scope)$`)

// maxUnit bounds a unit's name, as systemd does.
const maxUnit = 255

// ParseNotify reads the words of a setting: signal:PIDFILE:HUP, reload:UNIT, or
// a program and its arguments. Without words nobody is told.
func ParseNotify(words []string) (n Notify, err error) {
	if len(words) == 0 {
		return n, nil
	}
	kind, rest, _ := strings.Cut(words[0], ":")
	switch {
	case kind == "signal" && len(words) == 1:
		at := strings.LastIndexByte(rest, ':')
		if at < 0 {
			return n, errors.New("a signal is signal:PIDFILE:HUP")
		}
		n.PIDFile, n.Signal = rest[:at], signals[rest[at+1:]]
		if n.Signal == 0 {
			return Notify{}, fmt.Errorf("%.16q is none of the signals HUP, USR1, USR2, TERM and INT", rest[at+1:])
		}
		if !filepath.IsAbs(n.PIDFile) || filepath.Clean(n.PIDFile) != n.PIDFile {
			return Notify{}, fmt.Errorf("%.128q is no absolute path of a pid file", n.PIDFile)
		}
		return n, nil
	case kind == "reload" && len(words) == 1:
		if len(rest) > maxUnit || !unitForm.MatchString(rest) {
			return n, fmt.Errorf("%.128q is no unit such as app.service", rest)
		}
		return Notify{Unit: rest}, nil
	case !filepath.IsAbs(words[0]):
		return n, fmt.Errorf("%.128q is no absolute path of a program, no signal:PIDFILE:HUP and no reload:UNIT", words[0])
	}
	return Notify{Argv: words}, nil
}

// String names who is told.
func (n Notify) String() string {
	switch {
	case n.PIDFile != "":
		return fmt.Sprintf("signal %s to the process in %s", unix.SignalName(n.Signal), n.PIDFile)
	case n.Unit != "":
		return "reload of " + n.Unit
	case len(n.Argv) > 0:
		return n.Argv[0]
	}
	return "nobody"
}

// tell tells the program once. The token is in no argument, no variable of the
// environment and, should the program print it, in no error either.
func (n Notify) tell(ctx context.Context, t Target, tok Token) error {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	switch {
	case n.PIDFile != "":
		return send(n.PIDFile, n.Signal)
	case n.Unit != "":
		if err := run(ctx, []string{"systemctl", "--no-ask-password", "try-reload-or-restart", "--", n.Unit}, nil, tok); err != nil {
			return fmt.Errorf("%w; the shipped unit keeps the agent from systemd, see examples/deliver.path for a way without", err)
		}
		return nil
	case len(n.Argv) > 0:
		return run(ctx, n.Argv, []string{"SPOKE_ZONE_ACCOUNT=" + tok.Account, "SPOKE_ZONE_DELIVERY=" + t.ID, "SPOKE_ZONE_FILE=" + t.File}, tok)
	}
	return nil
}
