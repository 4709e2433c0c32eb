package ota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
)

// The model walks through every state that the machine, its disk and the system
// can be in, by the real code: from each it does the next step in every way that
// it may end, and cuts it at every call of the file system, by kill -9 and by
// power loss. It is the port of an abstract model that was checked in the same
// way.

const modelDir = "/ota"

// A node is one such state.
type node struct {
	disk   *memFS
	world  world
	booted int  // how often
	alive  bool // the agent runs, and do is what it does
	room   room
	do     effect
	spoilt bool // both records were damaged once
	trail  []string
}

type model struct {
	t     *testing.T
	cuts  int // power losses that are drawn at each call
	rng   *rand.Rand
	seen  map[string]int
	queue []node
	next  map[int][]int
	ends  map[int]bool
	edges map[[2]Phase]bool
	fault string
	limit int
}

// key is what tells one node from another, without what no decision asks for
// any more.
func (n node) key(r record, lost bool) string {
	switch r.State {
	case RollingBack, RollbackReboot, Broken, Failed, Committed:
		r.AI, r.AV, r.AC, n.world.verified = min(r.AI, 1), 0, 0, n.world.verified && r.State == Committed
	case Verifying:
		r.AI = 1
	case Committing:
		r.AI, r.AV = 1, 0
	}
	if r.State != Installing || !strings.HasPrefix(n.world.last, fmt.Sprint(r.AI, " ")) {
		n.world.last = ""
	}
	stored := ""
	if r.State == Selected || r.State == Downloading {
		for _, name := range []string{"part", "payload", "ckpt.a", "ckpt.b"} {
			if f := n.disk.names[filepath.Join(modelDir, "app", "txn", r.Txn, name)]; f != nil {
				stored += fmt.Sprintf("%s %.7q %d,", name, f.data, len(f.data))
			}
		}
	}
	return fmt.Sprint(stored, r.State, " ", r.AI, r.AV, r.AC, r.AR, r.BR, r.Deny != nil, r.BootID == n.boot(),
		lost, n.world, n.alive, n.spoilt, describe(&n.do), r.Approved)
}

func describe(e *effect) string {
	if e == nil {
		return ""
	}
	last := ""
	if e.last != nil {
		last = e.last.Code.String()
	}
	return fmt.Sprint(e.do, e.verb, e.fresh, last, describe(e.then))
}

func (n node) boot() string { return fmt.Sprint("boot", n.booted) }

// add notes n and that it follows from the node with the number from.
func (m *model) add(from int, n node, step string) {
	r, lost := n.room.rec, n.room.lost
	if !n.alive {
		var err error
		if r, lost, err = foundRecord(n.disk); err != nil {
			m.blame(n, "record unreadable: "+err.Error())
			return
		}
		n.do = effect{}
	}
	key := n.key(r, lost)
	i, known := m.seen[key]
	if !known {
		i = len(m.seen)
		m.seen[key] = i
		n.trail = append(slices.Clone(n.trail), fmt.Sprintf("%s: %v %s", step, r.State, n.world.sys))
		m.queue = append(m.queue, n)
	}
	m.next[from] = append(m.next[from], i)
	if n.world.fault != "" {
		m.blame(n, n.world.fault)
	}
}

func (m *model) blame(n node, what string) {
	if m.fault == "" {
		m.fault = what + "\n" + strings.Join(n.trail, "\n")
	}
}

// foundRecord is what a start of the agent would find.
func foundRecord(disk *memFS) (r record, lost bool, err error) {
	_, err = atomicfile.LoadRecord(disk, filepath.Join(modelDir, "app", "state"), &r)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, atomicfile.ErrCorrupt) {
		return r, true, nil
	}
	return r, false, err
}

// walk explores until nothing is new, or an invariant is broken.
func (m *model) walk() {
	for i := 0; len(m.queue) > 0 && m.fault == ""; i++ {
		n := m.queue[0]
		m.queue = m.queue[1:]
		if len(m.seen) > m.limit {
			m.fault = fmt.Sprintf("more than %d states", m.limit)
			return
		}
		m.expand(i, n)
	}
	if m.fault == "" {
		m.trapped()
	}
}

