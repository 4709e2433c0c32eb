//go:build integration

package datafiles

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// TestEveryFileArrivesOnce drops DATA_FILES files of 1 byte to 8 MiB while the
// agent is killed every three seconds, the cloud fails a fifth of the requests,
// and loses answers after it has done what was asked. A kill comes until all
// have arrived, or KILLS times; the rest of the way nobody disturbs.
func TestEveryFileArrivesOnce(t *testing.T) {
	t.Parallel()
	n, kills := full("DATA_FILES", 40), full("KILLS", 7)
	random := newRandom(t)
	g := newGateway(t, random, "")
	sky := &weather{rand: rand.New(rand.NewPCG(random.Uint64(), 1)), share: 0.2}
	g.cloud.Intercept(sky.answer)
	g.cloud.MustSet(cloudtest.LostAnswer, cloudtest.Share(0.05).On("data-create", "data-put"))

	type file struct {
		size int64
		sum  string
	}
	files := map[string]file{}
	var total int64
	for i := range n {
		name := fmt.Sprintf("file-%05d.bin", i)
		content := make([]byte, int(math.Exp(random.Float64()*math.Log(8<<20)))) // as many of each order of magnitude
		for j := 0; j < len(content); j += 8 {
			copy(content[j:], fmt.Appendf(nil, "%016x", random.Uint64())[:min(8, len(content)-j)])
		}
		content[0] = 0 // not a file of lines
		sum := sha256.Sum256(content)
		files[name] = file{int64(len(content)), hex.EncodeToString(sum[:])}
		total += int64(len(content))
		tmp := filepath.Join(g.path("spool/log"), "."+name)
		g.must(os.WriteFile(tmp, content, 0o644))
		g.must(os.Rename(tmp, filepath.Join(g.path("spool/log"), name)))
	}
	start := time.Now()
	delivered := func() bool { return len(g.left()) == 0 }
	for g.kills < kills && !delivered() {
		g.start()
		time.Sleep(3 * time.Second) // the test's own pace: what is killed is not waited for
		g.kill()
	}
	byKills := time.Since(start)
	for name := range g.cloud.Switches() {
		g.cloud.MustSet(name, cloudtest.Off)
	}
	sky.set(0)
	killed := g.kills
	g.start()
	g.until("all files delivered", 10*time.Minute, delivered)
	g.stop()

	ids := map[string]int{}
	again, empty, registered := 0, 0, 0
	for _, f := range g.cloud.DataFiles() {
		registered++
		if f.Puts == 0 {
			empty++
			continue
		}
		ids[f.Name]++
		again += f.Puts - 1
		want := files[f.Name]
		if f.Size != want.size || f.SHA256 != want.sum {
			t.Errorf("%s: %d bytes of digest %s, want %d of %s", f.Name, f.Size, f.SHA256, want.size, want.sum)
		}
		if f.Others != 0 {
			t.Errorf("%s: other contents came under its id", f.Name)
		}
	}
	for name := range files {
		if ids[name] != 1 {
			t.Errorf("%s is at the cloud %d times", name, ids[name])
		}
	}
	if len(ids) != n {
		t.Errorf("%d names at the cloud, want %d", len(ids), n)
	}
	lost := g.cloud.Counts()["fault"]
	if empty > lost+killed {
		t.Errorf("%d ids without contents; %d answers were lost and %d kills", empty, lost, killed)
	}
	if log, err := os.ReadFile(g.path("agent.log")); err != nil || bytes.Contains(log, []byte("panic")) {
		t.Errorf("the agent's log: %v", err)
	}
	t.Logf("%d files of %d MB in all; %d kills in %v, %d server errors, %d answers lost; %d ids, of them %d without contents; contents of an id sent again %d times, each the same bytes",
		n, total/1e6, killed, byKills.Round(time.Second), sky.errors, lost, registered, empty, again)
}
