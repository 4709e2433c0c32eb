package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const token = "eyJhbGciOiJIUzI1NiJ9.eyJkZXZpY2VJZCI6MTIzfQ.c2lnbmF0dXJl"

// logged is what one record looks like in form f.
func logged(f form, say func(*slog.Logger)) string {
	var b bytes.Buffer
	say(slog.New(newHandler(&b, slog.LevelDebug, f)))
	return b.String()
}

func TestLogLines(t *testing.T) {
	say := func(l *slog.Logger) {
		l.With("task", "mqtt").WithGroup("try").Warn("not accepted", "err", errors.New("refused: code 5"), "attempt", 3)
	}
	for _, tt := range []struct {
		name string
		form form
		want string // a regular expression
	}{
		{"journal", journal, `^<4>not accepted task=mqtt try.err="refused: code 5" try.attempt=3\n$`},
		{"terminal", terminal, `^\d\d:\d\d:\d\d WARN  not accepted task=mqtt try.err="refused: code 5" try.attempt=3\n$`},
		{"colour", colour, `^\d\d:\d\d:\d\d \x1b\[33mWARN \x1b\[0m not accepted task=mqtt`},
		{"plain", plain, `^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=WARN msg="not accepted" task=mqtt try.err="refused: code 5" try.attempt=3\n$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := logged(tt.form, say); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got  %q\nwant %s", got, tt.want)
			}
		})
	}
}

func TestJournalPriorities(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "<7>m\n", slog.LevelInfo: "<6>m\n", slog.LevelInfo + 1: "<6>m\n",
		slog.LevelWarn: "<4>m\n", slog.LevelError: "<3>m\n", slog.LevelError + 4: "<3>m\n",
	} {
		if got := logged(journal, func(l *slog.Logger) { l.Log(t.Context(), level, "m") }); got != want {
			t.Errorf("%v: got %q, want %q", level, got, want)
		}
	}
}

type shy struct{}

func (shy) LogValue() slog.Value {
	return slog.GroupValue(slog.String("tail", "abc123"), slog.Time("expires", time.Unix(0, 0).UTC()))
}

func TestSecretsStayOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		say  func(*slog.Logger)
		want string
	}{
		{"in the message", func(l *slog.Logger) { l.Info("got " + token) }, "<6>got [redacted]\n"},
		{"in an error", func(l *slog.Logger) { l.Info("m", "err", fmt.Errorf("login with %s: 401", token)) },
			"<6>m err=\"login with [redacted]: 401\"\n"},
		{"cut short", func(l *slog.Logger) { l.Info("m", "a", token[:20]+" x") }, "<6>m a=\"[redacted] x\"\n"},
		{"in a value of any kind", func(l *slog.Logger) { l.Info("m", "a", []string{"x", token}) }, "<6>m a=\"[x [redacted]]\"\n"},
		{"in a group", func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", token)) }, "<6>m g.a=[redacted]\n"},
		{"by its key", func(l *slog.Logger) { l.Info("m", "X-Access-Token", "s3cret") }, "<6>m X-Access-Token=[redacted]\n"},
		{"password", func(l *slog.Logger) { l.Info("m", "mqtt_password", "s3cret") }, "<6>m mqtt_password=[redacted]\n"},
		{"user name", func(l *slog.Logger) { l.Info("m", "mqtt_username", "s3cret") }, "<6>m mqtt_username=[redacted]\n"},
		{"authorization", func(l *slog.Logger) { l.Info("m", "Authorization", []byte("s3cret")) }, "<6>m Authorization=[redacted]\n"},
		{"bound beforehand", func(l *slog.Logger) { l.With("password", "s3cret").Info("m") }, "<6>m password=[redacted]\n"},
		{"a count is none", func(l *slog.Logger) { l.Info("m", "tokens", 3) }, "<6>m tokens=3\n"},
		{"a token's own words", func(l *slog.Logger) { l.Info("m", "token", shy{}) },
			"<6>m token.tail=abc123 token.expires=1970-01-01T00:00:00.000Z\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := logged(journal, tt.say); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestAttributesWithOurKeysStay(t *testing.T) {
	got := logged(journal, func(l *slog.Logger) { l.Info("m", "level", "high", "msg", "hello", "time", "noon") })
	if want := "<6>m level=high msg=hello time=noon\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneRecordIsOneBoundedLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := rapid.SampledFrom([]form{plain, journal, terminal, colour}).Draw(rt, "form")
		msg := strings.Repeat(rapid.String().Draw(rt, "message"), rapid.IntRange(1, 500).Draw(rt, "times"))
		key, value := rapid.String().Draw(rt, "key"), rapid.String().Draw(rt, "value")
		got := logged(f, func(l *slog.Logger) { l.Info(msg, key, value, "err", errors.New(value+"\nx")) })
		if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || len(got) > maxRecord || !utf8.ValidString(got) {
			rt.Errorf("got %d bytes: %q", len(got), got)
		}
	})
}

func TestLevelMayChange(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var level slog.LevelVar
	log := NewLogger(out, &level)
	log.Debug("before")
	level.Set(slog.LevelDebug)
	log.Debug("after")
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got); strings.Contains(s, "before") || !strings.Contains(s, "msg=after") {
		t.Errorf("got %q", s)
	}
}

func TestTheJournalIsKnownByItsStream(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	ours := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	for _, tt := range []struct {
		stream string
		want   bool
	}{{ours, true}, {"", false}, {ours + "1", false}, {fmt.Sprintf("%d:%d", st.Dev+1, st.Ino), false}, {"nonsense", false}} {
		if got := isJournal(out, tt.stream); got != tt.want {
			t.Errorf("JOURNAL_STREAM=%s: got %v, want %v", tt.stream, got, tt.want)
		}
	}
	t.Setenv("JOURNAL_STREAM", ours)
	NewLogger(out, new(slog.LevelVar)).Error("disk full")
	if got, err := os.ReadFile(out.Name()); err != nil || string(got) != "<3>disk full\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("x " + token + " y")
	f.Add("eyJ")
	f.Fuzz(func(t *testing.T, s string) {
		once := redact(s)
		if twice := redact(once); twice != once {
			t.Errorf("redacted once %q, twice %q", once, twice)
		}
		if got := redact(s + " " + token + " "); !strings.HasSuffix(got, " "+redacted+" ") {
			t.Errorf("%q lets a token through: %q", s, got)
		}
	})
}
