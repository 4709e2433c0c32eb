package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenIsGivenAndNoted(t *testing.T) {
	s := willing()
	var asked time.Duration
	s.Token = func(_ context.Context, account string, min time.Duration) (TokenAnswer, error) {
		asked = min
		return TokenAnswer{Token: "eyJhbGciOiJIUzI1NiJ9.e30.s3cret", Expires: time.Unix(1e9, 5), Stale: true}, nil
	}
	serve(t, s, func(t *testing.T, b *bench) {
		got, err := b.client(joined).Token(t.Context(), DeviceAccount, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want := TokenAnswer{"eyJhbGciOiJIUzI1NiJ9.e30.s3cret", time.Unix(1e9, 0).UTC(), true, DeviceAccount}
		if got != want || asked != 10*time.Minute {
			t.Errorf("got %#v for %v, want %#v", got.Token, asked, want.Token)
		}
		log := b.log.String()
		for _, fact := range []string{`msg="token given"`, "account=device", "peer_uid=1001", "peer_pid=4"} {
			if !strings.Contains(log, fact) {
				t.Errorf("the log has no %s:\n%s", fact, log)
			}
		}
		if strings.Contains(log, "s3cret") || strings.Contains(log, "eyJ") {
			t.Errorf("the log tells the token:\n%s", log)
		}
		if s := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(s, "s3cret") {
			t.Errorf("the answer prints its token: %s", s)
		}
	})
}

func TestTokenWaitsAndThenSaysWhyThereIsNone(t *testing.T) {
	s := willing()
	s.Token = func(ctx context.Context, _ string, _ time.Duration) (TokenAnswer, error) {
		<-ctx.Done()
		return TokenAnswer{}, errors.New("last renewal: POST /loginDevice: 503 Service Unavailable")
	}
	serve(t, s, func(t *testing.T, b *bench) {
		start := time.Now()
		_, err := b.client(root).Token(t.Context(), DeviceAccount, 0)
		if code(t, err) != Unavailable || !strings.Contains(err.Error(), "503 Service Unavailable") {
			t.Errorf("got %v, want unavailable and the reason", err)
		}
		if took := time.Since(start); took != tokenTimeout {
			t.Errorf("it took %v, want %v", took, tokenTimeout)
		}
		if b.log.String() != "" {
			t.Errorf("a token not given is noted: %s", b.log)
		}
	})
}

// cloudError is an error of the cloud by its shape.
type cloudError int

func (e cloudError) Error() string   { return fmt.Sprintf("POST /loginDevice: %d", int(e)) }
func (e cloudError) HTTPStatus() int { return int(e) }

func TestFailuresKeepTheirKind(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Code
	}{
		{Errorf(NotFound, "there is no account x"), NotFound},
		{fmt.Errorf("renew: %w", Errorf(Invalid, "bad")), Invalid},
		{fmt.Errorf("renew: %w", cloudError(401)), Refused},
		{cloudError(403), Refused}, {cloudError(404), Refused}, {cloudError(408), Unavailable}, {cloudError(429), Unavailable},
		{cloudError(500), Unavailable}, {cloudError(503), Unavailable}, {cloudError(302), Unavailable},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, Unavailable},
		{&url.Error{Op: "Get", URL: "https://x", Err: io.ErrUnexpectedEOF}, Unavailable},
		{fmt.Errorf("list: %w", context.DeadlineExceeded), Unavailable},
		{fmt.Errorf("write: %w", syscall.ENOSPC), NoSpace}, {syscall.EROFS, NoSpace}, {syscall.EDQUOT, NoSpace},
		{syscall.EIO, Internal}, {errors.New("odd"), Internal}, {&Error{"made-up", "odd"}, Internal},
	} {
		got := asError(tt.err)
		if got.Code != tt.want || got.Reason != tt.err.Error() {
			t.Errorf("%v: got %s %q, want %s", tt.err, got.Code, got.Reason, tt.want)
		}
	}
	if got := asError(errors.New("login with eyJhbGciOiJIUzI1NiJ9.e30.s3cret failed")); strings.Contains(got.Reason, "s3cret") {
		t.Errorf("the reason tells a token: %s", got.Reason)
	}
}

