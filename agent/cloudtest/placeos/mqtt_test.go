package placeos

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	. "github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host/hosttest"
)

// A client speaks MQTT by hand.
type client struct {
	t testing.TB
	net.Conn
}

// connect returns a client with its CONNACK's code.
func connect(t testing.TB, s *Server, user string) (client, byte) {
	t.Helper()
	conn, err := s.DialMQTT(t.Context(), "tcp", "placeos.example:1883")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := client{t, conn}
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier = "MQTT", 4, true, "gateway"
	p.UsernameFlag, p.Username = true, user
	return c, c.ask(p).(*packets.ConnackPacket).ReturnCode
}

// ask sends one packet and returns the next that comes.
func (c client) ask(p packets.ControlPacket) packets.ControlPacket {
	c.t.Helper()
	if err := p.Write(c); err != nil {
		c.t.Fatal(err)
	}
	return c.next()
}

func (c client) next() packets.ControlPacket {
	c.t.Helper()
	answer, err := packets.ReadPacket(c)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

func (c client) publish(topic string) {
	c.t.Helper()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, []byte("{}"), 1, 9
	if _, ok := c.ask(p).(*packets.PubackPacket); !ok {
		c.t.Error("got no PUBACK")
	}
}

func (c client) subscribe(filter string) byte {
	c.t.Helper()
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.Topics, p.Qoss, p.MessageID = []string{filter}, []byte{1}, 5
	return c.ask(p).(*packets.SubackPacket).ReturnCodes[0]
}

const topic = "placeos/org/state/bld/lvl/area/sys/drv/mod/1/power"

func TestBrokerTakesTheTokenAsUserName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t, Options{})
		access, refresh := login(c)
		for user, want := range map[string]byte{access: 0, "key1.abc": 0, "key1.x": 5, access + "x": 5, "": 5} {
			if _, code := connect(t, s, user); code != want {
				t.Errorf("user name %.20q: got code %d; want %d", user, code, want)
			}
		}
		m, _ := connect(t, s, access)
		if code := m.subscribe("placeos/#"); code != 1 {
			t.Errorf("got SUBACK %#x; want 1", code)
		}
		time.Sleep(DefaultTokenLife + time.Second)
		if s.Valid(access) {
			t.Error("the token is still valid")
		}
		if _, code := connect(t, s, access); code != 5 {
			t.Errorf("got code %d for an expired token; want 5", code)
		}
		if err := s.Publish(cloudtest.Message{Topic: topic, Payload: []byte(`{"time":1,"value":"true"}`), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		if p, ok := m.next().(*packets.PublishPacket); !ok || p.TopicName != topic {
			t.Errorf("got %v; want the message on the session that outlived its token", p)
		}
		if code := m.subscribe("placeos/org/#"); code != 1 {
			t.Errorf("got SUBACK %#x; want 1: an established connection's token may have expired", code)
		}
		renewed := c.Do("POST", "/auth/oauth/token", refreshing(refresh)).Text("access_token")
		if _, code := connect(t, s, renewed); code != 0 {
			t.Errorf("got code %d for the renewed token", code)
		}
		s.LogOut("user@email.com")
		if _, code := connect(t, s, renewed); code != 5 {
			t.Errorf("got code %d after the logout; want 5", code)
		}
		if got := s.Connects(); len(got) != 9 || got[len(got)-1].Code != 5 || got[len(got)-1].Token != renewed {
			t.Errorf("got %d CONNECTs, the last %+v", len(got), got[len(got)-1])
		}
	})
}

func TestBrokerRefusesWritesOfPlainUsers(t *testing.T) {
	s, c := newServer(t, Options{})
	access, _ := login(c)
	m, _ := connect(t, s, access)
	m.publish(topic)
	service := c.Do("POST", "/auth/oauth/token", Form("grant_type", "password", "username", "service@account.com", "password", "developer", "client_id", "public-app", "scope", "mqtt")).Text("access_token")
	m, _ = connect(t, s, service)
	m.publish(topic)
	if s.Count(KindForbidden) != 1 || s.Count(KindPublish) != 1 {
		t.Errorf("got %v; want one message refused and one taken", s.Counts())
	}
	for _, test := range []struct {
		token, access string
		want          int
	}{{access, "1", 200}, {access, "4", 200}, {access, "2", 403}, {service, "2", 200}, {service, "16", 403}} {
		c.Do("POST", "/api/engine/v2/mqtt/access", Bearer(test.token), Form("topic", topic, "clientid", "x", "acc", test.access)).Want(test.want)
	}
	c.Do("POST", "/api/engine/v2/mqtt/user", Bearer(access)).Want(200)
	c.Do("POST", "/api/engine/v2/mqtt/user", Bearer("x")).Want(403)
}

func TestFaultsOfTheBroker(t *testing.T) {
	s, c := newServer(t, Options{})
	access, _ := login(c)
	s.MustSet(RefuseConnect, host.Times(1).With(4))
	if _, code := connect(t, s, access); code != 4 {
		t.Errorf("got code %d; want 4", code)
	}
	m, _ := connect(t, s, access)
	if online := s.Online(); len(online) != 1 || online[0] != access {
		t.Errorf("got %d connections; want the one", len(online))
	}
	s.DropMQTT()
	if _, err := packets.ReadPacket(m); err == nil {
		t.Error("the connection was not cut")
	}
	s.MustSet(host.Unreachable, host.Times(1))
	if _, err := s.DialMQTT(t.Context(), "tcp", "x:1"); err == nil {
		t.Error("an unreachable broker was reached")
	}
}

func TestBrokerListens(t *testing.T) {
	s, c := newServer(t, Options{})
	access, _ := login(c)
	url, err := s.ListenMQTT("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", url[len("mqtt://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier, p.UsernameFlag, p.Username = "MQTT", 4, true, "x", true, access
	if ack := (client{t, conn}).ask(p).(*packets.ConnackPacket); ack.ReturnCode != 0 {
		t.Errorf("got code %d", ack.ReturnCode)
	}
}
