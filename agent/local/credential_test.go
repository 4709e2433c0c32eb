package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemdGetsABareToken speaks as PID 1 does for LoadCredential=: it binds
// an address in the abstract namespace, connects, and reads to the end.
func TestSystemdGetsABareToken(t *testing.T) {
	dir := t.TempDir()
	log := new(safeBuffer)
	s := willing()
	s.Socket, s.Credentials, s.Log = filepath.Join(dir, "agent.sock"), filepath.Join(dir, "credential.sock"), slog.New(slog.NewTextHandler(log, nil))
	s.Token = func(_ context.Context, account string, _ time.Duration) (TokenAnswer, error) {
		switch account {
		case "building":
			return TokenAnswer{Token: "eyJ.bare.token"}, nil
		case "waiting":
			return TokenAnswer{}, errors.New("the cloud has been away since noon")
		}
		return TokenAnswer{}, Errorf(NotFound, "there is no account %q", account)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	unit := fmt.Sprintf("@%x", os.Getpid()) // the namespace is the machine's
	for _, tt := range []struct{ name, want, say string }{
		{unit + "/unit/app.service/building", "eyJ.bare.token", "via=app.service"},
		{unit + "/unit/app@1.service/building", "eyJ.bare.token", "via=app@1.service"},
		{unit + "/unit/app.service/other", "", "there is no account"},
		{unit + "/unit/app.service/waiting", "", "away since noon"},
		{unit + "/unit/building", "", "is not RANDOM/unit/UNIT/ACCOUNT"},
		{"", "", "does not say which"},
	} {
		var from *net.UnixAddr
		if tt.name != "" {
			from = &net.UnixAddr{Name: tt.name, Net: "unix"}
		}
		var conn net.Conn
		var err error
		for range 3000 { // until the socket is there
			if conn, err = net.DialUnix("unix", from, &net.UnixAddr{Name: s.Credentials, Net: "unix"}); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		_ = conn.Close()
		if string(got) != tt.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
		for range 3000 {
			if strings.Contains(log.String(), tt.say) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !strings.Contains(log.String(), tt.say) {
			t.Errorf("%s: the log does not say %q: %s", tt.name, tt.say, log.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if strings.Contains(log.String(), "bare") {
		t.Errorf("a token is in the log: %s", log.String())
	}
	if _, err := os.Lstat(s.Credentials); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func FuzzWanted(f *testing.F) {
	for _, s := range []string{"@5a1b/unit/app.service/building", "\x00x/unit/a/b", "@/unit//", "", "@a/unit/b/c/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		unit, account, err := wanted(&net.UnixAddr{Name: name, Net: "unix"})
		if err == nil && (!nameForm.MatchString(account) || strings.ContainsAny(unit, "/\n ") || !strings.HasSuffix(name, "/unit/"+unit+"/"+account)) {
			t.Errorf("%q: unit %q, account %q", name, unit, account)
		}
	})
}
