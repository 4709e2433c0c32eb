package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-sim/console"
)

// page is the console of the simulator that a rules.
func (a *admin) page(hosts []string, anywhere bool) http.Handler {
	return console.New(console.Options{
		API: a.routes(), State: a.parts, Events: a.cloud.Events, Hosts: hosts, Anywhere: anywhere,
	})
}

// maxListed bounds what the page lists of each kind.
const maxListed = 200

func newest[T any](all []T) []T { return all[max(0, len(all)-maxListed):] }

// parts are what the page shows, in the parts that change by themselves.
func (a *admin) parts() map[string]any {
	s := a.now()
	return map[string]any{
		"now": s.Now,
		"cloud": map[string]any{
			"api": s.API, "mqtt": s.MQTT, "admin": s.Admin, "clouds": s.Clouds, "offset": s.Offset,
			"token_life": s.TokenLife, "window": s.Window, "grace": s.Grace, "gateways": a.gateways,
		},
		"devices":   map[string]any{"list": s.Devices[:min(maxListed, len(s.Devices))], "count": len(s.Devices)},
		"releases":  map[string]any{"list": newest(s.Releases), "transfers": a.cloud.Transfers()},
		"files":     map[string]any{"list": newest(s.DataFiles), "count": len(s.DataFiles)},
		"faults":    a.switches(),
		"published": s.Counts["publish"],
	}
}

// servePage serves a page on listener until ctx is done.
func servePage(ctx context.Context, listener net.Listener, page http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           page,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // tabs that were closed
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// demoConsole serves the console of the demo's cloud until ctx is done, and
// tells its address first.
func demoConsole(ctx context.Context, cloud *cloudtest.Cloud, dir string, tell func(address string)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	tell("http://" + listener.Addr().String() + "/")
	rules := &admin{cloud: cloud, ready: Ready{Addrs: cloud.Addrs()}, files: dir, gateways: filepath.Join(dir, "gateways")}
	return servePage(ctx, listener, rules.page(nil, false))
}

// withConsole lets the program without a command be a simulator with a
// console: --console[=ADDRESS].
func withConsole(root *cobra.Command) {
	var address string
	root.Flags().StringVar(&address, "console", "", "be the simulator, with a page for people on `ADDRESS`; default a free port of 127.0.0.1")
	root.Flags().Lookup("console").NoOptDefVal = "127.0.0.1:0"
	root.Args = func(cmd *cobra.Command, args []string) error {
		if address != "" {
			return cobra.MaximumNArgs(1)(cmd, args)
		}
		return cobra.NoArgs(cmd, args)
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if address == "" {
			return cmd.Help()
		}
		if len(args) == 1 { // --console ADDRESS
			address = args[0]
		}
		serve := serveCommand()
		serve.SetArgs([]string{"--console", address, "--verbose"})
		serve.SetOut(cmd.OutOrStdout())
		serve.SetErr(cmd.ErrOrStderr())
		serve.SilenceErrors, serve.SilenceUsage = true, true
		return serve.ExecuteContext(cmd.Context())
	}
}
