package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A server is what the flags of serve ask for.
type server struct {
	options   cloudtest.Options
	listeners cloudtest.Listeners
	admin     string
	console   string
	gateways  string
	anywhere  bool
	caOut     string
	otaDir    string
	offset    time.Duration
	devices   int
	device    cloudtest.Device // the first one
	faults    map[cloudtest.Fault]*string
	clouds    cloudFlags
	verbose   bool
}

// Ready is what serve prints once it can be used.
type Ready struct {
	cloudtest.Addrs
	Admin string `json:"admin"`
	// Console is the page for people, empty if it is not served.
	Console string `json:"console,omitempty"`
	CAFile  string `json:"ca_file,omitempty"`
	// Clouds are the URLs of those beside Spoke Zone, by the names of their
	// profiles; placeos-mqtt is a broker.
	Clouds map[string]string `json:"clouds"`
}

func serveCommand() *cobra.Command {
	s := &server{faults: map[cloudtest.Fault]*string{}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Be Spoke Zone until interrupted",
		Long: "serve listens on free ports of loopback addresses and prints one line of JSON\n" +
			"with its addresses when it is ready.\n\n" +
			"A fault is switched with --NAME[=WHEN[@ARGUMENT][:OPERATION,...]], where WHEN is\n" +
			"off, always (which --NAME alone means), N for the next N times, P% for a\n" +
			"probability, or 1/N for each N-th. OPERATION is one of\n" +
			strings.Join(cloudtest.Operations, ", ") + ".\nFor example: --server-error=1/5@503:login\n\n" +
			"Beside Spoke Zone it is Beacon Tower, BACE, PlaceOS and Beamery, each on a port of\n" +
			"its own, whose faults --fault CLOUD.NAME=SWITCH switches. Each has one customer;\n" +
			"the command account prints its file of accounts.d.\n\n" +
			"--console 127.0.0.1:0 serves a page that shows all of it and switches the faults.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&s.listeners.API, "http", "", "listen for the HTTP API on `ADDRESS`; :PORT is of 127.0.0.1")
	f.StringVar(&s.listeners.MQTT, "mqtt", "", "listen for MQTT on `ADDRESS`")
	f.StringVar(&s.listeners.Files, "files", "", "listen as the other host, to which downloads are redirected, on `ADDRESS`; default 127.0.0.2")
	f.StringVar(&s.admin, "admin", "", "listen for commands to the simulator on `ADDRESS`")
	f.StringVar(&s.console, "console", "", "serve a page for people on `ADDRESS`")
	f.StringVar(&s.gateways, "gateways", "", "let the page write gateways below `DIR`; default one that ends with the simulator")
	f.BoolVar(&s.listeners.TLS, "tls", false, "speak TLS everywhere but to --admin, with a certificate made now")
	f.StringVar(&s.caOut, "ca-out", "", "write the CA's certificate to `FILE`")
	f.StringSliceVar(&s.options.Hosts, "host", nil, "put these `NAMES` into the certificate, and the first into the addresses")
	f.BoolVar(&s.anywhere, "listen-anywhere", false, "allow addresses that others can reach")
	f.DurationVar(&s.options.TokenLife, "token-life", cloudtest.DefaultTokenLife, "life of a new token")
	f.DurationVar(&s.options.Window, "window", cloudtest.DefaultWindow, "renew a token so long before it expires")
	f.DurationVar(&s.options.Grace, "grace", cloudtest.DefaultGrace, "renew a token so long after it expired")
	f.DurationVar(&s.offset, "clock", 0, "let the cloud's clock differ by `OFFSET`")
	f.Uint64Var(&s.options.Seed, "seed", 0, "draw faults from this `SEED`")
	f.IntVar(&s.devices, "devices", 1, "create `N` devices")
	f.IntVar(&s.device.ID, "device-id", 0, "`ID` of the first device")
	f.StringVar(&s.device.CPUID, "cpu-id", "", "CPU `ID` of the first device")
	f.StringVar(&s.device.UUID, "uuid", "", "`UUID` of the first device")
	f.StringVar(&s.device.Base, "base", "", "`TOPIC` that the first device's topics begin with; default mrs/d/ID")
	f.StringSliceVar(&s.device.Modules, "module", nil, "`KEYS` of the modules; default any")
	f.StringVar(&s.otaDir, "ota-dir", "", "offer each file of `DIR`, named MODULE/VERSION")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "print addresses and events for people")
	s.clouds.add(f)
	for _, fault := range cloudtest.Faults {
		doc := fault.Doc
		if fault.Arg != "" {
			doc += fmt.Sprintf(" (@ %s, else %s)", fault.Arg, fault.Default)
		}
		s.faults[fault.Name] = f.String(string(fault.Name), "off", doc+"; a `SWITCH`")
		f.Lookup(string(fault.Name)).NoOptDefVal = "always"
	}
	return cmd
}

