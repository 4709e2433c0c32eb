package cloudtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"pgregory.net/rapid"
)

// withBrokers runs a test with each Broker, in a bubble.
func withBrokers(t *testing.T, test func(t *testing.T, g *gateway)) {
	for name, open := range map[string]func() (Broker, error){
		"peer":  func() (Broker, error) { return NewPeer(), nil },
		"mochi": NewMochi,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := open()
				if err != nil {
					t.Fatal(err)
				}
				test(t, newGateway(t, Options{Broker: b}))
			})
		})
	}
}

func (g *gateway) mustConnect(change ...func(*mqtt.ClientOptions)) (mqtt.Client, <-chan mqtt.Message) {
	g.t.Helper()
	client, messages, err := g.connect(change...)
	if err != nil {
		g.t.Fatalf("connect: %v", err)
	}
	return client, messages
}

// subscribe returns the code of the SUBACK.
func (g *gateway) subscribe(client mqtt.Client, filter string) byte {
	g.t.Helper()
	token := client.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	if token.Wait(); token.Error() != nil && token.Result()[filter] != 0x80 {
		g.t.Fatalf("subscribe to %s: %v", filter, token.Error())
	}
	return token.Result()[filter]
}

func (g *gateway) publish(client mqtt.Client, topic string, qos byte, payload string) {
	g.t.Helper()
	token := client.Publish(topic, qos, false, payload)
	if token.Wait(); token.Error() != nil {
		g.t.Fatalf("publish to %s: %v", topic, token.Error())
	}
}

// lost returns the options' change that tells when the session ends.
func lost() (func(*mqtt.ClientOptions), <-chan error) {
	ended := make(chan error, 1)
	return func(o *mqtt.ClientOptions) {
		o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { ended <- err })
	}, ended
}

func persistent(o *mqtt.ClientOptions) { o.SetCleanSession(false) }

func TestConnectNeedsAGoodToken(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		good := g.token
		for _, tt := range []struct {
			name, token, password string
			version               uint
			want                  error
		}{
			{"good", good, "gibberish", 4, nil},
			{"no password", good, "", 4, packets.ErrorRefusedBadUsernameOrPassword},
			{"nobody's token", "gibberish", "gibberish", 4, packets.ErrorRefusedNotAuthorised},
			{"expired token", g.cloud.Issue(g.ID, -1), "gibberish", 4, packets.ErrorRefusedNotAuthorised},
			{"the other way round", "gibberish", good, 4, packets.ErrorRefusedNotAuthorised},
			{"MQTT 3.1", good, "gibberish", 3, packets.ErrorRefusedBadProtocolVersion},
		} {
			_, _, err := g.connect(func(o *mqtt.ClientOptions) {
				o.SetUsername(tt.token).SetPassword(tt.password).SetProtocolVersion(tt.version)
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v; want %v", tt.name, err, tt.want)
			}
		}
		got := g.cloud.Connects()
		if len(got) != 6 || got[0].Code != 0 || got[0].ClientID != "gateway" || got[0].Device != g.ID || got[0].Token != good || !got[0].Clean || got[3].Code != 5 {
			t.Errorf("got %+v; want the 6 that were made", got)
		}
	})
}

func TestMessagesOfADeviceAreSeen(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		client, _ := g.mustConnect()
		g.publish(client, g.Base+"/mon/versions", 1, `{"display":"1.3.0"}`)
		g.publish(client, g.Base+"/mon/location", 1, `{"lat":41.1,"lon":-71.2,"heading":1,"speed":2}`)
		g.publish(client, g.Base+"/mon/other", 0, "not JSON")
		synctest.Wait() // QoS 0 is not acknowledged
		if got := g.cloud.Versions(g.ID); !reflect.DeepEqual(got, map[string]string{"display": "1.3.0"}) {
			t.Errorf("got versions %v", got)
		}
		if got := g.cloud.Messages(); len(got) != 3 || string(got[2].Payload) != "not JSON" || got[0].QoS != 1 || got[2].QoS != 0 || got[0].Device != g.ID {
			t.Errorf("got %+v", got)
		}
		if m, ok := g.cloud.Newest(g.Base + "/mon/other"); !ok || string(m.Payload) != "not JSON" {
			t.Errorf("got %+v, %v", m, ok)
		}
		g.get(fmt.Sprintf("/api/v2/devices/%d", g.ID)).want(t, 200, `"softwareVersions":{"display":"1.3.0"}`, `"lastLatitude":41.1`)
	})
}

