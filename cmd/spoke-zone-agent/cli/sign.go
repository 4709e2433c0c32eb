package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// A signing is what `ota sign` is asked for.
type signing struct {
	key, passphraseFile, minisig string
	module, version              string
	counter                      int64
}

func (p *Program) otaSignCommand() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a release and print the line for its notes",
		Long: "Sign the payload FILE with a minisign secret key and print the line that goes into the\n" +
			"notes of its release, so that a device knows the payload's size and digest before it\n" +
			"fetches a byte, and installs nothing else. The passphrase of an encrypted key is asked\n" +
			"for on the terminal, or read from the first line of --passphrase-file. No daemon is needed.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.key == "" || s.module == "" || s.version == "" {
				return misuse(cmd, errors.New("--key, --module and --version are needed"))
			}
			if s.counter == 0 {
				s.counter = p.clock().Unix()
			}
			line, err := p.sign(s, args[0])
			if err != nil {
				return Exit(Usage, fmt.Errorf("%s%w", doing(cmd), err))
			}
			_, err = fmt.Fprintln(p.Out, line)
			return err
		},
	}
	cmd.Flags().StringVar(&s.key, "key", "", "sign with the minisign secret key in `FILE`")
	cmd.Flags().StringVar(&s.passphraseFile, "passphrase-file", "", "read the key's passphrase from `FILE`")
	cmd.Flags().StringVar(&s.module, "module", "", "the module's `KEY`")
	cmd.Flags().StringVar(&s.version, "version", "", "the release's `VERSION`")
	cmd.Flags().Int64Var(&s.counter, "counter", 0, "a device takes no release of a lower `NUMBER` afterwards; the seconds since 1970 if not given")
	cmd.Flags().StringVar(&s.minisig, "minisig", "", "also write the signature to `FILE` for minisign -V")
	return cmd
}

func (p *Program) sign(s signing, payload string) (release.Line, error) {
	key, err := p.secretKey(s)
	if err != nil {
		return release.Line{}, err
	}
	f, err := os.Open(payload)
	if err != nil {
		return release.Line{}, err
	}
	defer f.Close()
	d := release.NewDigest()
	if _, err := io.Copy(d, f); err != nil {
		return release.Line{}, err
	}
	line, err := key.Sign(d, s.module, s.version, s.counter)
	if err == nil && s.minisig != "" {
		err = atomicfile.Write(s.minisig, []byte(line.Minisig()), 0o644)
	}
	return line, err
}

// secretKey reads the key, and its passphrase where it needs one.
func (p *Program) secretKey(s signing) (release.SecretKey, error) {
	text, err := os.ReadFile(s.key)
	if err != nil {
		return release.SecretKey{}, err
	}
	key, err := release.ParseSecretKey(text, nil)
	if errors.Is(err, release.ErrEncrypted) {
		var passphrase []byte
		if passphrase, err = p.passphrase(s); err == nil {
			key, err = release.ParseSecretKey(text, passphrase)
		}
	}
	if err != nil {
		return key, fmt.Errorf("%s: %w", s.key, err)
	}
	return key, nil
}

// passphrase is never an argument: other users could see it.
func (p *Program) passphrase(s signing) ([]byte, error) {
	if s.passphraseFile != "" {
		text, err := os.ReadFile(s.passphraseFile)
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return append([]byte{}, bytes.TrimSuffix(line, []byte("\r"))...), err
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("the key is encrypted and there is no terminal to ask for its passphrase: give --passphrase-file")
	}
	defer tty.Close()
	fmt.Fprint(tty, "Passphrase: ")
	defer fmt.Fprintln(tty)
	return term.ReadPassword(int(tty.Fd()))
}
