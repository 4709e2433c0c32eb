//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/test/peers"
)

// A PlaceOS broker looks at a token's end at CONNECT alone. Mosquitto is made
// to do so: its password file is written when a client is about to connect,
// with the token if the cloud takes it at that moment.
func TestSessionOutlivesItsPlaceOSToken(t *testing.T) {
	dir := t.TempDir()
	certs, err := peers.NewCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := peers.StartMosquitto(dir, certs, map[string]string{watcher: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	cloud := placeos.New(placeos.Options{TokenLife: 24 * time.Second})
	t.Cleanup(cloud.Close)
	cloud.AddUser(placeos.User{Email: "gateway@example.com", Password: "p"})
	cloud.AddApplication(placeos.Application{ID: "c", Scopes: []string{"public", "mqtt.read"}})
	keeper := startPlaceOSKeeper(t, cloud)

	messages := make(chan string, 100)
	session := &mqtt.Session{
		Dial: dialer(t, broker.Addr, certs).Dial,
		Credential: func(ctx context.Context) (mqtt.Credential, <-chan struct{}, error) {
			tok, _, err := keeper.Current(ctx)
			if err != nil {
				return mqtt.Credential{}, nil, err
			}
			users := map[string]string{watcher: password}
			if cloud.Valid(tok.Raw()) {
				users[tok.Raw()] = password
			}
			// The session stays although its token is superseded: no channel tells it.
			return mqtt.Credential{ClientID: "gateway", Username: tok.Raw(), Password: password,
				Filters: []mqtt.Filter{{Topic: "placeos/#", QoS: 1}}}, nil, broker.Admit(users)
		},
		OnMessage: func(m mqtt.Message) { messages <- string(m.Payload) },
		Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	run(t, session.Run)

	connected := func() []string { // the user names of the gateway's CONNECTs
		var users []string
		for line := range strings.Lines(logOf(t, broker)) {
			if strings.Contains(line, " as gateway (") {
				_, user, _ := strings.Cut(line, "u'")
				users = append(users, strings.TrimSuffix(strings.TrimSpace(user), "')."))
			}
		}
		return users
	}
	hear := func(text string) {
		t.Helper()
		publish(t, broker.Addr, certs, text)
		select {
		case got := <-messages:
			if got != text {
				t.Errorf("got the message %q; want %q", got, text)
			}
		case <-time.After(time.Minute):
			t.Fatalf("the message %q never came", text)
		}
	}
	online := func() bool { s, _ := session.Status(); return s.State == mqtt.Online }
	eventually(t, "online", online, func() string { return logOf(t, broker) })
	hear("before")
	first := connected()[0]
	eventually(t, "the first token's end", func() bool { return !cloud.Valid(first) }, func() string { return first })
	hear("after the token's end")
	if users := connected(); len(users) != 1 {
		t.Fatalf("connected %d times; want the one session to go on", len(users))
	}
	if err := broker.Admit(map[string]string{watcher: password}); err != nil { // throws the gateway out
		t.Fatal(err)
	}
	eventually(t, "a second connection", func() bool { return len(connected()) > 1 && online() }, func() string { return logOf(t, broker) })
	hear("with the next token")
	if users := connected(); users[len(users)-1] == first {
		t.Error("reconnected with the token that had ended")
	}
	if n := cloud.Count("issue"); n != 1 {
		t.Errorf("%d logins; want one, and refreshes", n)
	}
}

// startPlaceOSKeeper runs a Keeper of the account until the test ends.
func startPlaceOSKeeper(t *testing.T, cloud *placeos.Server) *account.Keeper {
	t.Helper()
	where, err := cloud.Listen("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := profile.ByName("placeos")
	client := cloud.Client()
	client.Transport = nil // the network's
	keeper := &account.Keeper{
		Provider: &account.Provider{Profile: p, Base: base, HTTP: client, Gate: &account.Gate{Limits: p.Limits},
			Values: func(profile.Call) (profile.Values, error) {
				return profile.Values{profile.Username: "gateway@example.com", profile.Password: "p", profile.ClientID: "c", profile.Scope: "public mqtt.read"}, nil
			}},
		Store:    &account.Store{Dir: t.TempDir(), Profiled: true},
		Schedule: account.ShareSchedule,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	run(t, keeper.Run)
	return keeper
}

// run runs a loop until the test ends.
func run(t *testing.T, loop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func dialer(t *testing.T, addr string, certs peers.Certificates) *mqtt.Dialer {
	t.Helper()
	pem, err := os.ReadFile(certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	d, err := mqtt.NewDialer("mqtts://"+addr, &tls.Config{RootCAs: pool}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// publish sends a message as the cloud's side does, by another program.
func publish(t *testing.T, addr string, certs peers.Certificates, text string) {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("mosquitto_pub", "-h", host, "-p", port, "--cafile", certs.CA, "-u", watcher, "-P", password,
		"-q", "1", "-t", "placeos/org/state/bld/lvl/area/sys/drv/mod/1/power", "-m", text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
}