func (m *model) expand(i int, n node) {
	if !n.alive {
		m.step(i, n, "start", func(ma *machine) (effect, error) { return ma.handle(event{kind: started}) })
		return
	}
	state := n.room.rec.State
	switch {
	case state == Idle && !n.room.lost && n.untried():
		m.step(i, n, "selected", func(ma *machine) (effect, error) {
			return effect{do: rest}, ma.room.begin(file("7", "2.0"), "1.0", Install)
		})
	case state == Selected:
		m.step(i, n, "begun", func(ma *machine) (effect, error) { return effect{do: rest}, ma.room.move(Downloading, nil) })
		m.step(i, n, "withdrawn", func(ma *machine) (effect, error) { return effect{do: finish}, ma.room.move(Withdrawn, nil) })
	case state == Downloading && !n.room.lost:
		m.step(i, n, "fetched", fetched)
		m.step(i, n, "withdrawn", func(ma *machine) (effect, error) { return effect{do: finish}, ma.room.move(Withdrawn, nil) })
		m.step(i, n, "given up", func(ma *machine) (effect, error) { return effect{do: finish}, ma.room.move(Failed, nil) })
	case n.do.do == rest && !n.room.lost && (state == Idle || state == Broken):
		m.end(i, n)
		return
	case n.do.do == rest && state == Ready:
		m.step(i, n, "allowed", func(ma *machine) (effect, error) { return ma.handle(event{kind: allowed}) })
		m.step(i, n, "withdrawn", func(ma *machine) (effect, error) { return effect{do: finish}, ma.room.move(Withdrawn, nil) })
		c := n
		c.do = effect{do: call, verb: HookCheck}
		for _, code := range n.world.answers(HookCheck) {
			m.perform(i, c, code)
		}
	case n.do.do == pause:
		m.step(i, n, "waited", func(ma *machine) (effect, error) { return ma.handle(event{kind: waited, then: n.do.then}) })
	case n.do.do == reboot:
		m.step(i, n, "no reboot", func(ma *machine) (effect, error) { return ma.handle(event{kind: still}) })
		m.powerLoss(i, n, "reboots", func(d *memFS) *memFS { return d })
	case n.do.do == prove:
		m.perform(i, n, HookOK)
		m.step(i, n, "offline", func(ma *machine) (effect, error) { return ma.handle(event{kind: unproven, offline: true, reason: "x"}) })
	case n.do.do == call:
		for _, code := range n.world.answers(n.do.verb) {
			m.perform(i, n, code)
		}
	default:
		m.perform(i, n, HookOK)
	}
	if n.do.do != rest && (state == Rebooting || state == Verifying || state == Committing) {
		m.step(i, n, "unwanted", func(ma *machine) (effect, error) { return ma.handle(event{kind: unwanted, reason: "x"}) })
	}
	m.crash(i, n, n.do.verb)
	if !n.spoilt && state != Idle && !n.room.lost {
		s := n
		s.disk, s.spoilt, s.alive = n.disk.clone(), true, false
		for _, name := range []string{"state", "state.prev"} {
			f := s.disk.names[filepath.Join(modelDir, "app", name)]
			if f != nil {
				f.data, f.kept = []byte("torn"), []byte("torn")
			}
		}
		m.add(i, s, "record spoilt")
	}
}

// perform does what is to be done, with this answer of the hook.
func (m *model) perform(i int, n node, answer Code) {
	n.world = world(n.world)
	var ev event
	w := n.world
	ma := m.machine(&n, &w, answer)
	ev = ma.perform(context.Background(), ma.job(n.do, "", nil))
	n.world = w
	m.step(i, n, fmt.Sprint(n.do.verb, " ", answer), func(ma *machine) (effect, error) { return ma.handle(ev) })
}

func (m *model) machine(n *node, w *world, answer Code) *machine {
	n.room.fs = n.disk
	boot, process := n.boot(), fmt.Sprint(n.booted, " ", len(n.trail))
	return &machine{
		room: &n.room, installer: stage{w, answer, func() bool { return n.disk.names[n.room.payload().Path] != nil }},
		gate: gate{within: time.Hour, every: time.Second, boot: func() time.Duration { return 0 }},
		now:  func() moment { return moment{BootID: boot, Process: process, Offline: OfflineWait} },
	}
}

