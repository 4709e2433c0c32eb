// Package cloudtest is a faithful Spoke Zone to test against: its HTTP API and
// its MQTT broker, in memory or on listeners, with every fault that a gateway
// may meet.
//
// Where the vendor's pages are silent or contradict each other, the Cloud does
// the likelier or the stricter thing, and a Switch makes it do the other one;
// docs/fidelity.md lists them. In memory it works inside a testing/synctest
// bubble, provided that New is called inside: nothing in it ticks while
// nothing happens.
package cloudtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// Times of a token's life as Spoke Zone documents them.
const (
	DefaultTokenLife = 7 * 24 * time.Hour // of a new token
	DefaultWindow    = 12 * time.Hour     // before expiry: how long the server renews
	DefaultGrace     = 12 * time.Hour     // after expiry: how long it still renews
)

// ErrClosed means that the Cloud has been closed.
var ErrClosed = errors.New("cloud is closed")

// Options are what a Cloud cannot change later. The zero value is the
// documented Spoke Zone, in memory.
type Options struct {
	TokenLife time.Duration // of tokens that it issues; DefaultTokenLife if zero
	Window    time.Duration // DefaultWindow if zero
	Grace     time.Duration // DefaultGrace if zero
	Broker    Broker        // keeps the MQTT sessions; NewPeer() if nil
	Seed      uint64        // of the draws for faults with a probability
	MaxUpload int64         // bytes of one data file; 64 MiB if zero
	MaxLimit  int           // of a listing's limit parameter; 100 if zero
	Hosts     []string      // further names and addresses for the certificate
}

// A Cloud is one Spoke Zone. Its methods may be called at any time, from any
// goroutine.
type Cloud struct {
	opt     Options
	key     []byte // signs tokens
	broker  Broker
	mux     *http.ServeMux
	serving *host.Serving
	log     eventLog
	memory  memory

	mu       sync.Mutex
	offset   time.Duration
	faults   *host.Rules
	spoiler  *host.Spoiler
	answer   func(http.ResponseWriter, *http.Request) bool // see Intercept
	devices  map[int]*device
	users    map[string]*User
	tokens   map[string]*issued // by the whole token
	serial   int                // of the newest token
	releases map[int]*release
	files    map[int]*DataFile
	nextFile int
	links    map[*Link]bool // MQTT connections being served
	sending  map[*body]bool // OTA files on their way
	addrs    Addrs
	cert     *host.Certificate // made when first needed
	served   map[int]int64     // bytes of OTA files sent, by file
	counts   map[string]int    // totals by kind of event
	logins   host.Ring[Login]
	connects host.Ring[Connect]
	messages host.Ring[Message]
	newest   map[string]Message // by topic
}

// New returns a Cloud that knows no devices and no files. Close must end it.
func New(opt Options) *Cloud {
	orDefault(&opt.TokenLife, DefaultTokenLife)
	orDefault(&opt.Window, DefaultWindow)
	orDefault(&opt.Grace, DefaultGrace)
	orDefault(&opt.MaxUpload, 64<<20)
	orDefault(&opt.MaxLimit, 100)
	if opt.Broker == nil {
		opt.Broker = NewPeer()
	}
	c := &Cloud{
		opt:      opt,
		key:      make([]byte, 32),
		broker:   opt.Broker,
		serving:  host.NewServing(),
		faults:   host.NewRules(Faults, Operations, opt.Seed, brokerFaults...),
		devices:  map[int]*device{},
		users:    map[string]*User{},
		tokens:   map[string]*issued{},
		releases: map[int]*release{},
		files:    map[int]*DataFile{},
		nextFile: 101,
		links:    map[*Link]bool{},
		sending:  map[*body]bool{},
		addrs:    memoryAddrs,
		served:   map[int]int64{},
		counts:   map[string]int{},
		newest:   map[string]Message{},
	}
	rand.Read(c.key) // never fails
	c.spoiler = c.newSpoiler()
	c.mux = c.routes()
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Close ends every connection and waits for all that the Cloud had started.
func (c *Cloud) Close() {
	cut := func() {
		c.Drop()
		c.serving.Drop()
	}
	if c.serving.Close(cut) {
		c.broker.Close()
	}
}

// Now is the time that the Cloud believes in.
func (c *Cloud) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Cloud) now() time.Time { return time.Now().Add(c.offset) }

// SetOffset makes the Cloud's clock differ from this machine's by d: the Date
// of its answers, and its view of every token's expiry.
func (c *Cloud) SetOffset(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = d
	for l := range c.links {
		c.watchExpiry(l)
	}
}

// Offset returns by how much the Cloud's clock differs from this machine's.
func (c *Cloud) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// SetTokenTimes changes the life of tokens issued from now on, and how long
// before and after expiry every token is renewed. Zero leaves a value as it is.
func (c *Cloud) SetTokenTimes(life, window, grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&c.opt.TokenLife, life}, {&c.opt.Window, window}, {&c.opt.Grace, grace}} {
		if v.from != 0 {
			*v.to = v.from
		}
	}
}

// TokenTimes returns the life, window and grace in force.
func (c *Cloud) TokenTimes() (life, window, grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opt.TokenLife, c.opt.Window, c.opt.Grace
}

// Connected is how many HTTP connections the Cloud has. None of a client that is
// dead is left when all that it had sent is dealt with.
func (c *Cloud) Connected() int { return c.serving.Connected() }

// Intercept lets answer take a request before the Cloud does; it returns
// whether it has answered. Nil ends that.
func (c *Cloud) Intercept(answer func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// tail is as much of a token as anything may show.
func tail(token string) string {
	if len(token) <= 6 {
		return ""
	}
	return fmt.Sprintf("…%s", token[len(token)-6:])
}
