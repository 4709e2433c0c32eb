package cloudtest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Listeners say where a Cloud listens. An empty address is a free port of
// 127.0.0.1; of 127.0.0.2 for Files, so that it is another host.
type Listeners struct {
	API, MQTT, Files string
	TLS              bool   // on all of them
	Host             string // in Addrs, in the place of the address; none if empty
}

// Listen opens listeners and serves on them until Close. Addrs returns their
// places afterwards.
func (c *Cloud) Listen(l Listeners) (addrs Addrs, err error) {
	var opened []net.Listener
	defer func() {
		if err != nil {
			for _, o := range opened {
				o.Close()
			}
		}
	}()
	open := func(addr, fallback string) (net.Listener, error) {
		if addr == "" {
			addr = fallback
		}
		o, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		if l.TLS {
			config := c.ServerTLS()
			if len(opened) != 1 { // all but MQTT
				config.NextProtos = []string{"http/1.1"}
			}
			o = tls.NewListener(o, config)
		}
		opened = append(opened, o)
		return o, nil
	}
	api, err := open(l.API, "127.0.0.1:0")
	if err != nil {
		return Addrs{}, err
	}
	mqtt, err := open(l.MQTT, "127.0.0.1:0")
	if err != nil {
		return Addrs{}, err
	}
	files, err := open(l.Files, "127.0.0.2:0")
	if err != nil && l.Files == "" { // a system with no address but 127.0.0.1
		files, err = open("127.0.0.1:0", "")
	}
	if err != nil {
		return Addrs{}, err
	}
	web, broker := "http://", "mqtt://"
	if l.TLS {
		web, broker = "https://", "mqtts://"
	}
	addrs = Addrs{API: web + l.place(api), MQTT: broker + l.place(mqtt), Files: web + l.place(files)}
	c.mu.Lock()
	c.addrs = addrs
	c.mu.Unlock()
	c.serving.HTTP(api, http.HandlerFunc(c.ServeHTTP))
	c.serving.HTTP(files, http.HandlerFunc(c.ServeFiles))
	c.serving.Run(func() { host.Accept(mqtt, c.startMQTT) }, func() { mqtt.Close() })
	return addrs, nil
}

// place is how others reach a listener.
func (l Listeners) place(o net.Listener) string {
	addr, ok := o.Addr().(*net.TCPAddr)
	if !ok || l.Host == "" {
		return o.Addr().String()
	}
	return net.JoinHostPort(l.Host, strconv.Itoa(addr.Port))
}
