package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// types are those that the cloud is known to take.
var types = []string{"log", "event", "gps", "debug", "journal", "dmesg", "txt"}

func (p *Program) uploadCommand() *cobra.Command {
	var typ, module string
	cmd := p.talks(&cobra.Command{
		Use:   "upload FILE...",
		Short: "Hand data files over for upload",
		Long: "Copy each FILE into the agent's spool. Once the command has returned, the file is\n" +
			"on disk with the agent, which uploads it as soon as it can.",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			for _, file := range files {
				if err := p.upload(cmd.Context(), cmd, typ, module, file); err != nil {
					return err
				}
			}
			return nil
		},
	})
	cmd.Flags().StringVar(&typ, "type", "log", "upload as `TYPE`: "+strings.Join(types, ", "))
	cmd.Flags().StringVar(&module, "module", "", "upload for the module `KEY` of the device's model")
	if err := cmd.RegisterFlagCompletionFunc("module", p.completeModuleFlag); err != nil {
		panic(err) // the flag has another name
	}
	if err := cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no flag of that name
	}
	return cmd
}

func (p *Program) upload(ctx context.Context, cmd *cobra.Command, typ, module, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return Exit(Usage, fmt.Errorf("upload: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("upload: %w", err)
	case !info.Mode().IsRegular():
		return Exit(Usage, fmt.Errorf("upload: %s: not a regular file", file))
	case info.Size() == 0:
		return Exit(Usage, fmt.Errorf("upload: %s: the file is empty, which the cloud refuses", file))
	}
	bar := p.newBar(filepath.Base(file))
	it, err := p.client().Upload(ctx, typ, module, filepath.Base(file), info.Size(), bar.reader(f, info.Size()))
	bar.end()
	if err != nil {
		return said(cmd, fmt.Errorf("%s: %w", file, err))
	}
	if it.Size != info.Size() {
		return errors.New("upload: " + file + ": it changed meanwhile")
	}
	_, err = fmt.Fprintf(p.Out, "%s: queued as %s, %s\n", file, printable(it.ID), bytesText(it.Size))
	return err
}
