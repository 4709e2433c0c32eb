package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	daemon "github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// A rescue is what an operator says of the device.
type rescue struct{ user, device, cpuID string }

func (p *Program) recoverCommand() *cobra.Command {
	var r rescue
	cmd := p.talks(&cobra.Command{
		Use:   "recover --user NAME",
		Short: "Give the device a new token, as an operator",
		Long: "Recover a device whose token can be renewed no more: log in at Spoke.Zone as the\n" +
			"user NAME, with the password from the standard input, ask for the device's\n" +
			"secrets, and have the daemon take its new token into use. Neither the password\n" +
			"nor the user's token is kept. This is for root.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.user == "" {
				return misuse(cmd, errors.New("no user is named"))
			}
			return said(cmd, p.recoverDevice(cmd.Context(), r))
		},
	})
	cmd.Flags().StringVar(&r.user, "user", "", "log in as the user `NAME`")
	cmd.Flags().StringVar(&r.device, "device", "", "recover the device of this `NUMBER` (default what the daemon knows)")
	cmd.Flags().StringVar(&r.cpuID, "cpu-id", "", "the device's `CPUID` (default what the settings or the hardware say)")
	return cmd
}

func (p *Program) recoverDevice(ctx context.Context, r rescue) error {
	c, err := conf.Load(p.config)
	if err != nil {
		return Exit(Config, err)
	}
	if r.device == "" {
		s, err := p.client().Status(ctx)
		if err != nil {
			return err
		}
		if r.device = s.Identity.DeviceID; r.device == "" {
			return Exit(Usage, errors.New("the device's number is not known: name it with --device"))
		}
	}
	if r.cpuID == "" {
		f, _ := conf.ReadIdentity(c.Paths.Identity) // what is there counts
		r.cpuID = daemon.Used(daemon.Sources(c.Identity, f, daemon.Recall(c.Paths.State), ""), daemon.KeyCPUID).Value
	}
	text, err := p.readSecretAs("Password of " + r.user + ": ")
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return Exit(Usage, errors.New("the standard input holds no password"))
	}
	secrets, err := p.askSecrets(ctx, c, r, password)
	if err != nil {
		return cloudSaid(err)
	}
	if err := p.client().Adopt(ctx, local.DeviceAccount, secrets.Token); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Out, "%s: device %s has a new token, and it is in use\n", local.DeviceAccount, r.device)
	return err
}

// askSecrets asks the cloud as the user.
func (p *Program) askSecrets(ctx context.Context, c conf.Config, r rescue, password string) (api.DeviceSecrets, error) {
	base, err := url.Parse(c.Cloud.URL)
	if err != nil {
		return api.DeviceSecrets{}, err
	}
	pool, err := c.Cloud.Roots()
	if err != nil {
		return api.DeviceSecrets{}, err
	}
	token := ""
	client := &api.Client{
		Base: base, HTTP: api.NewHTTPClient(&tls.Config{RootCAs: pool}, c.Cloud.Timeout, nil),
		Token:     func(context.Context) (string, error) { return token, nil },
		UserAgent: Name + "/" + p.Version, Timeout: c.Cloud.Timeout,
	}
	defer client.HTTP.CloseIdleConnections()
	if token, err = client.LoginUser(ctx, r.user, password); err != nil {
		return api.DeviceSecrets{}, err
	}
	return client.DeviceSecrets(ctx, r.device, r.cpuID)
}

// cloudSaid gives an error of the cloud its exit status.
func cloudSaid(err error) error {
	var refusal *api.StatusError
	if errors.As(err, &refusal) && refusal.Status >= 400 && refusal.Status < 500 {
		return Exit(Refused, err)
	}
	return Exit(Unreachable, err)
}
