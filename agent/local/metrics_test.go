package local

import (
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Lines of Prometheus' text format, version 0.0.4.
var (
	helpForm   = regexp.MustCompile(`^# HELP (spoke_zone_agent_[a-z_]+) \S.*\.$`)
	kindForm   = regexp.MustCompile(`^# TYPE (spoke_zone_agent_[a-z_]+) (gauge|counter)$`)
	sampleForm = regexp.MustCompile(`^(spoke_zone_agent_[a-z_]+)(\{[a-z_]+="(?:[^"\\]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\]|\\["\\n])*")*\})? (\S+)$`)
)

// samples reads text as a scraper does: by name and labels.
func samples(t interface{ Fatalf(string, ...any) }, text string) (values map[string]float64, names []string) {
	values = map[string]float64{}
	kind, helped := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := helpForm.FindStringSubmatch(line); m != nil {
			helped = m[1]
			continue
		}
		if m := kindForm.FindStringSubmatch(line); m != nil {
			if m[1] != helped || kind[m[1]] != "" {
				t.Fatalf("%q has no help before it, or comes twice", line)
			}
			kind[m[1]] = m[2]
			names = append(names, m[1])
			continue
		}
		m := sampleForm.FindStringSubmatch(line)
		if m == nil || !utf8.ValidString(line) {
			t.Fatalf("%q is no line of the format", line)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		_, again := values[m[1]+m[2]]
		switch {
		case err != nil:
			t.Fatalf("%q: %v", line, err)
		case len(names) == 0 || names[len(names)-1] != m[1]:
			t.Fatalf("%q does not follow its type", line)
		case again:
			t.Fatalf("%q comes twice", line)
		case kind[m[1]] == "counter" && !strings.HasSuffix(m[1], "_total"):
			t.Fatalf("counter %s does not end in _total", m[1])
		}
		values[m[1]+m[2]] = v
	}
	return values, names
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestMetricsTellTheStatus(t *testing.T) {
	s := Status{
		Version: "1.2.3", Started: noon.Add(-time.Hour), Identity: Identity{DeviceID: "4711"},
		Token: Token{State: "stale", Expires: noon.Add(3 * time.Hour), PointOfNoReturn: noon.Add(-time.Hour), Spent: 0.5,
			Renewals: 3, Attempts: 9, Attempt: 2, Stored: Stored{State: true}},
		MQTT:     MQTT{State: "online", Connects: 4, Refusals: 1},
		OTA:      []Module{{Module: "app", Phase: "READY", Bytes: 7}, {Module: `a"b\c` + "\n", Phase: "IDLE", Error: "no"}},
		Upload:   Upload{Queued: 2, QueuedBytes: 1536, Sent: 5},
		Clock:    Clock{ServerOffset: 7200, Source: "server"},
		Problems: []string{"one"},
	}
	got, _ := samples(t, string(Metrics(s, noon)))
	for name, want := range map[string]float64{
		`info{version="1.2.3",device="4711"}`: 1, "start_time_seconds": 1795345200,
		`token_state{state="stale"}`: 1, `token_state{state="valid"}`: 0,
		"token_expires_seconds": 3600, "token_point_of_no_return_seconds": -3 * 3600, "token_window_spent_ratio": 0.5,
		"token_renewals_total": 3, "token_attempts_total": 9, "token_failures": 2,
		`token_stored{place="state"}`: 1, `token_stored{place="identity_file"}`: 0,
		"mqtt_connected": 1, `mqtt_state{state="online"}`: 1, "mqtt_connects_total": 4, "mqtt_refusals_total": 1,
		`ota_phase{module="app",phase="READY"}`: 1, `ota_phase{module="a\"b\\c\n",phase="IDLE"}`: 1, `ota_failed{module="app"}`: 0,
		`ota_fetched_bytes{module="app"}`: 7,
		"upload_queued_files":             2, "upload_queued_bytes": 1536, "upload_sent_total": 5,
		"clock_offset_seconds": 7200, "clock_learned": 1, "problems": 1, "settings_faulty": 0,
	} {
		if v, ok := got["spoke_zone_agent_"+name]; !ok || v != want {
			t.Errorf("%s: got %v (there: %v), want %v", name, v, ok, want)
		}
	}
}

func TestWhatIsUnknownIsNoMetric(t *testing.T) {
	got, _ := samples(t, string(Metrics(Status{}, noon)))
	for _, name := range []string{"token_expires_seconds", "token_point_of_no_return_seconds", "start_time_seconds"} {
		if v, ok := got["spoke_zone_agent_"+name]; ok {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func TestMetricsCanBeReadWhateverTheStatusSays(t *testing.T) {
	word := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		var s Status
		s.Version, s.Identity.DeviceID, s.Token.State = word.Draw(t, "version"), word.Draw(t, "device"), word.Draw(t, "state")
		s.Token.Expires = time.Unix(rapid.Int64().Draw(t, "expires"), 0)
		s.Clock.ServerOffset = rapid.Float64().Draw(t, "offset")
		s.Upload.QueuedBytes = rapid.Int64().Draw(t, "bytes")
		for _, name := range rapid.SliceOfNDistinct(rapid.StringN(1, 20, 60), 0, 4, rapid.ID[string]).Draw(t, "modules") {
			s.OTA = append(s.OTA, Module{Module: name, Phase: word.Draw(t, "phase")})
		}
		samples(t, string(Metrics(s, noon)))
	})
}

// TestMetricsAreDocumented compares the page with what is told, both ways.
func TestMetricsAreDocumented(t *testing.T) {
	var s Status
	fill(reflect.ValueOf(&s).Elem())
	_, names := samples(t, string(Metrics(s, noon)))
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(spoke_zone_agent_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
	}
	if !slices.Equal(names, told) {
		t.Errorf("docs/metrics.md tells of\n%s\nbut there are\n%s", strings.Join(told, "\n"), strings.Join(names, "\n"))
	}
}

func TestMetricsAreForEverybody(t *testing.T) {
	s := willing()
	s.Status = func() Status {
		return Status{Version: "eyJhbGciOiJIUzI1NiJ9.e30.s3cret", OTA: []Module{{Module: "app"}}}
	}
	serve(t, s, func(t *testing.T, b *bench) {
		got, body := b.do(stranger, http.MethodGet, "/metrics", nil)
		values, _ := samples(t, body)
		if got != http.StatusOK || len(values) < 20 || strings.Contains(body, "s3cret") {
			t.Errorf("got %d %s", got, body)
		}
	})
}