func TestCommandsReachTheDevice(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		client, messages := g.mustConnect()
		if code := g.subscribe(client, g.Base+"/ctrl/#"); code != 1 {
			t.Fatalf("got SUBACK %#x; want QoS 1", code)
		}
		if got := g.cloud.Subscriptions("gateway"); !slices.Equal(got, []string{g.Base + "/ctrl/#"}) {
			t.Errorf("got %v", got)
		}
		if err := g.cloud.Command(g.ID, "diagnostics", []byte(`{"level":"debug"}`)); err != nil {
			t.Fatal(err)
		}
		m := <-messages
		if m.Topic() != g.Base+"/ctrl/diagnostics" || string(m.Payload()) != `{"level":"debug"}` || m.Qos() != 1 || m.Retained() {
			t.Errorf("got %s %s, QoS %d, retained %v", m.Topic(), m.Payload(), m.Qos(), m.Retained())
		}
		if token := client.Unsubscribe(g.Base + "/ctrl/#"); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
		g.cloud.Command(g.ID, "late", nil)
		synctest.Wait()
		if len(messages) != 0 {
			t.Error("got a message after UNSUBSCRIBE")
		}
		if err := g.cloud.Command(999, "x", nil); err == nil {
			t.Error("got no error for a command to no device")
		}
		if got := g.cloud.Subscriptions("nobody"); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestRetainedMessagesWaitForSubscribers(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		topic := g.Base + "/ctrl/diagnostics"
		g.cloud.Publish(Message{Topic: topic, Payload: []byte("kept"), QoS: 1, Retain: true})
		client, messages := g.mustConnect()
		g.subscribe(client, g.Base+"/ctrl/#")
		if m := <-messages; string(m.Payload()) != "kept" || !m.Retained() {
			t.Errorf("got %q, retained %v", m.Payload(), m.Retained())
		}
		g.cloud.Publish(Message{Topic: topic, Payload: nil, QoS: 1, Retain: true})
		<-messages // the removal itself
		g.subscribe(client, g.Base+"/ctrl/#")
		synctest.Wait()
		if len(messages) != 0 {
			t.Error("got a message that had been removed")
		}
	})
}

func TestSessionsPersistUnlessTheyAreClean(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		client, _ := g.mustConnect(persistent)
		g.subscribe(client, g.Base+"/ctrl/#")
		client.Disconnect(100)
		synctest.Wait()
		g.cloud.Command(g.ID, "missed", []byte("1"))
		client, messages := g.mustConnect(persistent)
		if m := <-messages; m.Topic() != g.Base+"/ctrl/missed" {
			t.Errorf("got %s", m.Topic())
		}
		client.Disconnect(100)
		synctest.Wait()
		client, _ = g.mustConnect()
		if got := g.cloud.Subscriptions("gateway"); len(got) != 0 {
			t.Errorf("got %v; want nothing in a clean session", got)
		}
		g.subscribe(client, g.Base+"/ctrl/#")
		client.Disconnect(100)
		synctest.Wait()
		g.cloud.Command(g.ID, "missed", []byte("2"))
		_, messages = g.mustConnect()
		synctest.Wait()
		if len(messages) != 0 {
			t.Error("got a message in a clean session that had ended")
		}
	})
}

func TestNewConnectionTakesTheSessionOver(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		change, ended := lost()
		old, _ := g.mustConnect(change, persistent)
		g.subscribe(old, g.Base+"/ctrl/#")
		_, messages := g.mustConnect(persistent)
		if err := <-ended; err == nil {
			t.Error("got no error; want the old connection lost")
		}
		g.cloud.Command(g.ID, "hello", nil)
		if m := <-messages; m.Topic() != g.Base+"/ctrl/hello" {
			t.Errorf("got %s", m.Topic())
		}
		synctest.Wait()
		if got := g.cloud.Online(g.ID); got != 1 {
			t.Errorf("got %d connections; want 1", got)
		}
	})
}

