package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// The exit statuses, from sysexits(3).
const (
	OK          = 0
	Ill         = 1  // doctor found what does not work
	Usage       = 64 // the command line is wrong
	Unreachable = 69 // no agent answers, or it cannot reach the cloud
	Internal    = 70 // the agent failed
	Refused     = 77 // the cloud refused, or the user may not do this
	Config      = 78 // the settings are wrong; the unit does not restart on it
)

// A failure is an error with its exit status and, where it is known, what to
// do about it.
type failure struct {
	code int
	err  error // nil if it has been told already
	hint string
}

// Exit is err with an exit status.
func Exit(code int, err error) error { return &failure{code: code, err: err} }

func silent(code int) error { return &failure{code: code} }

// misuse is a mistake in how cmd was called.
func misuse(cmd *cobra.Command, err error) error {
	return &failure{Usage, fmt.Errorf("%s%w", doing(cmd), err), "See " + cmd.CommandPath() + " --help"}
}

// doing names what failed, for the front of an error.
func doing(cmd *cobra.Command) string {
	_, sub, ok := strings.Cut(cmd.CommandPath(), " ")
	if !ok {
		return ""
	}
	return sub + ": "
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// report tells what went wrong, what to do, and returns the exit status.
func (p *Program) report(err error) int {
	if err == nil {
		return OK
	}
	f := &failure{code: Internal, err: err}
	errors.As(err, &f)
	if f.err != nil {
		fmt.Fprintf(p.Err, "%s: %s\n", Name, printable(err.Error()))
		if f.hint != "" {
			fmt.Fprintln(p.Err, f.hint)
		}
	}
	return f.code
}

// said turns an error of the local API into one of the command cmd.
func said(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	f := &failure{code: Internal, err: fmt.Errorf("%s%w", doing(cmd), err)}
	var answer *local.Error
	var known *failure
	switch {
	case errors.As(err, &known) && strings.HasPrefix(err.Error(), doing(cmd)):
		return err
	case known != nil:
		f.code, f.hint = known.code, known.hint
	case errors.Is(err, local.ErrNotRunning) && errors.Is(err, fs.ErrPermission):
		f.code, f.hint = Refused, "Run it as root, or look at the modes of the socket and its directory"
	case errors.Is(err, local.ErrNotRunning):
		f.code, f.hint = Unreachable, "Is the agent running? See systemctl status "+Name
	case errors.As(err, &answer):
		f.code, f.hint = codeOf(answer.Code)
	}
	return f
}

func codeOf(c local.Code) (code int, hint string) {
	switch c {
	case local.Denied:
		return Refused, "Run it as root"
	case local.Refused:
		return Refused, "See " + Name + " status"
	case local.Unavailable:
		return Unreachable, "See " + Name + " status"
	case local.Busy:
		return Unreachable, "Try again in a few seconds"
	case local.NotFound, local.Invalid, local.TooLarge:
		return Usage, ""
	case local.NoSpace:
		return Internal, "See df, and " + Name + " status for what is queued"
	}
	return Internal, "See journalctl -u " + Name
}
