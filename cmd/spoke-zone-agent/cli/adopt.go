package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// maxToken is the longest token that an MQTT user name can hold, in bytes.
const maxToken = 65535

func (p *Program) adoptCommand() *cobra.Command {
	return p.talks(&cobra.Command{
		Use:   "adopt TOKEN|-",
		Short: "Give the device a new token",
		Long: "Re-provision the device, as after its token was lost: the daemon presents TOKEN to\n" +
			"the cloud and, once the cloud has accepted it, stores it and writes it into the\n" +
			"identity file. Otherwise nothing changes. With - the token is read from the\n" +
			"standard input, which is better: other users see a command line. This is for root.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := p.tokenFrom(cmd, args[0])
			if err != nil {
				return err
			}
			if err := p.client().Adopt(cmd.Context(), local.DeviceAccount, token); err != nil {
				return said(cmd, err)
			}
			_, err = fmt.Fprintf(p.Out, "%s: the cloud accepted the token, and it is in use\n", local.DeviceAccount)
			return err
		},
	})
}

// tokenFrom is arg, or what the standard input holds if arg is "-".
func (p *Program) tokenFrom(cmd *cobra.Command, arg string) (string, error) {
	if arg != "-" {
		fmt.Fprintf(p.Err, "%s: adopt: other users could see the token in this command line, and the shell may keep it: prefer %s adopt -\n", Name, Name)
		return strings.TrimSpace(arg), nil
	}
	b, err := p.readSecretAs("Token: ")
	if err != nil {
		return "", fmt.Errorf("adopt: read the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case token == "":
		return "", misuse(cmd, errors.New("the standard input holds no token"))
	case len(token) > maxToken:
		return "", misuse(cmd, fmt.Errorf("the standard input holds more than the %d bytes that a token can have", maxToken))
	}
	return token, nil
}

// readSecretAs reads the standard input, without echo and after the prompt where
// a person types.
func (p *Program) readSecretAs(prompt string) ([]byte, error) {
	if f, ok := p.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.Err, prompt)
		defer fmt.Fprintln(p.Err)
		return term.ReadPassword(int(f.Fd()))
	}
	return io.ReadAll(io.LimitReader(p.In, maxToken+64))
}
