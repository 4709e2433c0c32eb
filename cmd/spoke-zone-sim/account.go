package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// accountCommand prints what a file of accounts.d says of a simulated cloud.
func accountCommand() *cobra.Command {
	c := &controller{}
	var ca string
	cmd := &cobra.Command{
		Use: "account CLOUD", Short: "Print a file of accounts.d for a cloud beside Spoke Zone: " + strings.Join(cloudNames, ", "),
		Args: cobra.ExactArgs(1), ValidArgs: cloudNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			var state State
			if err := c.receive(cmd.Context(), "GET", "/state", nil, &state); err != nil {
				return err
			}
			return printAccount(cmd.OutOrStdout(), state, args[0], ca)
		},
	}
	c.flag(cmd)
	cmd.Flags().StringVar(&ca, "ca-file", "", "name `FILE` as the CA's certificate; default what serve --ca-out wrote")
	return cmd
}

func printAccount(out io.Writer, state State, name, ca string) error {
	cloud, ok := state.CloudStates[name]
	if !ok {
		return fmt.Errorf("%w: there is no cloud %q: want one of %s", errUsage, name, strings.Join(cloudNames, ", "))
	}
	s := &settings{}
	s.add("account", "profile", name)
	s.add("account", "url", cloud.URL)
	if ca == "" && strings.HasPrefix(cloud.URL, "https:") {
		ca = state.CAFile
	}
	if ca != "" {
		path, err := filepath.Abs(ca)
		if err != nil {
			return fmt.Errorf("account: %w", err)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("account: %w", err)
		}
		s.add("account", "ca_file", path)
	}
	for _, key := range slices.Sorted(maps.Keys(cloud.Account)) {
		s.add("account", key, cloud.Account[key])
	}
	_, err := io.WriteString(out, s.String())
	return err
}