// step makes one decision durable: as it should be, and cut at every call.
func (m *model) step(i int, n node, name string, decide func(*machine) (effect, error)) {
	before := n
	once := func(dieAt int) (node, effect, error) {
		n := before
		n.disk = before.disk.clone()
		n.disk.dieAt = dieAt
		if !n.alive {
			r, err := openRoom(n.disk, modelDir, "app")
			if err != nil {
				return n, effect{}, err
			}
			n.room = *r
			if r.rec.State == Ready && !r.lost {
				return n, effect{do: rest}, nil
			}
			if r.rec.State == Idle && !r.lost || r.rec.State == Selected || r.rec.State == Downloading {
				return n, effect{do: rest}, nil
			}
		}
		w := n.world
		do, err := decide(m.machine(&n, &w, HookOK))
		n.world = w
		return n, do, err
	}
	done, do, err := once(0)
	if err != nil {
		m.blame(before, name+": "+err.Error())
		return
	}
	from, to := before.room.rec.State, done.room.rec.State
	if !before.alive {
		was, lost, _ := foundRecord(before.disk.clone())
		if from = was.State; lost {
			from = to
		}
	}
	if from != to {
		m.edges[[2]Phase{from, to}] = true
	}
	done.alive, done.do = true, do
	m.durable(done, name)
	m.add(i, done, name)
	calls := done.disk.calls
	for k := 1; k <= calls && m.fault == ""; k++ {
		cut, _, err := once(k)
		if err == nil {
			continue // the last calls may fail unheard
		}
		cut.alive = false
		whole := cut
		whole.disk = cut.disk.clone()
		m.allowed(before, done, whole, name)
		m.add(i, whole, name+", killed")
		for range m.cuts {
			m.powerLoss(i, cut, name+", cut", func(d *memFS) *memFS { return d.clone().cut(m.rng) })
		}
	}
}

// durable checks that no power loss takes back what a step has returned.
func (m *model) durable(n node, name string) {
	for range m.cuts + 1 {
		found := n.disk.clone().cut(m.rng)
		r, lost, err := foundRecord(found)
		want := n.room.rec
		if err != nil || lost != n.room.lost || !lost && !same(r, want) {
			m.blame(n, fmt.Sprintf("%s: %v was durable, and %v is found (lost %v, %v)", name, want.State, r.State, lost, err))
		}
		if want.State == Idle && !lost {
			n.disk = found
			m.judge(n)
		}
	}
}

// allowed checks that a cut leaves the record before a step or after it.
func (m *model) allowed(before, after, cut node, name string) {
	r, lost, err := foundRecord(cut.disk)
	was := before.room.rec
	if !before.alive {
		var werr error
		if was, _, werr = foundRecord(before.disk); werr != nil {
			m.blame(before, werr.Error())
		}
	}
	if err != nil || !lost && !same(r, was) && !same(r, after.room.rec) {
		m.blame(before, fmt.Sprintf("%s, cut: from %v to %v, and %v is found: %v", name, was.State, after.room.rec.State, r.State, err))
	}
}

func same(a, b record) bool {
	a.Since, b.Since = time.Time{}, time.Time{}
	x, xerr := json.Marshal(a)
	y, yerr := json.Marshal(b)
	return xerr == nil && yerr == nil && string(x) == string(y)
}

// crash ends the agent or the power before and inside what it does.
func (m *model) crash(i int, n node, v Verb) {
	for _, sys := range append([]string{n.world.sys}, n.world.between(v)...) {
		if n.do.do != call && sys != n.world.sys {
			continue
		}
		c := n
		c.world.sys, c.alive, c.disk = sys, false, n.disk.clone()
		m.add(i, c, "killed")
		m.powerLoss(i, c, "power lost", func(d *memFS) *memFS { return d.clone().cut(m.rng) })
	}
}

func (m *model) powerLoss(i int, n node, name string, left func(*memFS) *memFS) {
	for _, sys := range n.world.boots() {
		c := n
		c.world.sys, c.alive, c.booted = sys, false, n.booted+1
		c.disk = left(n.disk)
		m.add(i, c, name)
	}
}

// end is where an update is over, or waits for a person.
func (m *model) end(i int, n node) {
	m.ends[i] = true
	if n.room.rec.State == Idle {
		m.judge(n)
	}
	if n.room.rec.State == Broken {
		m.crash(i, n, "")
	}
}

