package agent

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// TestTheCloudGetsTheAgentsLog raises the level through the broker, restarts the
// agent meanwhile, and waits for the level's time to be over.
func TestTheCloudGetsTheAgentsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Diagnostics.Record = []string{"debug"} // no program has a clock of a bubble
		gw.conf.Diagnostics.MaxTime = time.Hour
		var cancel context.CancelFunc
		done := make(chan error, 1)
		type file struct{ typ, name, text string }
		var mu sync.Mutex
		var files []file
		start := func() {
			gw.start(t)
			var ctx context.Context
			ctx, cancel = context.WithCancel(t.Context())
			g := gw.g
			g.recorder.Hand = func(_ context.Context, typ, name, path string) error { // no bubble has a watch of the drop box
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				files = append(files, file{typ, name, string(data)})
				return os.Remove(path)
			}
			go func() {
				done <- RunTasks(ctx, g.Log, Task{"recorder", g.recorder.Run}, Task{"diagnostics", g.diagnostics.Run})
			}()
		}
		stop := func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			gw.stop(t)
		}
		log := func() (text string, n int) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range files {
				if f.typ != "debug" || !strings.HasPrefix(f.name, "debug-") || !strings.HasSuffix(f.text, "\n") {
					t.Errorf("%s called %q: %q", f.typ, f.name, f.text)
				}
				text += f.text
			}
			return text, len(files)
		}
		const secret = "eyJhbGciOiJIUzI1NiJ9.eyJzZWNyZXQiOjF9.c2VjcmV0"
		start()
		time.Sleep(time.Minute)
		gw.g.Log.Error("before")
		if err := cloud.Command(gw.device.ID, "diagnostics", []byte(`{"level":"debug","debug_level":"debug"}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		gw.g.Log.Debug("the first", "token", secret, "url", "https://host/"+secret)
		time.Sleep(2 * time.Second)
		stop()
		start()
		gw.g.Log.Debug("the second")
		time.Sleep(10 * time.Minute)
		text, n := log()
		if n == 0 || strings.Count(text, "the first") != 1 || strings.Count(text, "the second") != 1 || strings.Contains(text, "before") {
			t.Errorf("%d files:\n%s", n, text)
		}
		if strings.Contains(text, secret) || strings.Contains(text, cloud.Issue(gw.device.ID, 0)) {
			t.Error("there is a token in the log")
		}
		s := gw.g.status()
		if len(s.Diagnostics.Recorded) != 1 || s.Diagnostics.Recorded[0].Files == 0 || s.Diagnostics.Recorded[0].Error != "" {
			t.Errorf("%+v", s.Diagnostics)
		}
		time.Sleep(time.Hour)
		gw.g.Log.Error("much later")
		if s := gw.g.status(); s.Diagnostics.Level != "normal" {
			t.Errorf("%+v", s.Diagnostics)
		}
		_, n = log()
		time.Sleep(time.Hour)
		if text, now := log(); now != n || strings.Contains(text, "much later") {
			t.Errorf("the level is normal, and %d files came", now-n)
		}
		stop()
	})
}