func TestRenewAnswersWhenItIsDone(t *testing.T) {
	s := willing()
	var fail error
	s.Renew = func(ctx context.Context, account string) error {
		time.Sleep(2 * time.Minute) // longer than a silent peer may take
		if account != DeviceAccount {
			return Errorf(NotFound, "there is no account %q", account)
		}
		return fail
	}
	serve(t, s, func(t *testing.T, b *bench) {
		c := b.client(member)
		if err := c.Renew(t.Context(), DeviceAccount); err != nil {
			t.Errorf("got %v", err)
		}
		if err := c.Renew(t.Context(), "other"); code(t, err) != NotFound {
			t.Errorf("got %v, want not found", err)
		}
		fail = cloudError(401)
		if err := c.Renew(t.Context(), DeviceAccount); code(t, err) != Refused {
			t.Errorf("got %v, want refused", err)
		}
		fail = errors.New("no identity file")
		if err := c.Renew(t.Context(), DeviceAccount); code(t, err) != Unavailable || err.Error() != "no identity file" {
			t.Errorf("got %v, want unavailable", err)
		}
	})
}

func TestFetchTellsItsProgress(t *testing.T) {
	s := willing()
	var bytes atomic.Int64
	s.Status = func() Status {
		return Status{OTA: []Module{{Module: "app", Phase: "fetching", Bytes: bytes.Load(), Total: 3}}}
	}
	var fail error
	s.Fetch = func(ctx context.Context, module string) error {
		for bytes.Store(0); bytes.Load() < 3; bytes.Add(1) {
			time.Sleep(time.Minute)
		}
		return fail
	}
	serve(t, s, func(t *testing.T, b *bench) {
		var seen []int64
		m, err := b.client(root).Fetch(t.Context(), "app", func(m Module) { seen = append(seen, m.Bytes) })
		if err != nil || m.Bytes != 3 || fmt.Sprint(slices.Compact(seen)) != "[0 1 2 3]" {
			t.Errorf("got %+v, %v after %v, want 3 bytes after [0 1 2 3]", m, err, seen)
		}
		fail = cloudError(404)
		if m, err = b.client(root).Check(t.Context(), "app"); err != nil || m.Module != "app" {
			t.Errorf("check: got %+v, %v", m, err)
		}
		if m, err = b.client(root).Fetch(t.Context(), "app", func(Module) {}); code(t, err) != Refused || m.Bytes != 3 {
			t.Errorf("got %+v, %v, want refused", m, err)
		}
		if _, err := b.client(root).Fetch(t.Context(), "nothing", nil); code(t, err) != NotFound {
			t.Errorf("got %v, want not found", err)
		}
	})
}

func TestAPeerThatLeavesStopsItsFetch(t *testing.T) {
	s := willing()
	stopped := make(chan struct{})
	s.Fetch = func(ctx context.Context, _ string) error { <-ctx.Done(); close(stopped); return ctx.Err() }
	serve(t, s, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := b.client(root).Fetch(ctx, "app", func(Module) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want our own deadline", err)
		}
		<-stopped
	})
}

func TestWatchTellsEachChangeOnce(t *testing.T) {
	s := willing()
	var generation atomic.Int64
	s.Status = func() Status { return Status{Settings: Settings{Generation: int(generation.Load())}} }
	serve(t, s, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(t.Context())
		var seen []int
		err := b.client(stranger).Watch(ctx, func(s Status) error {
			seen = append(seen, s.Settings.Generation)
			switch len(seen) {
			case 3:
				cancel()
			default:
				time.AfterFunc(time.Hour, func() { generation.Add(1) })
			}
			return nil
		})
		if err != nil || fmt.Sprint(seen) != "[0 1 2]" {
			t.Errorf("got %v, %v, want [0 1 2]", seen, err)
		}
		if err := b.client(stranger).Watch(t.Context(), func(Status) error { return io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("got %v, want the callback's error", err)
		}
	})
}

func TestTheAgentsEndEndsWatchesAndFetches(t *testing.T) {
	s := willing()
	s.Fetch = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	serve(t, s, func(t *testing.T, b *bench) {
		watched, fetched := make(chan error, 1), make(chan error, 1)
		go func() { watched <- b.client(root).Watch(t.Context(), func(Status) error { return nil }) }()
		go func() {
			_, err := b.client(root).Fetch(t.Context(), "app", func(Module) {})
			fetched <- err
		}()
		idle, err := b.mem.dial(root)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		synctest.Wait()
		if err := b.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-watched; err != nil {
			t.Errorf("watch: %v", err)
		}
		if err := <-fetched; code(t, err) != Unavailable {
			t.Errorf("fetch: %v", err)
		}
		if _, err := b.client(root).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("afterwards: %v, want ErrNotRunning", err)
		}
	})
}

