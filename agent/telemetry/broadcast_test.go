package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

func TestBroadcastsComeWhileTheyAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state latest.Value[State]
		state.Set(State{Level: normal})
		p := &post{start: time.Now()}
		p.online.Set(true)
		var bases []string
		b := &Broadcast{
			State:   func() (State, <-chan struct{}) { s, _, changed := state.Get(); return s, changed },
			Module:  "display-app",
			Sensors: &Sensors{Root: "testdata/gateway"},
			Now:     func() time.Time { return time.UnixMilli(1727798008783) },
			Publish: func(ctx context.Context, base string, payload []byte) error {
				bases = append(bases, base)
				return p.publish(ctx, payload)
			},
			Online: func() (bool, <-chan struct{}) { on, _, changed := p.online.Get(); return on, changed },
			Log:    slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()

		time.Sleep(time.Hour) // off
		state.Set(State{Level: Level{LevelDebug, time.Minute, "warn"}, Base: "mon/d/7"})
		time.Sleep(2*time.Minute + 30*time.Second)
		p.online.Set(false)
		time.Sleep(time.Hour)
		p.online.Set(true)
		time.Sleep(30 * time.Second)
		state.Set(State{Level: normal})
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		on, back := time.Hour, 2*time.Hour+150*time.Second
		want := []time.Duration{on + time.Second, on + 61*time.Second, on + 121*time.Second, back + time.Second}
		if !slices.Equal(p.at, want) || !slices.Equal(bases, []string{"mon/d/7", "mon/d/7", "mon/d/7", "mon/d/7"}) {
			t.Fatalf("at %v under %v, want %v", p.at, bases, want)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(p.payloads[0]), &got); err != nil {
			t.Fatal(err)
		}
		if got["level"] != "debug" || got["broadcast_interval"] != 60.0 || got["debug_level"] != "warn" || got["timestamp"] != 1727798008783.0 {
			t.Errorf("payload %s", p.payloads[0])
		}
		module, _ := got["modules"].(map[string]any)["display-app"].(map[string]any)
		if module["cpu_temp"] != 48.5 || module["uptime"] == nil {
			t.Errorf("payload %s", p.payloads[0])
		}
	})
}

func TestSensorsOfAGateway(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/gateway")); err != nil {
		t.Fatal(err)
	}
	s := &Sensors{Root: root, Disk: root}
	s.Begin()
	// Since the reading in testdata: core 0 was busy 30 of 100 ticks, core 1 all.
	later := "cpu  0 0 0 0\ncpu0 1020 10 510 9060 110 0 0 0 0 0\ncpu1 600 0 0 100 0 0 0 0 7 7\nintr 1\n"
	if err := os.WriteFile(filepath.Join(root, "proc/stat"), []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	f := s.Read()
	if !slices.Equal(f.CPUUsage, []float64{30, 100}) {
		t.Errorf("cpu_usage %v, want [30 100]", f.CPUUsage)
	}
	if f.CPUTemp == nil || *f.CPUTemp != 48.5 {
		t.Errorf("cpu_temp %v, want that of the zone cpu-thermal", f.CPUTemp)
	}
	if f.Memory == nil || *f.Memory != (Space{1000000 << 10, 250000 << 10}) {
		t.Errorf("memory %+v", f.Memory)
	}
	if f.Disk == nil || f.Disk.Total <= 0 || f.Disk.Used < 0 || f.Disk.Used > f.Disk.Total {
		t.Errorf("disk %+v", f.Disk)
	}
	if f.Uptime <= 0 {
		t.Errorf("uptime %d", f.Uptime)
	}
	if l := f.Link; l == nil || l.Interface != "wlan0" || l.Received != 4096 || l.Sent != 512 || l.Speed != 0 || l.Signal == nil || *l.Signal != -61 {
		t.Errorf("link %+v", l)
	}
}

func TestHiddenFiguresAreLeftOut(t *testing.T) {
	s := &Sensors{Root: t.TempDir()}
	s.Begin()
	text, err := json.Marshal(s.Read())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil || len(got) != 1 || got["uptime"] == nil {
		t.Errorf("got %s, want the uptime alone", text)
	}
}

func TestRoutes(t *testing.T) {
	const v6 = "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth1\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
	if got := parseRoutes6([]byte(v6)); got != "eth0" {
		t.Errorf("parseRoutes6 = %q, want eth0", got)
	}
	if got := parseRoutes([]byte("Iface Destination\nnonsense\n")); got != "" {
		t.Errorf("parseRoutes = %q, want none", got)
	}
}

func FuzzKernelFiles(f *testing.F) {
	for _, name := range []string{"stat", "meminfo", "self/net/route", "self/net/wireless"} {
		text, err := os.ReadFile("testdata/gateway/proc/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cores := parseCores(text)
		for _, share := range usage(cores, parseCores(append([]byte("cpu0 1 2 3 4\n"), text...))) {
			if !(share >= 0 && share <= 100) {
				t.Fatalf("a core is used to %v percent", share)
			}
		}
		if m := parseMemory(text); m != nil && (m.Used < 0 || m.Used > m.Total) {
			t.Fatalf("%+v", m)
		}
		parseRoutes(text)
		parseRoutes6(text)
		parseSignal(text, "wlan0")
	})
}