func TestDevicesDoNotMeet(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		other := g.cloud.AddDevice(Device{Further: []string{"mon/d/124"}})
		client, messages := g.mustConnect()
		for _, filter := range []string{"#", "+/d/" + fmt.Sprint(g.ID) + "/ctrl/#", other.Base + "/ctrl/#", g.Base, "mon/d/123/ctrl/#", "$SYS/#"} {
			if code := g.subscribe(client, filter); code != 0x80 {
				t.Errorf("subscribe to %s: got %#x; want 0x80", filter, code)
			}
		}
		g.subscribe(client, g.Base+"/#")
		g.publish(client, other.Base+"/ctrl/evil", 1, "x")
		g.publish(client, g.Base, 1, "x")
		if got := len(g.cloud.Messages()); got != 0 {
			t.Errorf("got %d messages; want forbidden ones dropped", got)
		}
		if got := g.cloud.Counts()[EventForbidden]; got != 8 {
			t.Errorf("got %d forbidden; want 8", got)
		}
		g.cloud.Command(other.ID, "x", nil)
		synctest.Wait()
		if len(messages) != 0 || !client.IsConnected() {
			t.Error("got another device's message, or a lost session")
		}
		g.token = g.cloud.Issue(other.ID, 0)
		second, _ := g.mustConnect(func(o *mqtt.ClientOptions) { o.SetClientID("second") })
		if code := g.subscribe(second, "mon/d/124/ctrl/#"); code != 1 {
			t.Errorf("got %#x; want a further base granted", code)
		}
		g.publish(second, "mon/d/124/mon/diagnostics", 1, "{}")
		if got := len(g.cloud.Messages()); got != 1 {
			t.Errorf("got %d messages; want the one under the further base", got)
		}
	})
}

func TestSessionEndsWithItsToken(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		g.token = g.cloud.Issue(g.ID, time.Hour)
		start := time.Now()
		change, ended := lost()
		g.mustConnect(change)
		<-ended
		if after := time.Since(start); after != time.Hour {
			t.Errorf("got the end after %v; want at expiry", after)
		}
		g.token = g.cloud.Issue(g.ID, time.Hour)
		g.mustConnect(change)
		g.cloud.SetOffset(2 * time.Hour)
		<-ended
	})
}

func TestQuietClientIsDropped(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		conn := g.raw(20)
		start := time.Now()
		if _, err := packets.ReadPacket(conn); err == nil {
			t.Error("got a packet; want the end")
		}
		if after := time.Since(start); after != 30*time.Second {
			t.Errorf("got the end after %v; want one and a half keep alives", after)
		}
	})
}

func TestUnacknowledgedMessagesComeAgain(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		client, _ := g.mustConnect(persistent)
		g.subscribe(client, g.Base+"/ctrl/#")
		client.Disconnect(100)
		conn := g.raw(0)
		g.cloud.Command(g.ID, "twice", []byte("x"))
		for _, dup := range []bool{false, true} {
			p, err := packets.ReadPacket(conn)
			if err != nil {
				t.Fatal(err)
			}
			m := p.(*packets.PublishPacket)
			if m.Dup != dup || m.TopicName != g.Base+"/ctrl/twice" {
				t.Errorf("got %s; want dup %v", m, dup)
			}
			conn.Close()
			synctest.Wait()
			conn = g.raw(0)
		}
		conn.Close()
	})
}

// raw connects as "gateway", with its persistent session, and reads CONNACK.
func (g *gateway) raw(keepAlive uint16) net.Conn {
	g.t.Helper()
	conn, err := g.dial(context.Background(), "tcp", hostOf(g.addrs.MQTT))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier, p.Keepalive = "MQTT", 4, "gateway", keepAlive
	p.UsernameFlag, p.PasswordFlag, p.Username, p.Password = true, true, g.token, []byte("x")
	if err := p.Write(conn); err != nil {
		g.t.Fatal(err)
	}
	ack, err := packets.ReadPacket(conn)
	if err != nil || ack.(*packets.ConnackPacket).ReturnCode != 0 {
		g.t.Fatalf("got %v, %v", ack, err)
	}
	return conn
}

