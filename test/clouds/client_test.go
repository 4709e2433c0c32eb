// Package clouds lets our engine and golang.org/x/oauth2 keep the tokens of the
// same simulated clouds, and writes down which of them gets what right.
package clouds

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
)

// What the one customer of each cloud knows.
const (
	user     = "gateway@example.com"
	password = "p"
	clientID = "c"
	secret   = "s"
)

// A client keeps one account's token.
type client interface {
	// Token is the token to present now.
	Token() (string, error)
	// Refused says that an API call with the token was answered 401.
	Refused(token string)
	// Restart ends the program and starts it again with what it has kept.
	Restart()
	// Get makes an API call and returns its status, 0 for none.
	Get(path string) int
	Close()
}

// The contenders, in the order of the table.
var contenders = []struct {
	name string
	open func(t *testing.T, cloud string, at place) client
}{
	{"golang.org/x/oauth2", newLibrary},
	{"spoke-zone-agent", newEngine},
}

// A place is a simulated cloud in memory.
type place interface {
	Client() *http.Client
	URL() string
}

// A library is golang.org/x/oauth2 as its documentation uses it, told by hand
// where client credentials go, so that it does not have to try.
type library struct {
	ctx    context.Context
	cloud  string
	base   string
	http   *http.Client
	first  *oauth2.Token // what the program got at its login, and kept
	source oauth2.TokenSource
}

func newLibrary(t *testing.T, cloud string, at place) client {
	l := &library{cloud: cloud, base: at.URL(), http: at.Client()}
	l.ctx = context.WithValue(t.Context(), oauth2.HTTPClient, l.http)
	l.Restart()
	return l
}

var tokenPaths = map[string]string{"beacon-tower": "/auth/ropc", "bace": "/oauth2/token", "placeos": "/auth/oauth/token", "beamery": "/v1/oauth/token"}

func (l *library) Restart() {
	endpoint := oauth2.Endpoint{TokenURL: l.base + tokenPaths[l.cloud], AuthStyle: oauth2.AuthStyleInParams}
	if l.cloud == "beamery" {
		config := &clientcredentials.Config{ClientID: clientID, ClientSecret: secret, TokenURL: endpoint.TokenURL, AuthStyle: endpoint.AuthStyle}
		l.source = config.TokenSource(l.ctx)
		return
	}
	config := &oauth2.Config{ClientID: clientID, ClientSecret: secret, Endpoint: endpoint, Scopes: []string{"public"}}
	if l.cloud == "placeos" {
		config.ClientSecret = "" // a public application
	}
	l.source = sourceFunc(func() (*oauth2.Token, error) {
		if l.first == nil {
			tok, err := config.PasswordCredentialsToken(l.ctx, user, password)
			if err != nil {
				return nil, err
			}
			l.first = tok
		}
		l.source = config.TokenSource(l.ctx, l.first)
		return l.source.Token()
	})
}

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

func (l *library) Token() (string, error) {
	tok, err := l.source.Token()
	if err != nil {
		return "", err
	}
	return tok.AccessToken, nil
}

// Refused does nothing: the library cannot be told.
func (l *library) Refused(string) {}

func (l *library) Get(path string) int {
	resp, err := oauth2.NewClient(l.ctx, l.source).Get(l.base + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (l *library) Close() { l.http.CloseIdleConnections() }

// An engine is the agent's Keeper of one account.
type engine struct {
	t       *testing.T
	dir     string
	profile profile.Profile
	base    *url.URL
	http    *http.Client
	account *account.Account
	stop    func()
}

func newEngine(t *testing.T, cloud string, at place) client {
	p, ok := profile.ByName(cloud)
	base, err := url.Parse(at.URL())
	if !ok || err != nil {
		t.Fatalf("profile %s: %v, %v", cloud, ok, err)
	}
	e := &engine{t: t, dir: t.TempDir(), profile: p, base: base, http: at.Client()}
	e.start()
	return e
}

func (e *engine) start() {
	gate := &account.Gate{Limits: e.profile.Limits}
	keeper := &account.Keeper{
		Provider: &account.Provider{Profile: e.profile, Base: e.base, HTTP: e.http, Gate: gate, Values: values},
		Store:    &account.Store{Dir: e.dir, Profiled: true},
		Schedule: account.ShareSchedule,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	e.account = &account.Account{Name: e.profile.Name, Profile: e.profile, Base: e.base, HTTP: e.http, Keeper: keeper, Gate: gate}
	ctx, cancel := context.WithCancel(e.t.Context())
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	e.stop = func() {
		cancel()
		if err := <-done; err != nil {
			e.t.Errorf("keeper: %v", err)
		}
	}
}

func values(c profile.Call) (profile.Values, error) {
	v := profile.Values{profile.Username: user, profile.Password: password, profile.ClientID: clientID}
	if c.Path != tokenPaths["placeos"] { // a public application
		v[profile.ClientSecret] = secret
	}
	return v, nil
}

func (e *engine) Token() (string, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Second)
	defer cancel()
	tok, err := e.account.Token(ctx, 0)
	return tok.Raw(), err
}

func (e *engine) Refused(token string) {
	if tok, _, err := e.account.Current(e.t.Context()); err == nil && tok.Raw() == token {
		e.account.Rejected(tok.Hash(), errRefused)
	}
}

func (e *engine) Restart() {
	e.stop()
	e.start()
}

// Get is what the injecting proxy does for local programs.
func (e *engine) Get(path string) int {
	token, err := e.Token()
	if err != nil {
		return 0
	}
	r, err := http.NewRequestWithContext(e.t.Context(), "GET", e.base.String()+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set(e.account.Send().Header, e.account.Send().Prefix+token)
	if e.account.Acquire(e.t.Context()) != nil {
		return 0
	}
	resp, err := e.http.Do(r)
	e.account.Observe(resp)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (e *engine) Close() {
	e.stop()
	e.http.CloseIdleConnections()
}
