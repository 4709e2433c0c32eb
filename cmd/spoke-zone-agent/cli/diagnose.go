package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/bundle"
	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/doctor"
)

// installPolicy is that of the privileged installer.
const installPolicy = "/etc/spoke-zone-agent/install.conf"

func (p *Program) diagnoseCommand() *cobra.Command {
	var out string
	cmd := p.talks(&cobra.Command{
		Use:   "diagnose",
		Short: "Put an archive for support together",
		Long: "Write a tar.gz of what somebody needs who helps and cannot log in: the settings,\n" +
			"the status, why and doctor, the records of updates, the journal of the agent's\n" +
			"units, and how the clock, the disk and the network are. Tokens, passwords, keys,\n" +
			"cpu_id and uuid are taken out of all of it. The daemon need not run. It takes no\n" +
			"longer than a minute, and nothing leaves the gateway.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.diagnose(cmd, out) },
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to `FILE`, which must not exist, or to the standard output if it is - (default "+bundle.Name+"-TIME.tar.gz here)")
	return cmd
}

func (p *Program) diagnose(cmd *cobra.Command, name string) error {
	if name == "-" {
		if f, ok := p.Out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return misuse(cmd, errors.New("an archive is nothing for a terminal"))
		}
		return p.writeBundle(cmd.Context(), p.Out)
	}
	if name == "" {
		name = bundle.Name + "-" + p.clock().UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return misuse(cmd, fmt.Errorf("%s is there already", name))
	case err != nil:
		return Exit(Usage, fmt.Errorf("diagnose: %w", err))
	}
	err = p.writeBundle(cmd.Context(), f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(name)
		return fmt.Errorf("diagnose: %w", err)
	}
	_, err = fmt.Fprintln(p.Out, name)
	return err
}

// writeBundle writes the archive to w, and says what it does not have.
func (p *Program) writeBundle(ctx context.Context, w io.Writer) error {
	var status local.Status
	var missing error
	asked := false
	ask := func(ctx context.Context) error {
		if !asked {
			status, missing = p.client().Status(ctx)
			asked = true
		}
		return missing
	}
	text := func(tell func() string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			if err := ask(ctx); err != nil {
				return "", err
			}
			return tell(), nil
		}
	}
	b := &bundle.Bundle{
		ConfigPath: p.config, InstallPolicy: installPolicy, Version: p.Version, Now: p.clock,
		Parts: []bundle.Part{
			{Name: "status.json", Text: text(func() string {
				var out bytes.Buffer
				_ = writeJSON(&out, status) // a buffer takes all
				return out.String()
			})},
			{Name: "status.txt", Text: text(func() string { return screen(status, p.clock()) })},
			{Name: "why.txt", Text: text(func() string { return why(status, p.clock()) })},
			{Name: "doctor.txt", Text: func(ctx context.Context) (string, error) {
				d := &doctor.Doctor{ConfigPath: p.config, Version: p.Version, Built: p.Built, Status: p.client().Status}
				return findings(d.Examine(ctx), defaultColumns), nil
			}},
		},
	}
	if err := b.Write(ctx, w); err != nil {
		return err
	}
	for _, left := range b.Left() {
		fmt.Fprintf(p.Err, "not in it: %s\n", oneLine(left))
	}
	return nil
}