// judge checks the outcome that is on disk against the system.
func (m *model) judge(n node) {
	if n.untried() && n.world.sys == "OLD" {
		return
	}
	var out outcome
	r := n.room
	r.fs = n.disk
	if err := r.readJSON(&out, "done", fmt.Sprintf("%08d.json", r.rec.Seq)); err != nil {
		m.blame(n, "no outcome: "+err.Error())
		return
	}
	sys := n.world.sys
	old := sys == "OLD" || sys == "HALF" && n.world.slots
	switch {
	case out.State == Committed && sys != "NEW" && sys != "NEWC":
		m.blame(n, "COMMITTED, and the system is "+sys)
	case out.State == Committed && !n.world.good:
		m.blame(n, "a bad version was committed")
	case out.State != Committed && !old:
		m.blame(n, fmt.Sprintf("%v, and the system is %s", out.State, sys))
	case out.State != Committed && out.State != Failed && out.State != Withdrawn:
		m.blame(n, fmt.Sprintf("outcome %v", out.State))
	}
}

// trapped looks for states from which no end can be reached.
func (m *model) trapped() {
	before := map[int][]int{}
	for a, list := range m.next {
		for _, b := range list {
			before[b] = append(before[b], a)
		}
	}
	can := map[int]bool{}
	var queue []int
	for e := range m.ends {
		can[e] = true
		queue = append(queue, e)
	}
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		for _, a := range before[e] {
			if !can[a] {
				can[a] = true
				queue = append(queue, a)
			}
		}
	}
	if n := len(m.seen) - len(can); n > 0 {
		m.fault = fmt.Sprintf("from %d states no end can be reached", n)
	}
}

// untried reports whether no update has come to its end yet.
func (n node) untried() bool {
	for name := range n.disk.names {
		if strings.HasPrefix(name, filepath.Join(modelDir, "app", "done")+"/") && !strings.HasSuffix(name, ".tmp") {
			return false
		}
	}
	return true
}

// fetched stores a payload as a download does, from where an earlier one was cut.
func fetched(ma *machine) (effect, error) {
	const text = "payload"
	r, ctx := ma.room, context.Background()
	p, ok, err := finished(ctx, r.fs, r.txn())
	if err == nil && !ok {
		t, terr := openTransfer(ctx, &Download{Dir: r.txn(), ID: "7", MaxSize: 1 << 20, FS: r.fs})
		if terr != nil {
			return effect{}, terr
		}
		defer t.close()
		t.at.Total = int64(len(text))
		if err = t.store([]byte(text[t.at.Offset:])); err == nil {
			p, err = t.finish()
		}
	}
	if err != nil {
		return effect{}, err
	}
	return effect{do: call, verb: HookCheck}, r.move(Verified, func(rec *record) { rec.Size, rec.SHA256 = p.Size, p.SHA256 })
}

// newModel begins with nothing but the record of that.
func newModel(t *testing.T, w world, lies func(call, name string) bool) *model {
	m := &model{t: t, cuts: 1, rng: rand.New(rand.NewPCG(5, 7)), seen: map[string]int{}, next: map[int][]int{}, ends: map[int]bool{},
		edges: map[[2]Phase]bool{}, limit: 8_000}
	disk := newMemFS(modelDir)
	disk.lies = lies
	r, err := openRoom(disk, modelDir, "app")
	if err == nil {
		err = r.put(r.rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := node{disk: disk, world: w, alive: true, room: *r, do: effect{do: rest}}
	m.add(-1, n, "idle")
	return m
}

func worlds() (all []world) {
	if raceEnabled { // one goroutine has nothing to race with
		return []world{{slots: true, good: true, weak: true, sys: "OLD"}}
	}
	for _, slots := range []bool{true, false} {
		for _, good := range []bool{true, false} {
			for _, weak := range []bool{false, true} {
				all = append(all, world{slots: slots, good: good, weak: weak, sys: "OLD"})
			}
		}
	}
	return all
}

// TestModel walks through all that can happen to an update, for both kinds of
// installers, good and bad versions, and rolling back that may fail.
func TestModel(t *testing.T) {
	edges := map[[2]Phase]bool{}
	for _, w := range worlds() {
		m := newModel(t, w, nil)
		m.walk()
		if m.fault != "" {
			t.Fatalf("slots %v, good %v, weak rollback %v: %s", w.slots, w.good, w.weak, m.fault)
		}
		n := 0
		for _, list := range m.next {
			n += len(list)
		}
		t.Logf("slots %v, good %v, weak rollback %v: %d states, %d edges", w.slots, w.good, w.weak, len(m.seen), n)
		for e := range m.edges {
			edges[e] = true
		}
	}
	if raceEnabled {
		return // not all worlds
	}
	for p := range numPhases {
		for _, q := range phases[p].next {
			if !edges[[2]Phase{p, q}] {
				t.Errorf("%v to %v was not reached", p, q)
			}
		}
	}
}