func TestDataFilesAreStreamed(t *testing.T) {
	s := willing()
	s.MaxBody = 100
	serve(t, s, func(t *testing.T, b *bench) {
		c := b.client(member)
		for _, tt := range []struct {
			name, typ, module, file string
			size                    int64
			body                    string
			want                    Code
		}{
			{"known size", "log", "app", "app.log", 5, "line\n", ""},
			{"unknown size", "journal", "", "j", -1, "line\n", ""},
			{"a path as its name", "log", "", "../../etc/app.log", 5, "line\n", ""},
			{"empty", "log", "", "a", 0, "", Invalid},
			{"too large", "log", "", "a", 101, strings.Repeat("x", 101), TooLarge},
			{"too large, unannounced", "log", "", "a", -1, strings.Repeat("x", 101), TooLarge},
			{"far too large, unannounced", "log", "", "a", -1, strings.Repeat("x", 180), TooLarge},
			{"no such type", "../log", "", "a", 1, "x", Invalid},
			{"no such module", "log", "a/b", "a", 1, "x", Invalid},
		} {
			it, err := c.Upload(t.Context(), tt.typ, tt.module, tt.file, tt.size, strings.NewReader(tt.body))
			if tt.want != "" {
				if code(t, err) != tt.want {
					t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
				}
				continue
			}
			name := tt.file[strings.LastIndex(tt.file, "/")+1:]
			if want := (Item{"1", name, tt.typ, tt.module, int64(len(tt.body))}); err != nil || it != want {
				t.Errorf("%s: got %+v, %v, want %+v", tt.name, it, err, want)
			}
		}
		if got, body := b.do(member, "POST", "/v1/data-files", carrying("x")); got != 201 || !strings.Contains(body, `"name":"upload.log"`) {
			t.Errorf("without a name: got %d %s", got, body)
		}
	})
}

func TestAFailureHalfwayReachesAPeerThatIsStillWriting(t *testing.T) {
	s := willing()
	s.Add = func(_ context.Context, _, _, _ string, r io.Reader) (Item, error) {
		_, err := io.ReadFull(r, make([]byte, 10))
		return Item{}, errors.Join(err, syscall.ENOSPC)
	}
	serve(t, s, func(t *testing.T, b *bench) {
		const size = 8 << 20
		_, err := b.client(root).Upload(t.Context(), "log", "", "a", size, io.LimitReader(zeros{}, size))
		if code(t, err) != NoSpace {
			t.Errorf("got %v, want no space", err)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestADataFileThatStallsIsGivenUp(t *testing.T) {
	s := willing()
	var failed atomic.Bool
	add := s.Add
	s.Add = func(ctx context.Context, typ, module, name string, r io.Reader) (Item, error) {
		it, err := add(ctx, typ, module, name, r)
		failed.Store(err != nil)
		return it, err
	}
	serve(t, s, func(t *testing.T, b *bench) {
		slow, w := io.Pipe()
		go func() {
			for range 10 { // slower than a silent peer may be, in all
				time.Sleep(stallTimeout - time.Second)
				fmt.Fprintln(w, "line")
			}
			w.Close()
		}()
		if it, err := b.client(root).Upload(t.Context(), "log", "", "slow", -1, slow); err != nil || it.Size != 50 {
			t.Errorf("slow: got %+v, %v, want 50 bytes", it, err)
		}
		dead, hold := io.Pipe()
		go fmt.Fprintln(hold, "line")
		_, err := b.client(root).Upload(t.Context(), "log", "", "dead", -1, dead)
		hold.Close()
		if err == nil || !failed.Load() {
			t.Errorf("dead: got %v, want a failure", err)
		}
	})
}

func TestAnswersAreJSON(t *testing.T) {
	serve(t, willing(), func(t *testing.T, b *bench) {
		for _, path := range []string{"/v1/status", "/v1/ota", "/v1/accounts/device/token", "/v1/nothing"} {
			if _, body := b.do(root, http.MethodGet, path, nil); !json.Valid([]byte(body)) || strings.Count(body, "\n") != 1 {
				t.Errorf("%s: %q is not one line of JSON", path, body)
			}
		}
	})
}