func TestKickAndDropCutSessions(t *testing.T) {
	withBrokers(t, func(t *testing.T, g *gateway) {
		change, ended := lost()
		g.mustConnect(change)
		g.cloud.Kick(g.ID + 1)
		if got := g.cloud.Online(g.ID); got != 1 {
			t.Errorf("got %d connections after another's kick", got)
		}
		g.cloud.Kick(g.ID)
		<-ended
		g.mustConnect(change)
		g.cloud.Drop()
		<-ended
		synctest.Wait()
		if got := g.cloud.Online(g.ID); got != 0 {
			t.Errorf("got %d connections", got)
		}
	})
}

// What is no MQTT must neither hang nor harm.
func TestGarbageIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Options{})
		for name, sent := range map[string][]byte{
			"HTTP":             []byte("GET / HTTP/1.1\r\n\r\n"),
			"endless length":   {0x10, 0xff, 0xff, 0xff, 0xff, 0xff},
			"huge CONNECT":     {0x10, 0xff, 0xff, 0xff, 0x7f},
			"PINGREQ first":    {0xc0, 0},
			"nothing":          nil,
			"CONNECT and junk": {0x10, 2, 0, 9},
		} {
			conn, err := g.dial(context.Background(), "tcp", hostOf(g.addrs.MQTT))
			if err != nil {
				t.Fatal(err)
			}
			conn.Write(sent)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: got an answer; want the end", name)
			}
		}
		for name, sent := range map[string][]byte{
			"huge packet":      {0x30, 0xff, 0xff, 0xff, 0x7f},
			"endless length":   {0x30, 0xff, 0xff, 0xff, 0xff},
			"QoS 2":            {0x34, 5, 0, 1, 'a', 0, 1},
			"no filter":        {0x82, 2, 0, 1},
			"a second CONNECT": {0x10, 2, 0, 0},
		} {
			conn := g.raw(0)
			conn.Write(sent)
			if p, err := packets.ReadPacket(conn); err == nil {
				t.Errorf("%s: got %s; want the end", name, p)
			}
		}
	})
}

// brokerFaultTests has a test for every fault of the broker.
var brokerFaultTests = map[Fault]func(t *testing.T, g *gateway){
	Unreachable: func(t *testing.T, g *gateway) {
		change, ended := lost()
		g.mustConnect(change)
		g.cloud.MustSet(Unreachable, Always)
		<-ended
		if _, _, err := g.connect(); err == nil {
			t.Error("got a session; want no connection")
		}
		g.cloud.MustSet(Unreachable, Off)
		g.mustConnect()
	},
	RefuseConnect: func(t *testing.T, g *gateway) {
		for code, want := range map[int]error{
			3: packets.ErrorRefusedServerUnavailable,
			4: packets.ErrorRefusedBadUsernameOrPassword,
			5: packets.ErrorRefusedNotAuthorised,
		} {
			g.cloud.MustSet(RefuseConnect, Times(1).With(code))
			if _, _, err := g.connect(); !errors.Is(err, want) {
				t.Errorf("got %v; want %v", err, want)
			}
		}
		g.mustConnect()
	},
	BadUserCode: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(BadUserCode, Always)
		g.token = "gibberish"
		if _, _, err := g.connect(); !errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) {
			t.Errorf("got %v; want code 4", err)
		}
	},
	KickConnect: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(KickConnect, Times(1))
		change, ended := lost()
		g.mustConnect(change)
		<-ended
		if got := g.cloud.Connects(); len(got) != 1 || got[0].Code != 0 {
			t.Errorf("got %+v; want an accepted CONNECT", got)
		}
		g.mustConnect()
	},
	Silent: func(t *testing.T, g *gateway) {
		change, ended := lost()
		wait := func(o *mqtt.ClientOptions) { o.SetPingTimeout(5 * time.Second) }
		g.cloud.MustSet(Silent, Times(1))
		start := time.Now()
		g.mustConnect(change, wait)
		if err := <-ended; !strings.Contains(err.Error(), "pingresp not received") {
			t.Errorf("got %v; want only a ping to tell", err)
		}
		if after := time.Since(start); after < 20*time.Second {
			t.Errorf("got the end after %v; want no earlier than a keep alive", after)
		}
		client, messages := g.mustConnect(change, wait)
		g.subscribe(client, g.Base+"/ctrl/#")
		g.cloud.MustSet(Silent, Always)
		g.cloud.Command(g.ID, "unheard", nil)
		<-ended
		if len(messages) != 0 {
			t.Error("got a message over a silent line")
		}
		g.cloud.MustSet(Silent, Off)
		g.mustConnect()
	},
	RefuseFilters: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(RefuseFilters, Times(1))
		client, messages := g.mustConnect()
		if code := g.subscribe(client, g.Base+"/ctrl/#"); code != 0x80 {
			t.Errorf("got %#x; want 0x80", code)
		}
		g.cloud.Command(g.ID, "x", nil)
		synctest.Wait()
		if len(messages) != 0 {
			t.Error("got a message without a subscription")
		}
		if code := g.subscribe(client, g.Base+"/ctrl/#"); code != 1 {
			t.Errorf("got %#x; want 1", code)
		}
	},
	Forbidden: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(Forbidden, Always.With("ignore"))
		change, ended := lost()
		client, messages := g.mustConnect(change)
		if code := g.subscribe(client, "mrs/#"); code != 1 {
			t.Errorf("got %#x; want a grant of nothing", code)
		}
		g.cloud.Command(g.ID, "x", nil)
		g.publish(client, "mrs/d/999/mon/x", 1, "x")
		synctest.Wait()
		if len(messages) != 0 || len(g.cloud.Messages()) != 0 {
			t.Error("got a message; want it ignored")
		}
		if got := g.cloud.Subscriptions("gateway"); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		g.cloud.MustSet(Forbidden, Always.With("disconnect"))
		client.Publish("mrs/d/999/mon/x", 1, false, "x")
		<-ended
		client, _ = g.mustConnect(change)
		client.Subscribe("mrs/#", 1, nil)
		<-ended
	},
	KeepExpired: func(t *testing.T, g *gateway) {
		g.cloud.MustSet(KeepExpired, Always)
		g.token = g.cloud.Issue(g.ID, time.Hour)
		change, ended := lost()
		client, _ := g.mustConnect(change)
		time.Sleep(2 * time.Hour)
		g.publish(client, g.Base+"/mon/versions", 1, `{}`)
		g.cloud.MustSet(KeepExpired, Off)
		<-ended
	},
}

