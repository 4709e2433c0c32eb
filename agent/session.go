package agent

import (
	"cmp"
	"context"
	"errors"
	"net"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// noPassword goes with the token at CONNECT where the identity file has no
// mqtt_password. The broker does not look at it, but wants one (MRS's SDK sends
// "gibberish").
const noPassword = "-"

// newSession joins the MQTT session to the token.
func (g *generation) newSession(dialer *mqtt.Dialer) *mqtt.Session {
	c := g.conf.MQTT
	return &mqtt.Session{
		Dial: func(ctx context.Context) (conn net.Conn, err error) {
			err = g.clock.Try(func() (err error) { conn, err = dialer.Dial(ctx); return err })
			return conn, err
		},
		Broker: dialer.String(), Credential: g.credential,
		Clean: c.Session == "clean", KeepAlive: c.KeepAlive, Timeout: g.conf.Cloud.Timeout,
		OnAccepted: func(c mqtt.Credential) { g.keeper.Prove(g.tokenIn(c)) },
		OnRefused:  func(c mqtt.Credential, err error) { g.keeper.Reject(g.tokenIn(c), err) },
		Outbox:     g.newOutbox(), Alive: g.sessionAlive,
		Hold: func() (bool, <-chan struct{}) {
			s, changed := g.diagnostics.State()
			return s.Quiet(), changed
		},
		BreakFirst:   g.refusesTakeovers(dialer.String()),
		OnBreakFirst: func() { g.keepRefusal(dialer.String()) },
		OnMessage:    g.receive,
		Log:          g.Log.With("task", "mqtt"),
	}
}

// credential is the token as the broker wants it.
func (g *generation) credential(ctx context.Context) (mqtt.Credential, <-chan struct{}, error) {
	tok, superseded, err := g.keeper.Current(ctx)
	if err != nil {
		return mqtt.Credential{}, nil, err
	}
	id, _ := g.deviceID(tok)
	cred := mqtt.Credential{
		ClientID: cmp.Or(g.conf.MQTT.ClientID, "spoke-zone-agent-"+cmp.Or(id, tok.Tail())),
		Username: tok.Raw(), Password: g.device.password(),
	}
	for i, base := range g.bases(tok) {
		if base != "" {
			cred.Filters = append(cred.Filters, mqtt.Filter{Topic: base + "/ctrl/#", QoS: 1, Optional: i > 0})
		}
	}
	for _, topic := range g.conf.MQTT.Extra {
		cred.Filters = append(cred.Filters, mqtt.Filter{Topic: topic, QoS: 1, Optional: true})
	}
	return cred, superseded, nil
}

// topicBase is the root of the device's topics: the setting, the token's
// prefix, or mrs/d/ID. It is "" when nothing says which device this is.
func (g *generation) topicBase(tok account.Token) string {
	fallback := ""
	if id, _ := g.deviceID(tok); id != "" {
		fallback = "mrs/d/" + id
	}
	return cmp.Or(g.conf.MQTT.TopicBase, tok.TopicBase(fallback))
}

// tokenIn is the token that c was made of.
func (g *generation) tokenIn(c mqtt.Credential) account.Token {
	tok, err := account.ParseToken(c.Username, account.Names{})
	if err != nil {
		return account.Token{}
	}
	return tok
}

// online says whether the session is up.
func (g *generation) online() (bool, <-chan struct{}) {
	s, changed := g.session.Status()
	return s.State == mqtt.Online, changed
}

// publishVersions publishes the map of installed versions.
func (g *generation) publishVersions(ctx context.Context, payload []byte) error {
	tok, _, err := g.keeper.Current(ctx)
	if err != nil {
		return err
	}
	base := g.topicBase(tok)
	if base == "" {
		return errors.New("the topic base is unknown: set [mqtt] topic_base or [identity] device_id")
	}
	return g.session.Publish(ctx, mqtt.Message{Topic: base + "/mon/versions", Payload: payload, QoS: 1, Keep: mqtt.KeepNone})
}
