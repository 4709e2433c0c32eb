// Package websocket stands in for github.com/gorilla/websocket, so that the
// agent does not carry it: paho would dial MQTT over WebSocket with it, and the
// simulator's broker would listen, which neither is ever told to. It has as much
// of the interface as they compile against, and refuses.
package websocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// BinaryMessage is the kind of a frame of bytes (RFC 6455, section 11.8).
const BinaryMessage = 2

// ErrNone is the answer to everything.
var ErrNone = errors.New("this program was built without WebSocket")

// A Dialer dials nobody.
type Dialer struct {
	Proxy                           func(*http.Request) (*url.URL, error)
	HandshakeTimeout                time.Duration
	EnableCompression               bool
	TLSClientConfig                 *tls.Config
	Subprotocols                    []string
	ReadBufferSize, WriteBufferSize int
}

// Dial returns ErrNone.
func (*Dialer) Dial(string, http.Header) (*Conn, *http.Response, error) { return nil, nil, ErrNone }

// An Upgrader upgrades no connection.
type Upgrader struct {
	Subprotocols []string
	CheckOrigin  func(*http.Request) bool
}

// Upgrade returns ErrNone, having answered the request with it.
func (*Upgrader) Upgrade(w http.ResponseWriter, _ *http.Request, _ http.Header) (*Conn, error) {
	http.Error(w, ErrNone.Error(), http.StatusNotImplemented)
	return nil, ErrNone
}

// A Conn is never made.
type Conn struct{ net.Conn }

// UnderlyingConn returns the connection below.
func (c *Conn) UnderlyingConn() net.Conn { return c.Conn }

// NextReader returns ErrNone.
func (*Conn) NextReader() (int, io.Reader, error) { return 0, nil, ErrNone }

// WriteMessage returns ErrNone.
func (*Conn) WriteMessage(int, []byte) error { return ErrNone }
