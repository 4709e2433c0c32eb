package telemetry

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseLevel(t *testing.T) {
	const least = 10 * time.Second
	for payload, want := range map[string]Level{
		`{"level":"debug","broadcast_interval":60,"debug_level":"warn"}`: {LevelDebug, time.Minute, "warn"},
		`{"level":"debug-only"}`: {LevelDebugOnly, 0, "info"},
		` {} `:                   normal,
		`{"level":null,"broadcast_interval":null}`:            normal,
		`{"broadcast_interval":1}`:                            {LevelNormal, least, "info"},
		`{"broadcast_interval":"3600"}`:                       {LevelNormal, time.Hour, "info"},
		`{"broadcast_interval":1e300}`:                        {LevelNormal, MaxBroadcast, "info"},
		`{"broadcast_interval":0}`:                            normal,
		`{"broadcast_interval":-5}`:                           normal,
		`{"broadcast_interval":15.5}`:                         {LevelNormal, 15500 * time.Millisecond, "info"},
		`{"level":"Debug","debug_level":"WARNING"}`:           {LevelDebug, 0, "warn"},
		`{"level":"debug","debug_level":"loud","more":[1,2]}`: {LevelDebug, 0, "info"},
		`{"level":"debug","debug_level":7}`:                   {LevelDebug, 0, "info"},
	} {
		if got, err := ParseLevel([]byte(payload), least); err != nil || got != want {
			t.Errorf("ParseLevel(%s) = %+v, %v, want %+v", payload, got, err, want)
		}
	}
	for payload, want := range map[string]string{
		"":                                 "no JSON object",
		"null":                             "no JSON object",
		`[]`:                               "no JSON object",
		`"{}"`:                             "no JSON object",
		`{"level":5}`:                      "cannot unmarshal",
		`{"level":"loud"}`:                 `level "loud" (normal, debug or debug-only)`,
		`{"broadcast_interval":"soon"}`:    "no number of seconds",
		`{"broadcast_interval":[1]}`:       "no number of seconds",
		`{"broadcast_interval":"NaN"}`:     "no number of seconds",
		`{"level":"debug"`:                 "unexpected end",
		"{" + strings.Repeat(" ", 5000):    "at most 4096",
		`{"broadcast_interval":"1e999999"`: "unexpected end",
	} {
		if got, err := ParseLevel([]byte(payload), least); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseLevel(%.40s) = %+v, %v, want %q", payload, got, err, want)
		}
	}
}

func FuzzParseLevel(f *testing.F) {
	for _, s := range []string{`{"level":"debug","broadcast_interval":60,"debug_level":"warn"}`, `{"broadcast_interval":"1e9"}`, `{"broadcast_interval":-1}`, `[]`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		l, err := ParseLevel(payload, 10*time.Second)
		if err != nil {
			return
		}
		if l.Broadcast != 0 && (l.Broadcast < 10*time.Second || l.Broadcast > MaxBroadcast) || l.Level == "" || l.DebugLevel == "" {
			t.Fatalf("ParseLevel(%q) = %+v", payload, l)
		}
	})
}

// newControl is one over a directory of the test.
func newControl(t *testing.T, path string) *Control {
	t.Helper()
	c := &Control{Path: path, Least: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	c.Load()
	return c
}

func (c *Control) now() State { s, _ := c.State(); return s }

func take(t *testing.T, c *Control, payload string, retained bool) {
	t.Helper()
	if err := c.Take("mrs/d/7", []byte(payload), retained); err != nil {
		t.Fatal(err)
	}
}

func TestLevelSurvivesARestartAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "diagnostics")
		c := newControl(t, path)
		take(t, c, `{"level":"debug-only","broadcast_interval":60}`, false)
		want := c.now()
		if !want.Quiet() || want.Base != "mrs/d/7" || want.Broadcast != time.Minute || !want.Until.Equal(time.Now().Add(LevelLasts)) {
			t.Fatalf("%+v", want)
		}
		time.Sleep(13 * 24 * time.Hour)
		c = newControl(t, path)
		if got := c.now(); got.Level != want.Level || !got.Until.Equal(want.Until) || got.Base != want.Base {
			t.Fatalf("after a restart %+v, want %+v", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(24*time.Hour - time.Second)
		if !c.now().Quiet() {
			t.Error("it ended too early")
		}
		time.Sleep(2 * time.Second)
		if got := c.now(); got.Level != normal || !got.Until.IsZero() {
			t.Errorf("after its time: %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := newControl(t, path).now(); got.Level != normal {
			t.Errorf("after its time and a restart: %+v", got)
		}
	})
}

