package agent

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// until waits for what a file's change causes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 { // two minutes, which only a failure waits out
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// TestAccountsFollowTheirFiles runs the accounts of a directory while its files
// come, change, break and go. What happens to one disturbs no other.
func TestAccountsFollowTheirFiles(t *testing.T) {
	cloud := cloudtest.New(cloudtest.Options{})
	defer cloud.Close()
	s := beamery.New(beamery.Options{})
	defer s.Close()
	at, err := s.Listen("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.AddClient(beamery.Client{ID: "c", Secret: "s-secret"})
	s.AddClient(beamery.Client{ID: "d", Secret: "s-secret"})
	gw := newGateway(t, cloud)
	gw.conf.Paths.Accounts = filepath.Join(gw.dir, "accounts.d")
	if err := os.Mkdir(gw.conf.Paths.Accounts, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := gw.write(t, "secret", "s-secret\n")
	file := func(client string) string {
		return fmt.Sprintf("[account]\nprofile = beamery\nurl = %s\nclient_id = %s\nclient_secret_file = %s\n", at, client, secret)
	}
	gw.write(t, "accounts.d/good.conf", file("c"))
	gw.write(t, "accounts.d/bad.conf", "[account]\nprofile = nonsense\n")
	gw.write(t, "accounts.d/torn.conf", "[account]\nprofile = beamery\nclient_secret = s-sec\nclient_sec")
	gw.start(t)
	defer gw.stop(t)
	g := gw.g
	g.Dial = nil
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.runAccounts(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	state := func(name string) account.State {
		acc, err := g.accounts.get(name)
		if err != nil {
			return "absent"
		}
		st, _ := acc.Status()
		return st.State
	}
	until(t, "a token beside two bad files", func() bool { return state("good") == account.Good })
	problems := strings.Join(g.status().Problems, "\n")
	for _, want := range []string{`"nonsense" is none of`, "torn.conf:4"} {
		if !strings.Contains(problems, want) || strings.Contains(problems, "s-sec") {
			t.Errorf("problems do not tell %s, or tell a secret:\n%s", want, problems)
		}
	}
	tok, err := g.token(t.Context(), "good", 0)
	if err != nil || !s.Valid(tok.Token) || tok.Account != "good" {
		t.Errorf("got %v, %v", tok, err)
	}

	gw.write(t, "accounts.d/bad.conf", file("d"))
	until(t, "the bad file was mended", func() bool { return state("bad") == account.Good })
	logins := s.Count(host.KindIssue)
	gw.write(t, "accounts.d/good.conf", "[account]\nprofile = beamery\nclient_id") // an editor at work
	until(t, "the fault is told", func() bool { return strings.Contains(strings.Join(g.status().Problems, "\n"), "good.conf:3") })
	if got := state("good"); got != account.Good {
		t.Errorf("a file with a fault made the account %s", got)
	}
	gw.write(t, "accounts.d/good.conf", file("c"))
	if err := os.Remove(filepath.Join(gw.conf.Paths.Accounts, "bad.conf")); err != nil {
		t.Fatal(err)
	}
	until(t, "an account without its file goes", func() bool { return state("bad") == "absent" })
	if n := s.Count(host.KindIssue); n != logins || state("good") != account.Good {
		t.Errorf("%d logins, want %d: the account that stayed was disturbed", n, logins)
	}
	left := g.accountDirectory("bad")
	if problems := strings.Join(g.status().Problems, "\n"); !strings.Contains(problems, "account bad has no file") || !strings.Contains(problems, left+": put") || strings.Contains(problems, "account good") {
		t.Errorf("what is left of the account is not told:\n%s", problems)
	}
	gw.write(t, "accounts.d/bad.conf", file("d"))
	until(t, "a file that is back finds its token", func() bool { return state("bad") == account.Good })
	if n := s.Count(host.KindIssue); n != logins {
		t.Errorf("%d logins, want %d: the token of the account that came back was not kept", n, logins)
	}
	if err := os.Remove(filepath.Join(gw.conf.Paths.Accounts, "bad.conf")); err != nil {
		t.Fatal(err)
	}
	until(t, "the account goes again", func() bool { return state("bad") == "absent" })
	if err := os.RemoveAll(left); err != nil {
		t.Fatal(err)
	}
	if problems := strings.Join(g.status().Problems, "\n"); strings.Contains(problems, "account bad") {
		t.Errorf("nothing is left of the account, but:\n%s", problems)
	}
	if err := g.renewAccount(t.Context(), "good"); err != nil || s.Count(host.KindIssue) != logins+1 {
		t.Errorf("renew: %v, %d logins", err, s.Count(host.KindIssue))
	}
}

// TestSubjectTellsCloudsAndUsersApart: what is stored for one must not reach
// another.
func TestSubjectTellsCloudsAndUsersApart(t *testing.T) {
	at := &url.URL{Scheme: "https", Host: "one.example"}
	was := conf.Account{Username: "u", ClientID: "c"}
	p, _ := profile.ByName("placeos")
	other, _ := profile.ByName("oauth2")
	for what, got := range map[string]string{
		"host":    subjectOf(was, p, &url.URL{Scheme: "https", Host: "two.example"}),
		"path":    subjectOf(was, p, at.JoinPath("v1")),
		"profile": subjectOf(was, other, at),
		"user":    subjectOf(conf.Account{Username: "v", ClientID: "c"}, p, at),
		"client":  subjectOf(conf.Account{Username: "u", ClientID: "d"}, p, at),
	} {
		if got == subjectOf(was, p, at) {
			t.Errorf("another %s is the same subject", what)
		}
	}
}
