package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// urlVariable is the environment variable with the admin address.
const urlVariable = "SPOKE_ZONE_SIM_URL"

// A controller speaks to the admin API of a simulator that runs.
type controller struct{ url string }

// flag lets a command choose the simulator.
func (c *controller) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.url, "url", os.Getenv(urlVariable), "admin `ADDRESS` of the simulator; default $"+urlVariable)
}

// send sends a request and returns the body of its answer, which must be
// closed.
func (c *controller) send(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	if c.url == "" {
		return nil, fmt.Errorf("%w: --url is missing", errUsage)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.url, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy for loopback
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

// post sends v and decodes the answer into answer.
func (c *controller) post(ctx context.Context, path string, v, answer any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.receive(ctx, "POST", path, bytes.NewReader(b), answer)
}

func (c *controller) receive(ctx context.Context, method, path string, body io.Reader, answer any) error {
	in, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := json.NewDecoder(in).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}

// controlCommands are the commands that send one request and print its answer.
func controlCommands() []*cobra.Command {
	return []*cobra.Command{
		stateCommand(), faultCommand(), offerCommand(), activeCommand("withdraw", "Take an OTA file back"),
		activeCommand("activate", "Offer a withdrawn OTA file again"), dropCommand(), publishCommand(), clockCommand(), eventsCommand(),
	}
}

// A request is what a control command asks.
type request struct {
	method, path string
	body         io.Reader
}

// control makes a command of one request, whose answer it prints.
func control(cmd *cobra.Command, ask func(args []string) (request, error)) *cobra.Command {
	c := &controller{}
	c.flag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := ask(args)
		if err != nil {
			return err
		}
		answer, err := c.send(cmd.Context(), r.method, r.path, r.body)
		if err != nil {
			return err
		}
		defer answer.Close()
		if _, err := io.Copy(cmd.OutOrStdout(), answer); err != nil && cmd.Context().Err() == nil {
			return fmt.Errorf("print answer: %w", err)
		}
		return nil
	}
	return cmd
}

func object(v any) io.Reader {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode request: %v", err)) // of maps of strings
	}
	return bytes.NewReader(b)
}

func stateCommand() *cobra.Command {
	return control(&cobra.Command{Use: "state", Short: "Print everything the simulator knows, as JSON", Args: cobra.NoArgs},
		func([]string) (request, error) { return request{"GET", "/state", nil}, nil })
}

func faultCommand() *cobra.Command {
	return control(&cobra.Command{
		Use: "fault NAME=SWITCH...", Short: "Switch faults on and off; see serve --help", Args: cobra.MinimumNArgs(1),
		Long: "fault switches faults of Spoke Zone, which serve --help lists, and those of the other\n" +
			"clouds, which have the cloud's name before theirs:\n\n" + cloudFaults(),
	},
		func(args []string) (request, error) {
			switches := map[string]string{}
			for _, arg := range args {
				name, text, ok := strings.Cut(arg, "=")
				if !ok {
					text = "always"
				}
				switches[name] = text
			}
			return request{"POST", "/fault", object(switches)}, nil
		})
}

func offerCommand() *cobra.Command {
	q := url.Values{}
	var module, version, notes, size string
	var seed uint64
	cmd := &cobra.Command{Use: "offer [FILE]", Short: "Put a file, or one made of --size bytes, into the OTA catalogue", Args: cobra.MaximumNArgs(1)}
	f := cmd.Flags()
	f.StringVar(&module, "module", "", "`KEY` of the module")
	f.StringVar(&version, "version", "", "`VERSION`")
	f.StringVar(&notes, "notes", "", "release `NOTES`")
	f.StringVar(&size, "size", "", "make a file of `SIZE` bytes, such as 256MiB")
	f.Uint64Var(&seed, "seed", 1, "`SEED` of the file that is made")
	return control(cmd, func(args []string) (request, error) {
		if module == "" || version == "" || (len(args) == 1) == (size != "") {
			return request{}, fmt.Errorf("%w: want --module, --version, and either FILE or --size", errUsage)
		}
		q.Set("module", module)
		q.Set("version", version)
		q.Set("notes", notes)
		if size != "" {
			n, err := parseSize(size)
			if err != nil {
				return request{}, err
			}
			q.Set("size", strconv.FormatInt(n, 10))
			q.Set("seed", strconv.FormatUint(seed, 10))
			return request{"POST", "/ota?" + q.Encode(), nil}, nil
		}
		file, err := os.Open(args[0])
		if err != nil {
			return request{}, fmt.Errorf("offer: %w", err)
		}
		return request{"POST", "/ota?" + q.Encode(), file}, nil // the transport closes it
	})
}

// parseSize reads 4096, 512KiB, 256MiB or 1GiB.
func parseSize(s string) (int64, error) {
	number, shift := s, 0
	for unit, bits := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = n, bits
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > maxRelease>>shift {
		return 0, fmt.Errorf("%w: size %q: want such as 4096, 512KiB or 256MiB, at most 2GiB", errUsage, s)
	}
	return n << shift, nil
}

func activeCommand(verb, short string) *cobra.Command {
	return control(&cobra.Command{Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1)},
		func(args []string) (request, error) {
			return request{"POST", "/ota/" + url.PathEscape(args[0]) + "/" + verb, nil}, nil
		})
}

func dropCommand() *cobra.Command {
	return control(&cobra.Command{Use: "drop", Short: "Cut every MQTT connection", Args: cobra.NoArgs},
		func([]string) (request, error) { return request{"POST", "/mqtt/drop", nil}, nil })
}

func publishCommand() *cobra.Command {
	var p Publish
	cmd := &cobra.Command{
		Use: "publish TOPIC [PAYLOAD]", Short: "Send a message to devices; with --command, TOPIC is the command's name",
		Args: cobra.RangeArgs(1, 2),
	}
	command := cmd.Flags().Bool("command", false, "send to BASE/ctrl/TOPIC of the device")
	cmd.Flags().IntVar(&p.Device, "device", 0, "`ID` of the device of --command; default the first")
	cmd.Flags().Uint8Var(&p.QoS, "qos", 1, "0 or 1")
	cmd.Flags().BoolVar(&p.Retain, "retain", false, "keep it for later subscribers")
	return control(cmd, func(args []string) (request, error) {
		p.Topic = args[0]
		if *command {
			p.Topic, p.Command = "", args[0]
		}
		if len(args) == 2 {
			p.Payload = args[1]
		}
		return request{"POST", "/mqtt/publish", object(p)}, nil
	})
}

func clockCommand() *cobra.Command {
	return control(&cobra.Command{Use: "clock OFFSET", Short: "Let the cloud's clock differ by OFFSET, such as 36h; 0s sets it right", Args: cobra.ExactArgs(1)},
		func(args []string) (request, error) {
			if _, err := time.ParseDuration(args[0]); err != nil {
				return request{}, fmt.Errorf("%w: clock: %w", errUsage, err)
			}
			return request{"POST", "/clock", object(map[string]string{"offset": args[0]})}, nil
		})
}

func eventsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Print what has happened, a line of JSON each", Args: cobra.NoArgs}
	follow := cmd.Flags().Bool("follow", false, "go on with what happens")
	after := cmd.Flags().Int("after", 0, "leave out events up to number `N`")
	return control(cmd, func([]string) (request, error) {
		q := url.Values{"after": {strconv.Itoa(*after)}}
		if !*follow {
			q.Set("follow", "0")
		}
		return request{"GET", "/events?" + q.Encode(), nil}, nil
	})
}