func TestLevelThatEndedWhileTheDeviceWasOffIsNotInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "diagnostics")
		take(t, newControl(t, path), `{"level":"debug"}`, false)
		time.Sleep(LevelLasts + time.Minute)
		if got := newControl(t, path).now(); got.Level != normal {
			t.Errorf("%+v", got)
		}
	})
}

func TestRetainedMessageIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "diagnostics")
		c := newControl(t, path)
		take(t, c, `{"level":"debug"}`, true)
		until := c.now().Until
		time.Sleep(time.Hour)
		take(t, c, `{"level":"debug"}`, true)
		if got := c.now().Until; !got.Equal(until) {
			t.Errorf("repeated by the broker it lasts until %v, want %v", got, until)
		}
		take(t, c, `{"level":"normal"}`, false)
		c = newControl(t, path)
		take(t, c, `{"level":"debug"}`, true)
		if got := c.now(); got.Level != normal {
			t.Errorf("an old retained message took back a newer one: %+v", got)
		}
		take(t, c, `{"level":"debug"}`, false)
		if got := c.now(); got.Level.Level != LevelDebug {
			t.Errorf("asked for anew: %+v", got)
		}
		time.Sleep(LevelLasts)
		c.Expire()
		take(t, c, `{"level":"debug"}`, true)
		if got := c.now(); got.Level != normal {
			t.Errorf("a retained message raised the level again after its time: %+v", got)
		}
	})
}

func TestDeadlineOfAClockThatWasAheadIsShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t, filepath.Join(t.TempDir(), "diagnostics"))
		ahead := 70 * 365 * 24 * time.Hour
		c.Now = func() time.Time { return time.Now().Add(ahead) }
		take(t, c, `{"level":"debug"}`, false)
		c.Now = time.Now
		if left := c.Expire(); left != LevelLasts || !c.now().Until.Equal(time.Now().Add(LevelLasts)) {
			t.Errorf("it lasts %v, until %v", left, c.now().Until)
		}
	})
}

func TestBadMessageChangesNothing(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "diagnostics"))
	take(t, c, `{"level":"debug"}`, false)
	before := c.now()
	if err := c.Take("mrs/d/7", []byte(`{"level":"loud"}`), false); err == nil {
		t.Error("an unknown level was taken")
	}
	if got := c.now(); got != before {
		t.Errorf("%+v, want %+v", got, before)
	}
}

func TestLevelThatCannotBeStoredIsInForceAndSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "diagnostics")
	c := newControl(t, path)
	take(t, c, `{"level":"debug"}`, false)
	if got := c.now(); got.Level.Level != LevelDebug || !strings.Contains(got.Err, "no such file") {
		t.Errorf("%+v", got)
	}
}

func TestDamagedRecordMeansNormal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "diagnostics")
	if err := os.WriteFile(path, []byte(`{"level":"debug-only"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newControl(t, path)
	if got := c.now(); got.Level != normal {
		t.Errorf("%+v", got)
	}
	take(t, c, `{"level":"debug"}`, false)
	if _, err := os.Stat(path + ".prev"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged one was kept: %v", err)
	}
	if got := newControl(t, path).now(); got.Level.Level != LevelDebug {
		t.Errorf("%+v", got)
	}
}
