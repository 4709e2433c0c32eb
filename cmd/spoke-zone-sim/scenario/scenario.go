// Package scenario plays texts that say what a cloud does and what the real
// agent must make of it. docs/scenarios.md describes the format.
package scenario

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// extension is what the names of the shipped ones end with.
const extension = ".scenario"

//go:embed shipped/*.scenario
var shipped embed.FS

// Shipped are the names of the scenarios that the program holds, and their texts.
func Shipped() (names []string, texts map[string]string) {
	texts = map[string]string{}
	entries, _ := shipped.ReadDir("shipped") // embedded
	for _, e := range entries {
		text, _ := shipped.ReadFile(path.Join("shipped", e.Name()))
		name := strings.TrimSuffix(e.Name(), extension)
		names, texts[name] = append(names, name), string(text)
	}
	return names, texts
}

// options are what the command line says.
type options struct {
	agent    string
	keep     string
	patience int
	check    bool
	list     bool
}

// Command returns `spoke-zone-sim run`.
func Command() *cobra.Command {
	o := options{}
	names, _ := Shipped()
	cmd := &cobra.Command{
		Use:   "run FILE|NAME...",
		Short: "Play scenarios: what a cloud does, and what the agent must make of it",
		Long: "Play a text of times, faults, releases and expectations with a simulated cloud and\n" +
			"the real agent, on free ports of this machine. docs/scenarios.md describes the\n" +
			"format. NAME is one of the shipped ones:\n" + strings.Join(names, ", ") + ".\n\n" +
			"It needs no root, but for scenarios with an installer, a disk or a power cut: those\n" +
			"play in a machine of their own, and need root or user namespaces.",
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !o.list {
				return errors.New("want the name of a FILE, or of a shipped scenario")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if o.list {
				return list(cmd.OutOrStdout())
			}
			var failed error
			for _, arg := range args {
				if err := o.run(ctx, arg, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
					failed = errors.Join(failed, err)
				}
			}
			return failed
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.agent, "agent", "", "play with this agent `PROGRAM`; the one beside spoke-zone-sim if empty")
	f.StringVar(&o.keep, "keep", "", "leave the gateway's files in `DIR`")
	f.IntVar(&o.patience, "patience", 1, "wait `N` times as long as a scenario says, on a slow machine")
	f.BoolVar(&o.check, "check", false, "only look for faults in the text")
	f.BoolVar(&o.list, "list", false, "list the shipped scenarios")
	return cmd
}

func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	names, texts := Shipped()
	for _, name := range names {
		s, err := Parse(name, texts[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\n", name, s.Shows)
	}
	return w.Flush()
}

// text is that of a file, or of the shipped scenario of that name.
func text(arg string) (string, error) {
	names, texts := Shipped()
	if texts[arg] != "" {
		return texts[arg], nil
	}
	f, err := os.Open(arg)
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(arg, "./") {
		return "", fmt.Errorf("there is no file %s, and none of that name is shipped: those are %s", arg, strings.Join(names, ", "))
	} else if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	return string(b), err
}

func (o options) run(ctx context.Context, arg string, out, complaints io.Writer) error {
	content, err := text(arg)
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	s, err := Parse(arg, content)
	if err != nil || o.check {
		return err
	}
	if o.agent == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.agent = filepath.Join(filepath.Dir(self), "spoke-zone-agent")
	}
	if s.machine() && os.Getenv(inMachine) == "" {
		return o.elsewhere(ctx, arg, out, complaints)
	}
	return o.here(ctx, s, out)
}

// elsewhere plays it in a machine of its own.
func (o options) elsewhere(ctx context.Context, arg string, out, complaints io.Writer) error {
	agent, err := filepath.Abs(o.agent)
	if err != nil {
		return err
	}
	if o.keep != "" {
		return fmt.Errorf("%s: --keep: the files of a machine of its own go with it", arg)
	}
	args := []string{"run", arg, "--agent", agent, fmt.Sprintf("--patience=%d", o.patience)}
	if err := replay(ctx, args, out, complaints); err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	return nil
}

func (o options) here(ctx context.Context, s *Scenario, out io.Writer) (err error) {
	dir := o.keep
	switch {
	case os.Getenv(inMachine) != "":
		if err := settle(); err != nil {
			return err
		}
		dir = machineDir
	case dir == "":
		if dir, err = os.MkdirTemp("", "spoke-zone-scenario-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	default:
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%s: %s\n", s.Name, s.Shows)
	st, err := newStage(s, dir, o.agent)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	defer st.close()
	p := &player{stage: st, scenario: s, out: out, patience: max(1, o.patience)}
	if err := p.play(ctx); err != nil {
		for _, name := range []string{"agent", "installer"} {
			tail(out, "the "+name, st.path(name+".log"))
		}
		return err
	}
	p.say("", "-- ok: "+s.Name)
	return nil
}
