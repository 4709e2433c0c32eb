//go:build integration

package kill

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// held are the tokens on disk, by their place in the order of issue.
type held struct {
	factory     string
	file, state int // of the identity file and of the agent's record; -1 none
}

// A part is how far a release has come on disk.
type part struct {
	id      int
	stored  int64 // bytes
	claimed int64 // by the newest checkpoint
}

// inspect looks at what a dead agent has left.
func (g *gateway) inspect() {
	g.inspectTokens()
	g.inspectAsks()
	g.inspectRelease()
	_, g.seen = g.events()
}

// order returns the place of each token in the order of issue.
func (g *gateway) order() map[string]int {
	order := map[string]int{g.newest.factory: 0}
	for _, l := range g.cloud.Logins() {
		if l.Given != "" {
			order[l.Given] = len(order)
		}
	}
	g.tally.renewals = len(order) - 1
	return order
}

// inspectTokens wants both files whole, with tokens that the cloud takes, that
// are no older than before, and none in use that was not stored.
func (g *gateway) inspectTokens() {
	issued := g.tally.renewals + 1
	order := g.order()
	found, err := conf.ReadIdentity(g.path("etc/spoke-zone.conf"))
	if err != nil {
		g.errorf("identity file: %v", err)
		return
	}
	if text, err := os.ReadFile(g.path("etc/spoke-zone.conf")); err != nil || string(text) != g.identity(found.Token) {
		g.errorf("identity file: %v, other bytes than the token's have changed:\n%s", err, text)
	}
	now := held{factory: g.newest.factory, file: g.place("identity file", found.Token, order), state: -1}

	var rec struct {
		Cur, Next string
	}
	switch previous, err := atomicfile.LoadRecord(atomicfile.OS{}, g.path("state/cred/tokens"), &rec); {
	case errors.Is(err, fs.ErrNotExist) && g.newest.state < 0:
	case err != nil || previous:
		g.errorf("record of tokens: %v, only its previous generation is whole: %v", err, previous)
	default:
		now.state = g.place("record", rec.Cur, order)
		if rec.Next != "" {
			now.state = max(now.state, g.place("record's next", rec.Next, order))
		}
	}
	if now.file < g.newest.file || now.state < g.newest.state {
		g.errorf("tokens on disk went back, from %d and %d to %d and %d", g.newest.file, g.newest.state, now.file, now.state)
	}
	if now.file > max(now.state, 0) {
		g.errorf("the identity file's token %d is not in the record, which has %d", now.file, now.state)
	}
	used := 0
	for _, c := range g.cloud.Connects() {
		used = max(used, order[c.Token])
	}
	for _, l := range g.cloud.Logins() {
		used = max(used, order[l.Token])
	}
	if used > max(now.state, 0) {
		g.errorf("token %d was used; the newest stored is %d", used, now.state)
	}
	if now.file < now.state {
		g.tally.unwritten++
	}
	if now.state < len(order)-1 && len(order) > issued {
		g.tally.unstored++
	}
	g.newest = now
}

// place returns the place of a token that the cloud takes.
func (g *gateway) place(where, token string, order map[string]int) int {
	n, issued := order[token]
	r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/v2/devices/%d", g.device.ID), nil)
	r.Header.Set("X-Access-Token", token)
	w := httptest.NewRecorder()
	g.cloud.ServeHTTP(w, r)
	if !issued || w.Code != http.StatusOK {
		g.errorf("%s: a token that the cloud does not take: issued %v, status %d", where, issued, w.Code)
	}
	return n
}

// inspectAsks compares the first request of this life with what the last one
// had left: it must go on from the checkpoint.
func (g *gateway) inspectAsks() {
	g.mu.Lock()
	asks := g.asks
	g.asks = nil
	g.mu.Unlock()
	if len(asks) == 0 || asks[0].id != g.part.id || g.part.stored == 0 {
		return
	}
	from := asks[0].from
	if from > g.part.claimed || from < max(0, g.part.claimed-overlap) {
		g.errorf("the fetch went on from %d; the checkpoint was at %d", from, g.part.claimed)
	}
	again := g.part.stored - from
	if again > checkpoint+block+overlap {
		g.errorf("%d bytes that were stored are fetched again, more than a checkpoint of %d", again, checkpoint)
	}
	g.tally.interrupted++
	g.tally.refetched += again
	g.tally.most = max(g.tally.most, again)
}

// An update is the record of the module's state.
type update struct {
	State  string
	Txn    string
	ID     string `json:"ota"`
	To     string
	Size   int64
	SHA256 string
}

func (g *gateway) update() (u update, err error) {
	previous, err := atomicfile.LoadRecord(atomicfile.OS{}, g.path("state/ota/display/state"), &u)
	if err == nil && previous {
		err = errors.New("only its previous generation is whole")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return update{}, nil
	}
	return u, err
}

// ready reports whether the newest release is there to be installed.
func (g *gateway) ready() bool {
	u, err := g.update()
	return err == nil && u.State == "READY" && u.To == g.release.version
}

