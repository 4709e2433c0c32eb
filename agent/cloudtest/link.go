package cloudtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

const (
	maxPacket      = 1 << 20          // bytes of one MQTT packet
	connectTimeout = 30 * time.Second // for CONNECT to arrive
)

// A Link is one MQTT connection that the Cloud has admitted. To a Broker it is
// a net.Conn on which the CONNECT has already been read; Replay makes it come
// again.
type Link struct {
	net.Conn
	Connect *packets.ConnectPacket

	gate    Gate // decides about topics; the Cloud's link itself if nil
	c       *Cloud
	device  *device // nil until admitted
	replay  []byte
	raw     []byte // the CONNECT
	expires time.Time
	timer   *time.Timer // closes it at expiry; under c.mu
	kick    bool        // close after CONNACK
	silent  bool        // mute after CONNACK
	acked   atomic.Bool // CONNACK has been written
	muted   atomic.Bool
}

// NewLink reads a CONNECT from conn, on which a Broker can then serve. Who may
// connect is the caller's to decide, about topics gate decides.
func NewLink(conn net.Conn, gate Gate) (*Link, error) {
	l := &Link{Conn: conn, gate: gate}
	conn.SetReadDeadline(time.Now().Add(connectTimeout))
	if err := l.readConnect(); err != nil {
		return nil, err
	}
	return l, conn.SetReadDeadline(time.Time{})
}

// Refuse answers the CONNECT with a code.
func (l *Link) Refuse(code byte) {
	refusal := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	refusal.ReturnCode = code
	l.Conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	refusal.Write(l.Conn)
}

// ServeMQTT is the broker's side of one connection. It returns when conn has
// ended.
func (c *Cloud) ServeMQTT(conn net.Conn) {
	defer conn.Close()
	if !c.serving.Begin() {
		return
	}
	defer c.serving.End()
	l := &Link{Conn: conn, c: c}
	c.mu.Lock()
	c.links[l] = true
	_, cut := c.faults.Roll(Unreachable, "")
	c.mu.Unlock()
	defer c.forget(l)
	select {
	case <-c.serving.Done(): // Close may have looked for links before this one was there
		return
	default:
	}
	conn.SetReadDeadline(time.Now().Add(connectTimeout))
	if cut || l.readConnect() != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	if code := c.connect(l); code != packets.Accepted {
		l.Refuse(code)
		return
	}
	c.broker.Serve(l)
	if l.muted.Load() { // nobody hears of the end, as when a line is cut
		conn.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, conn)
	}
}

func (c *Cloud) forget(l *Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.device != nil {
		c.note(Event{Kind: EventDisconnect, Device: l.device.ID})
	}
}