func (s *server) run(ctx context.Context, out io.Writer) (err error) {
	for _, addr := range append(slices.Collect(maps.Values(s.clouds.address)), &s.listeners.API, &s.listeners.MQTT, &s.listeners.Files, &s.admin, &s.console) {
		if *addr, err = s.loopback(*addr); err != nil {
			return err
		}
	}
	if s.admin == "" {
		s.admin = "127.0.0.1:0"
	}
	if len(s.options.Hosts) > 0 {
		s.listeners.Host = s.options.Hosts[0]
	}
	if s.options.Broker, err = cloudtest.NewMochi(); err != nil {
		return err
	}
	cloud := cloudtest.New(s.options)
	defer cloud.Close()
	if err := s.prepare(cloud); err != nil {
		return err
	}
	ready := Ready{CAFile: s.caOut}
	if ready.Addrs, err = cloud.Listen(s.listeners); err != nil {
		return err
	}
	var settings *tls.Config
	if s.listeners.TLS {
		settings = cloud.ServerTLS()
	}
	others, err := s.clouds.open(s, cloud, settings)
	if err != nil {
		return err
	}
	defer others.Close()
	ready.Clouds = others.addresses()
	listener, err := net.Listen("tcp", s.admin)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.admin, err)
	}
	ready.Admin = "http://" + listener.Addr().String()
	var page net.Listener
	if s.console != "" {
		if page, err = net.Listen("tcp", s.console); err != nil {
			listener.Close()
			return fmt.Errorf("listen on %s: %w", s.console, err)
		}
		ready.Console = "http://" + page.Addr().String() + "/"
	}
	return s.serve(ctx, cloud, others, listener, page, ready, out)
}

// serve runs the admin API, the page if there is one, and the report of
// events, until ctx is done.
func (s *server) serve(ctx context.Context, cloud *cloudtest.Cloud, others clouds, listener, page net.Listener, ready Ready, out io.Writer) error {
	files, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return fmt.Errorf("make a directory for files: %w", err)
	}
	defer os.RemoveAll(files)
	if s.gateways, err = filepath.Abs(cmp.Or(s.gateways, filepath.Join(files, "gateways"))); err != nil {
		return fmt.Errorf("directory of gateways: %w", err)
	}
	rules := &admin{cloud: cloud, others: others, ready: ready, files: files, gateways: s.gateways}
	group, ctx := errgroup.WithContext(ctx)
	admin := &http.Server{
		Handler:           rules.guarded(s.anywhere),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	group.Go(func() error {
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return admin.Close()
	})
	if page != nil {
		group.Go(func() error { return servePage(ctx, page, rules.page(s.options.Hosts, s.anywhere)) })
	}
	group.Go(func() error { return s.report(ctx, cloud, ready, out) })
	return group.Wait()
}

// report prints that the simulator is ready and, for people, what happens.
func (s *server) report(ctx context.Context, cloud *cloudtest.Cloud, ready Ready, out io.Writer) error {
	if !s.verbose {
		return json.NewEncoder(out).Encode(ready)
	}
	if ready.Console != "" {
		fmt.Fprintf(out, "console  %s\n", ready.Console)
	}
	fmt.Fprintf(out, "api    %s\nmqtt   %s\nfiles  %s\nadmin  %s\n", ready.API, ready.MQTT, ready.Files, ready.Admin)
	for _, name := range slices.Sorted(maps.Keys(ready.Clouds)) {
		fmt.Fprintf(out, "%s  %s\n", name, ready.Clouds[name])
	}
	seq := 0
	for {
		events, more := cloud.Events(seq)
		for _, e := range events {
			if _, err := fmt.Fprintln(out, describe(e)); err != nil {
				return fmt.Errorf("print event: %w", err)
			}
			seq = e.Seq
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

// prepare fills the cloud before anybody can see it.
func (s *server) prepare(cloud *cloudtest.Cloud) error {
	for name, text := range s.faults {
		sw, err := cloudtest.ParseSwitch(*text)
		if err == nil {
			err = cloud.Set(name, sw)
		}
		if err != nil {
			return fmt.Errorf("%w: --%s: %w", errUsage, name, err)
		}
	}
	cloud.SetOffset(s.offset)
	for i := range s.devices {
		d := cloudtest.Device{Modules: s.device.Modules}
		if i == 0 {
			d = s.device
		}
		cloud.AddDevice(d)
	}
	if s.otaDir != "" {
		if err := offerAll(cloud, s.otaDir); err != nil {
			return err
		}
	}
	if s.caOut != "" {
		if err := os.WriteFile(s.caOut, cloud.CA(), 0o644); err != nil {
			return fmt.Errorf("write CA: %w", err)
		}
	}
	return nil
}

// loopback completes an address, and refuses one that others can reach unless
// that was asked for: the simulator hands out tokens to anybody.
func (s *server) loopback(addr string) (string, error) {
	if addr == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%w: listen on %s: %w", errUsage, addr, err)
	}
	ip, _ := netip.ParseAddr(host)
	switch {
	case s.anywhere || host == "localhost" || ip.IsLoopback():
		return addr, nil
	case host == "":
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	return "", fmt.Errorf("%w: listen on %s: others can reach it; allow that with --listen-anywhere", errUsage, addr)
}
