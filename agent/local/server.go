package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// Bounds of one peer and one request.
const (
	connsPerUID    = 32
	maxHeader      = 8 << 10
	headerTimeout  = 5 * time.Second
	idleTimeout    = 60 * time.Second
	stallTimeout   = 30 * time.Second // without a byte, either way
	tokenTimeout   = 20 * time.Second // to wait for a token that is good enough
	endTimeout     = 2 * time.Second  // for answers under way when the agent stops
	watchEvery     = 500 * time.Millisecond
	defaultMaxBody = 64 << 20
)

// A Server answers at the socket. Set its fields before Run. A func that is
// nil has its calls answered with 404.
type Server struct {
	Socket string // path; its directory is made if missing
	// Credentials is the path of the socket for systemd's LoadCredential=; none
	// if empty.
	Credentials string

	Group   string // name or number of the group that is trusted beside root and ourselves; none if empty
	MaxBody int64  // bytes of one data file; 64 MiB if zero
	Log     *slog.Logger

	// Status tells the state of everything, at once and without I/O: it is
	// asked twice a second while somebody watches.
	Status func() Status
	// Token waits for a token of the account that is valid for min at least.
	// When ctx ends first, its error says why there is none.
	Token func(ctx context.Context, account string, min time.Duration) (TokenAnswer, error)
	// Follow tells the state of the account's token in force, and gives a channel
	// that is closed when it has changed.
	Follow func(account string) (AccountState, <-chan struct{}, error)
	// Rejected is told that the cloud refused the account's token, which was the
	// one in force a moment ago.
	Rejected func(account, token, reason string) error
	// Proxy returns the account's API.
	Proxy func(account string) (Upstream, error)
	// Renew renews the account's token now and returns when that is done.
	Renew func(ctx context.Context, account string) error
	// Adopt proves a token that a person brought and takes it over for the
	// account. Where the cloud does not accept it, nothing changes.
	Adopt func(ctx context.Context, account, token string) error
	// Login does one step of a person's login at the account's cloud.
	Login func(ctx context.Context, account string, l Login) (LoginAnswer, error)
	// Check asks the cloud for the module's offer now.
	Check func(ctx context.Context, module string) error
	// Fetch gets the module's offer now; its progress is read from Status.
	Fetch func(ctx context.Context, module string) error
	// Install gives a person's word that the module's offer be installed when
	// the rules allow, or now; Rollback gives up an update that is not permanent.
	Install  func(ctx context.Context, module string, now bool) error
	Rollback func(ctx context.Context, module string) error
	// Add takes a data file over: once it returns, the file is durable.
	Add func(ctx context.Context, typ, module, name string, r io.Reader) (Item, error)

	// Publish takes a message over: once it returns, the message is durable, or
	// at QoS 0 handed to the broker.
	Publish func(ctx context.Context, m Publication) error
	// Subscribe says which topics in full a local program means by filter, if it
	// may have them. Deliver brings the messages.
	Subscribe func(filter string) (full string, err error)

	exchange exchange

	listen func(path string) (net.Listener, error) // at the path, if nil
	peerOf func(net.Conn) (peer, error)            // the kernel's word, if nil
	rights func(group string) (rights, error)      // from the system's groups, if nil

	trustedRate rate.Limit // if above trustedPerSecond
}

// Run answers until ctx is done; then it lets answers under way finish for two
// seconds, closes what is left, and returns when nothing of it runs any more.
// Its error is a socket that cannot be made: ErrRunning when another agent
// answers there.
func (s *Server) Run(ctx context.Context) error {
	door, err := s.open(s.Socket)
	if err != nil {
		return fmt.Errorf("local API: %w", err)
	}
	var second *doorman
	if s.Credentials != "" {
		if second, err = s.open(s.Credentials); err != nil {
			return errors.Join(fmt.Errorf("credential socket: %w", err), door.Close())
		}
	}
	find := s.rights
	if find == nil {
		find = newRights
	}
	r, err := find(s.Group)
	if err != nil {
		s.Log.Warn("only root may use the local API for tokens and changes", "err", err)
	}
	handlers := &calls{Server: s, rights: r, publishing: limiter{rate: publishPerSecond, burst: publishBurst},
		trust: limiter{rate: max(s.trustedRate, trustedPerSecond), burst: trustedBurst}}
	srv := &http.Server{
		Handler:           handlers.routes(),
		ConnContext:       withPeer,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(door); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("local API: %w", err)
		}
		return nil
	})
	if second != nil {
		g.Go(func() error { return handlers.handOut(gctx, second) })
	}
	g.Go(func() error {
		<-gctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close() // the peers that are left do not read
		}
		return nil
	})
	err = g.Wait()
	handlers.running.Wait()
	door.gone.Wait()
	handlers.audit.close(s.Log)
	return err
}

// open makes the socket at path and puts a doorman there.
func (s *Server) open(path string) (*doorman, error) {
	open, who := s.listen, s.peerOf
	if open == nil {
		open = listen
	}
	if who == nil {
		who = peerOf
	}
	ln, err := open(path)
	if err != nil {
		return nil, err
	}
	return &doorman{Listener: ln, peerOf: who, each: connsPerUID}, nil
}

// calls is a Server at work.
type calls struct {
	*Server
	rights  rights
	limiter limiter        // of all calls but publishes, for peers that are not trusted
	trust   limiter        // and for those that are
	running sync.WaitGroup // one for each request

	publishing limiter

	audit     audit
	reports   reports
	forwarded atomic.Int32 // requests under way to the clouds
}

func (c *calls) maxBody() int64 {
	if c.MaxBody > 0 {
		return c.MaxBody
	}
	return defaultMaxBody
}