// readConnect reads the first packet.
func (l *Link) readConnect() error {
	var head []byte
	length, shift := 0, 0
	for more := true; more; {
		b := make([]byte, 1)
		if _, err := io.ReadFull(l.Conn, b); err != nil {
			return err
		}
		head = append(head, b[0])
		if len(head) == 1 {
			continue
		}
		length |= int(b[0]&0x7f) << shift
		shift += 7
		if more = b[0]&0x80 != 0; more && len(head) == 5 {
			return errors.New("malformed length")
		}
	}
	if head[0]>>4 != packets.Connect || length > maxPacket {
		return fmt.Errorf("packet %#x of %d bytes is no CONNECT", head[0], length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(l.Conn, body); err != nil {
		return err
	}
	l.raw = append(head, body...)
	p, err := packets.ReadPacket(bytes.NewReader(l.raw))
	if err != nil {
		return err
	}
	l.Connect = p.(*packets.ConnectPacket)
	return nil
}

// connect decides about a CONNECT, notes it, and returns the CONNACK's code.
func (c *Cloud) connect(l *Link) byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := l.Connect
	d, t, why := c.admit(p.Username)
	code := p.Validate()
	refuse, refused := c.faults.Roll(RefuseConnect, "")
	switch {
	case p.ProtocolVersion != 4:
		code, why = packets.ErrRefusedBadProtocolVersion, "not MQTT 3.1.1"
	case code != packets.Accepted:
		why = "malformed"
	case refused:
		n, _ := strconv.Atoi(refuse)
		code, why = byte(n), string(RefuseConnect)
	case d != nil && len(p.Password) == 0:
		code, why = packets.ErrRefusedBadUsernameOrPassword, "empty password"
	case d == nil:
		code = packets.ErrRefusedNotAuthorised
		if _, ok := c.faults.Roll(BadUserCode, ""); ok {
			code = packets.ErrRefusedBadUsernameOrPassword
		}
	}
	id := 0
	if d != nil {
		id = d.ID
	}
	c.connects.Add(Connect{c.now(), id, p.ClientIdentifier, p.Username, p.CleanSession, code})
	c.note(Event{Kind: EventConnect, Device: id, Status: int(code), Token: tail(p.Username), Why: why})
	if code != packets.Accepted {
		return code
	}
	l.device, l.expires = d, t.expires
	d.lastOnline = c.now()
	_, l.kick = c.faults.Roll(KickConnect, "")
	_, l.silent = c.faults.Roll(Silent, "")
	c.watchExpiry(l)
	return code
}

// watchExpiry closes l when its token expires. The caller holds c.mu.
func (c *Cloud) watchExpiry(l *Link) {
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.device == nil || !c.links[l] {
		return
	}
	l.timer = time.AfterFunc(l.expires.Sub(c.now()), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.now().Before(l.expires) || !c.links[l] {
			return // the clock was set meanwhile
		}
		if _, keep := c.faults.Roll(KeepExpired, ""); !keep {
			host.Cut(l.Conn)
		}
	})
}

// ClientID is the identifier that the client chose, or one made of the
// device's.
func (l *Link) ClientID() string {
	if l.Connect.ClientIdentifier != "" {
		return l.Connect.ClientIdentifier
	}
	return fmt.Sprintf("anonymous-%p", l)
}

// Replay makes the next Read return the CONNECT again.
func (l *Link) Replay() { l.replay = l.raw }

// Read reads what the client sends. Once the Link has fallen silent it reads
// on, so that the client can write, and keeps it all from the Broker.
func (l *Link) Read(p []byte) (int, error) {
	if len(l.replay) > 0 {
		n := copy(p, l.replay)
		l.replay = l.replay[n:]
		return n, nil
	}
	for {
		n, err := l.Conn.Read(p)
		if err != nil || !l.muted.Load() {
			return n, err
		}
	}
}

// Write sends to the client, and after CONNACK does what the faults say.
func (l *Link) Write(p []byte) (int, error) {
	if l.muted.Load() {
		return len(p), nil
	}
	n, err := l.Conn.Write(p)
	if err == nil && l.acked.CompareAndSwap(false, true) {
		if l.silent {
			l.muted.Store(true)
		}
		if l.kick {
			host.Cut(l.Conn)
		}
	}
	return n, err
}

// Close is the Broker's end of the connection. A silent Link stays open to the
// client.
func (l *Link) Close() error {
	if l.muted.Load() {
		return l.Conn.SetReadDeadline(time.Now())
	}
	return host.Cut(l.Conn)
}

// Drop cuts every MQTT connection.
func (c *Cloud) Drop() { c.each(func(l *Link) { host.Cut(l.Conn) }) }

// Kick cuts a device's MQTT connections.
func (c *Cloud) Kick(device int) {
	c.each(func(l *Link) {
		if l.device != nil && l.device.ID == device {
			host.Cut(l.Conn)
		}
	})
}

func (c *Cloud) mute() { c.each(func(l *Link) { l.muted.Store(true) }) }

func (c *Cloud) each(do func(*Link)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		do(l)
	}
}

// Online returns how many MQTT connections a device has.
func (c *Cloud) Online(device int) int {
	n := 0
	c.each(func(l *Link) {
		if l.device != nil && l.device.ID == device {
			n++
		}
	})
	return n
}