// inspectRelease notes how far the release has come. One that is ready must be
// the cloud's, and the next one is put on offer.
func (g *gateway) inspectRelease() {
	g.part = part{}
	u, err := g.update()
	if err != nil {
		g.errorf("record of the update: %v", err)
		return
	}
	txn := filepath.Join(g.path("state/ota/display/txn"), u.Txn)
	switch u.State {
	case "", "IDLE", "SELECTED", "WITHDRAWN":
	case "DOWNLOADING":
		g.part = g.partial(txn, u)
	case "VERIFIED", "READY":
		sum, size, err := digest(filepath.Join(txn, "payload"))
		if err != nil || size != u.Size || sum != u.SHA256 {
			g.errorf("payload of %s: %v, %d bytes of digest %s, the record says %d of %s", u.To, err, size, sum, u.Size, u.SHA256)
		}
		if u.To == g.release.version && sum != g.release.sha256 {
			g.errorf("payload of %s has another digest than the cloud's", u.To)
		}
		if u.State == "READY" && u.To == g.release.version {
			g.tally.fetched++
			g.tally.wasted += g.cloud.Served(g.release.id) - releaseSize
			g.offer()
		}
	default:
		g.errorf("the update is %s", u.State)
	}
}

// partial reads the two checkpoints, of which one at least is whole unless
// nothing was claimed yet.
func (g *gateway) partial(txn string, u update) (p part) {
	_, _ = fmt.Sscan(u.ID, &p.id)
	if _, err := os.Stat(filepath.Join(txn, "payload")); err == nil {
		return part{} // complete, an instant before the record
	}
	if info, err := os.Stat(filepath.Join(txn, "part")); err == nil {
		p.stored = info.Size()
	}
	var newest uint64
	for _, name := range []string{"ckpt.a", "ckpt.b"} {
		data, err := os.ReadFile(filepath.Join(txn, name))
		if err != nil || len(data) == 0 {
			continue
		}
		var c struct {
			Gen    uint64
			Offset int64
		}
		line, ok := atomicfile.Unseal(data)
		if !ok || json.Unmarshal(line, &c) != nil {
			g.errorf("checkpoint %s is torn", name)
			continue
		}
		if c.Gen > newest {
			newest, p.claimed = c.Gen, c.Offset
		}
	}
	if p.claimed > p.stored {
		g.errorf("the checkpoint claims %d bytes of %d", p.claimed, p.stored)
	}
	return p
}

func digest(name string) (sum string, size int64, err error) {
	b, err := os.ReadFile(name)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), int64(len(b)), err
}

// delivered reports whether every file is at the cloud.
func (g *gateway) delivered() bool {
	there := map[string]bool{}
	for _, f := range g.cloud.Uploads() {
		there[string(f.Content)] = true
	}
	for content := range g.files.certain {
		if !there[content] {
			return false
		}
	}
	return true
}

// leftInSpool names what the agent still has to deal with: the first file in
// the drop box, the spool or the quarantine.
func (g *gateway) leftInSpool() (name string) {
	for _, dir := range []string{"spool", "state/upload"} {
		_ = filepath.WalkDir(g.path(dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != ".lock" {
				name = path
			}
			return nil
		})
	}
	return name
}

// audit counts at the end: every file once, and an id without contents only
// where its answer was lost.
func (g *gateway) audit() {
	ids := map[string][]int{}
	orphans := map[int][]int{} // by life
	last := map[int]int{}      // the newest id of a life
	for _, f := range g.cloud.DataFiles() {
		n := g.lifeAt(f.Created)
		last[n] = f.ID
		if f.Puts == 0 {
			orphans[n] = append(orphans[n], f.ID)
			g.tally.orphan++
			continue
		}
		ids[string(f.Content)] = append(ids[string(f.Content)], f.ID)
		g.tally.twice += f.Puts - 1
	}
	for content := range g.files.certain {
		if n := len(ids[content]); n != 1 {
			g.errorf("%s is at the cloud under the ids %v, want one", firstLine(content), ids[content])
		}
		delete(ids, content)
	}
	for content := range g.files.unsure {
		if n := len(ids[content]); n > 1 {
			g.errorf("%s is at the cloud under the ids %v, want at most one", firstLine(content), ids[content])
		}
		g.tally.unsure += len(ids[content])
		delete(ids, content)
	}
	for content := range ids {
		g.errorf("%s is at the cloud, which nobody has handed over", firstLine(content))
	}
	for n, lost := range orphans {
		if len(lost) > 1 || lost[0] != last[n] || n == len(g.lives)-1 {
			g.errorf("ids %v of life %d have no contents; only the last one before a kill or a lost answer may: %d", lost, n, last[n])
		}
	}
	if name := g.leftInSpool(); name != "" {
		g.errorf("left behind: %s", name)
	}
	if names := g.list("etc"); len(names) != 1 {
		g.errorf("beside the identity file: %q", names)
	}
	if names := g.list("state/cred"); strings.Contains(strings.Join(names, " "), ".tmp") {
		g.errorf("left behind in state/cred: %q", names)
	}
	log, err := os.ReadFile(g.path("agent.log"))
	for token := range g.order() {
		if err != nil || bytes.Contains(log, []byte(token)) {
			g.errorf("the log holds a token, %v", err)
		}
	}
	if g.cloud.Counts()[cloudtest.EventLeak] != 0 {
		g.errorf("a token went to another host")
	}
}

// lifeAt is the number of the life that at falls into, or into the time after.
func (g *gateway) lifeAt(at time.Time) int {
	n := 0
	for i, l := range g.lives {
		if !at.Before(l.from) {
			n = i
		}
	}
	return n
}

func (g *gateway) list(dir string) (names []string) {
	entries, err := os.ReadDir(g.path(dir))
	if err != nil {
		g.errorf("%v", err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
