package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// maxPayload is the most that a message can carry, in bytes.
const maxPayload = 256 << 10

func (p *Program) publishCommand() *cobra.Command {
	var m local.Publication
	var qos uint8
	cmd := p.talks(&cobra.Command{
		Use:   "publish TOPIC [PAYLOAD|-]",
		Short: "Publish a message",
		Long: "Have the agent publish PAYLOAD, or with - what the standard input holds, or nothing.\n" +
			"TOPIC lies under the device's topic base; one that begins with a slash is the whole\n" +
			"topic, and must lie there too. Once the command has returned, the message is with\n" +
			"the agent, on disk, and is sent as soon as possible; with --qos 0 it has been sent,\n" +
			"with --keep none the broker has it.",
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := p.payload(cmd, args[1:])
			if err != nil {
				return err
			}
			m.Topic, m.QoS = args[0], &qos
			if utf8.Valid(payload) {
				text := string(payload)
				m.Payload = &text
			} else {
				text := base64.StdEncoding.EncodeToString(payload)
				m.Base64 = &text
			}
			return said(cmd, p.client().Publish(cmd.Context(), m))
		},
	})
	cmd.Flags().Uint8Var(&qos, "qos", 1, "publish at QoS `0|1`")
	cmd.Flags().BoolVar(&m.Retain, "retain", false, "have the broker keep the message for later subscribers")
	cmd.Flags().StringVar(&m.Keep, "keep", local.KeepAll, "while there is no session, keep `all|latest|none` of the topic's messages")
	return cmd
}

// payload is what args say, or the standard input if that is "-".
func (p *Program) payload(cmd *cobra.Command, args []string) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if args[0] != "-" {
		return []byte(args[0]), nil
	}
	b, err := io.ReadAll(io.LimitReader(p.In, maxPayload+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("publish: read the payload: %w", err)
	case len(b) > maxPayload:
		return nil, misuse(cmd, fmt.Errorf("the standard input holds more than the %d bytes of a message", maxPayload))
	}
	return b, nil
}

func (p *Program) subscribeCommand() *cobra.Command {
	var count int
	var asJSON bool
	cmd := p.talks(&cobra.Command{
		Use:   "subscribe FILTER",
		Short: "Print messages of the cloud as they come",
		Long: "Print topic and payload of each message whose topic FILTER matches, a line each,\n" +
			"until it is interrupted. FILTER lies under the device's topic base, as in 'ctrl/#'.\n" +
			"What the agent itself has not subscribed to does not come: see\n" +
			"mqtt.extra_subscriptions in the settings.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return said(cmd, p.follow(cmd.Context(), args[0], count, p.printer(asJSON)))
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the payload as it is")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after `N` messages; 0 for never")
	return cmd
}

// errEnough ends a subscription from within.
var errEnough = errors.New("enough messages")

// follow prints messages until ctx is done or there are enough. When the daemon
// ends, as for new settings, it waits for the next one; the first must be there.
func (p *Program) follow(ctx context.Context, filter string, count int, show func(local.Message) error) error {
	if _, err := p.client().PID(ctx); err != nil {
		return err
	}
	for n := 0; ; {
		err := p.client().Subscribe(ctx, filter, func(m local.Message) error {
			if err := show(m); err != nil {
				return err
			}
			if n++; n == count {
				return errEnough
			}
			return nil
		})
		var answer *local.Error
		switch {
		case errors.Is(err, errEnough) || ctx.Err() != nil:
			return nil
		case errors.As(err, &answer) && answer.Code != local.Unavailable:
			return err
		}
		fmt.Fprintf(p.Err, "%s: subscribe: the agent has ended; waiting for it\n", Name)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

// printer prints messages for people or for programs.
func (p *Program) printer(asJSON bool) func(local.Message) error {
	if !asJSON {
		return p.message
	}
	enc := json.NewEncoder(p.Out)
	enc.SetEscapeHTML(false)
	return func(m local.Message) error { return enc.Encode(m) }
}

// message prints one in a line: what is no text as base64.
func (p *Program) message(m local.Message) error {
	if m.Missed > 0 {
		fmt.Fprintf(p.Err, "%s: subscribe: missed %s\n", Name, countOf(m.Missed, "message"))
	}
	text := ""
	switch {
	case m.Payload != nil:
		text = oneLine(*m.Payload)
	case m.Base64 != nil:
		text = "base64:" + *m.Base64
	}
	_, err := fmt.Fprintln(p.Out, oneLine(m.Topic), text)
	return err
}
