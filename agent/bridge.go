package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/deliver"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// newBridge delivers the device's token to a local Mosquitto, as the settings of
// its bridge to the cloud; nil if the settings name no file.
func (g *generation) newBridge() (*deliver.Account, error) {
	c := g.conf.Bridge
	if c.File == "" {
		return nil, nil
	}
	notify, err := deliver.ParseNotify(c.Notify)
	if err != nil {
		return nil, fmt.Errorf("%w: bridge.notify: %w", ErrSettings, err)
	}
	target := deliver.Target{ID: "bridge", File: c.File, Mode: 0o600, Group: c.Group, Notify: notify, Text: g.bridgeText}
	if c.Group != "" {
		target.Mode = 0o640
	}
	b := &deliver.Account{
		Name: "device", Targets: []deliver.Target{target}, Current: g.bridgeToken,
		Records: filepath.Join(g.conf.Paths.State, "cred"), Log: g.Log.With("task", "bridge"),
	}
	b.Prepare()
	return b, nil
}

// bridgeToken is the token as deliveries want it.
func (g *generation) bridgeToken() (deliver.Token, bool, <-chan struct{}) {
	s, changed := g.keeper.Status()
	return deliver.Token{Account: "device", Value: s.Token.Raw(), Expires: s.Token.Expires}, !s.Token.IsZero(), changed
}

// bridgeText is the bridge for a token.
func (g *generation) bridgeText(t deliver.Token) ([]byte, error) {
	s, _ := g.keeper.Status()
	tok := s.Token
	base := g.topicBase(tok)
	switch {
	case tok.Raw() != t.Value:
		return nil, errors.New("the token has changed meanwhile")
	case base == "":
		return nil, errors.New("the topic base is unknown: set [mqtt] topic_base or [identity] device_id")
	}
	id, _ := g.deviceID(tok)
	return bridgeSettings(g.conf, bridgeLogin{base, "spoke-zone-agent-" + cmp.Or(id, tok.Tail()) + "-bridge", tok.Raw(), g.device.password()})
}

// A bridgeLogin is how the bridge introduces itself, and what its topics begin
// with at the cloud.
type bridgeLogin struct{ base, clientID, username, password string }

// bridgeSettings is the file for Mosquitto (mosquitto.conf(5), Configuring
// Bridges): everything of the connection, since a connection cannot be spread
// over two files.
func bridgeSettings(c conf.Config, login bridgeLogin) ([]byte, error) {
	for _, word := range []string{login.base, login.clientID, login.username, login.password, c.Cloud.CAFile} {
		if strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
			return nil, fmt.Errorf("a value of %d bytes holds a character that mosquitto.conf cannot", len(word))
		}
	}
	u, err := url.Parse(c.MQTT.Broker)
	if err != nil {
		return nil, err
	}
	port, secure := "1883", u.Scheme == "mqtts"
	if secure {
		port = "8883"
	}
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line("# Kept by spoke-zone-agent: what is changed here is lost. See [bridge] in spoke-zone-agent.conf(5).")
	line("connection spoke-zone")
	line("address", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
	switch {
	case secure && c.Cloud.CAFile != "":
		line("bridge_cafile", c.Cloud.CAFile)
	case secure:
		line("bridge_capath /etc/ssl/certs")
	}
	line("bridge_protocol_version mqttv311")
	line("try_private false")
	line("notifications false")
	line("cleansession false")
	line("restart_timeout 5 300")
	line("remote_clientid", login.clientID)
	line("remote_username", login.username)
	line("remote_password", login.password)
	prefix := cmp.Or(c.Bridge.Prefix, `""`)
	for _, topic := range c.Bridge.Publish {
		line("topic", topic, "out 1", prefix, login.base+"/")
	}
	for _, topic := range c.Bridge.Subscribe {
		line("topic", topic, "in 1", prefix, login.base+"/")
	}
	return []byte(b.String()), nil
}

// keepBridge runs the delivery, if there is one.
func (g *generation) keepBridge(ctx context.Context) error {
	if g.bridge == nil {
		<-ctx.Done()
		return nil
	}
	return g.bridge.Run(ctx)
}