func TestFaultsOfTheBroker(t *testing.T) {
	for name, test := range brokerFaultTests {
		t.Run(string(name), func(t *testing.T) { withBrokers(t, test) })
	}
}

func TestFilters(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"+/+", "a/b", true},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"#", "a/b", true}, {"#", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true},
		{"a/+/c", "a//c", true}, {"a", "A", false}, {"a/b/+", "a/b", false}, {"+", "/a", false}, {"/+", "/a", true},
	} {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("matches(%q, %q) = %v; want %v", tt.filter, tt.topic, got, tt.want)
		}
	}
	for filter, want := range map[string]bool{"": false, "#": true, "a/#": true, "a/#/b": false, "a#": false, "a+/b": false, "+/a": true, "/": true} {
		if got := validFilter(filter); got != want {
			t.Errorf("validFilter(%q) = %v; want %v", filter, got, want)
		}
	}
}

// A filter made of a topic by wildcards matches that topic.
func TestFiltersMatchTheirTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(rapid.StringMatching(`[a-z]{0,2}`), 1, 5).Draw(t, "levels")
		filter := slices.Clone(levels)
		for i := range filter {
			if rapid.Bool().Draw(t, "plus") {
				filter[i] = "+"
			}
		}
		if n := rapid.IntRange(0, len(filter)).Draw(t, "keep"); n < len(filter) {
			filter = append(filter[:n], "#")
		}
		f, topic := strings.Join(filter, "/"), strings.Join(levels, "/")
		if f != "" && !validFilter(f) || !matches(f, topic) {
			t.Fatalf("%q does not match %q", f, topic)
		}
	})
}

func FuzzReadPacket(f *testing.F) {
	f.Add([]byte{0x30, 5, 0, 1, 'a', 'b', 'c'})
	f.Add([]byte{0x82, 6, 0, 1, 0, 1, 'a', 1})
	f.Add([]byte{0xc0, 0})
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPacket(bufio.NewReader(bytes.NewReader(b)))
		if p == nil && err == nil {
			t.Errorf("got neither a packet nor an error of %x", b)
		}
	})
}
