package ota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/spoke-zone/spoke-zone-agent/agent/budget"
	"github.com/spoke-zone/spoke-zone-agent/agent/latest"
)

// Errors of Check and Fetch.
var (
	ErrNotRunning = errors.New("updates are not being looked after")
	ErrNoModule   = errors.New("no such module")
	ErrNothing    = errors.New("nothing to fetch")
	ErrBusy       = errors.New("too many are asking")
)

const (
	defaultCheckEvery = 6 * time.Hour
	lockEvery         = 5 * time.Second
)

// A Manager keeps the releases of all modules at hand, as each one's policy
// says. Set the fields before Run; a module's key must be fit to name a
// directory.
type Manager struct {
	Dir        string // of all records and downloads; made if missing
	Modules    []Module
	Source     Source
	CheckEvery time.Duration // 6 h if 0
	RateLimit  int64         // bytes per second of all downloads; no limit if 0
	Monthly    int64         // bytes of all downloads in a month; no limit if 0
	MaxSize    int64         // bytes of a release; 2 GiB if 0

	Installer Installer // runs the hooks; nil: nothing can be installed
	Rules     Rules     // when to install
	Proof     Proof     // when a new version may stay
	// Report tells the cloud that a module's update has ended. It is repeated
	// until it returns nil. It may be nil.
	Report func(ctx context.Context, module string) error

	FS   FS             // Disk if nil
	Rand func() float64 // rand.Float64 if nil
	Log  *slog.Logger   // slog.Default if nil

	once    sync.Once
	limiter *rate.Limiter
	budget  *budget.Budget

	mu      sync.Mutex
	workers map[string]*worker // while Run runs
	down    error              // why it does not
	board   []ModuleStatus     // in the order of Modules
	turns   turns
	shown   latest.Value[[]ModuleStatus]
}

func (m *Manager) init() {
	m.once.Do(func() {
		if m.FS == nil {
			m.FS = Disk{}
		}
		if m.Rand == nil {
			m.Rand = rand.Float64
		}
		if m.Log == nil {
			m.Log = slog.Default()
		}
		if m.CheckEvery <= 0 {
			m.CheckEvery = defaultCheckEvery
		}
		m.Proof.init()
		m.limiter = newLimiter(m.RateLimit)
		m.budget = &budget.Budget{Limit: m.Monthly, Now: m.serverTime}
		m.Modules = slices.Clone(m.Modules)
		for i := range m.Modules {
			if m.Modules[i].Policy == "" {
				m.Modules[i].Policy = Notify
			}
			s := ModuleStatus{Module: m.Modules[i].Key, Policy: m.Modules[i].Policy}
			s.Reason = s.reason()
			m.board = append(m.board, s)
		}
		m.shown.Set(slices.Clone(m.board))
	})
}

// Run recovers what an earlier run left and then looks after every module until
// ctx is done. It waits for another agent that holds Dir. Its errors are keys
// that may not name a directory.
func (m *Manager) Run(ctx context.Context) error {
	m.init()
	seen := map[string]bool{}
	for _, mod := range m.Modules {
		if err := checkName("module", mod.Key); err != nil {
			return err
		}
		if seen[mod.Key] {
			return fmt.Errorf("module %s: given twice", mod.Key)
		}
		seen[mod.Key] = true
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return nil // ctx is done
	}
	defer lock.Close()
	m.budget.Open(m.FS, filepath.Join(m.Dir, "budget"))

	var g errgroup.Group
	g.Go(func() error { <-ctx.Done(); return nil }) // also with no module to look after
	workers := map[string]*worker{}
	for i, mod := range m.Modules {
		workers[mod.Key] = newWorker(m, mod, i)
	}
	m.setWorkers(workers, nil)
	for _, w := range workers {
		g.Go(func() error { w.run(ctx); return nil })
	}
	err = g.Wait()
	m.setWorkers(nil, nil)
	for _, w := range workers {
		w.answer(ErrNotRunning, true)
	}
	return err
}

func (m *Manager) setWorkers(w map[string]*worker, down error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workers, m.down = w, down
}

// Check looks at the catalogue now, or joins a look that is under way, and
// returns how the module stands after it. Its errors are the catalogue's,
// ErrNoModule, ErrNotRunning, ErrBusy and ctx's.
func (m *Manager) Check(ctx context.Context, module string) (ModuleStatus, error) {
	err := m.ask(ctx, module, false)
	list, _ := m.Status()
	i := slices.IndexFunc(list, func(s ModuleStatus) bool { return s.Module == module })
	if i < 0 {
		return ModuleStatus{}, err
	}
	return list[i], err
}

// Fetch is Check and then, whatever the policy, begins to fetch the newest
// release, if it is not at hand already. A download that waits tries again at
// once; Status tells how it goes on. ErrNothing means that there is no newer one.
func (m *Manager) Fetch(ctx context.Context, module string) error {
	return m.ask(ctx, module, true)
}

// Install gives a person's word that the newest release be installed, whatever
// the policy: when the window is open, or now. What inhibits updates still does.
// The release is fetched first if it is not at hand. Its errors are ErrNothing,
// ErrNoInstaller and those of Check.
func (m *Manager) Install(ctx context.Context, module string, now bool) error {
	return m.order(ctx, module, order{now: now})
}

// Approve is Install at the next open window, for one who cannot wait for the
// answer.
func (m *Manager) Approve(module string) error {
	_, err := m.send(module, order{})
	return err
}

// Rollback gives up an update that is not permanent yet, and denies its release.
// ErrTooLate means that there is none.
func (m *Manager) Rollback(ctx context.Context, module string) error {
	return m.order(ctx, module, order{back: true})
}

func (m *Manager) order(ctx context.Context, module string, o order) error {
	done, err := m.send(module, o)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) send(module string, o order) (done chan error, err error) {
	w, err := m.worker(module)
	if err != nil {
		return nil, err
	}
	o.done = make(chan error, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.orders) >= maxWaiting {
		return nil, ErrBusy
	}
	w.orders = append(w.orders, o)
	w.nudge()
	return o.done, nil
}

func (m *Manager) ask(ctx context.Context, module string, fetch bool) error {
	w, err := m.worker(module)
	if err != nil {
		return err
	}
	return w.ask(ctx, fetch)
}

// worker returns who looks after module.
func (m *Manager) worker(module string) (*worker, error) {
	m.init()
	m.mu.Lock()
	w, running, down := m.workers[module], m.workers != nil, m.down
	m.mu.Unlock()
	switch {
	case !slices.ContainsFunc(m.Modules, func(mod Module) bool { return mod.Key == module }):
		return nil, fmt.Errorf("module %s: %w", quote(module), ErrNoModule)
	case !running && down != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, down)
	case !running:
		return nil, ErrNotRunning
	}
	return w, nil
}

// Status returns how every module stands, in the order of Modules, and a
// channel that is closed when that changes. The slice must not be changed.
func (m *Manager) Status() ([]ModuleStatus, <-chan struct{}) {
	m.init()
	list, _, changed := m.shown.Get()
	return list, changed
}

// show changes what Status tells of the i-th module.
func (m *Manager) show(i int, change func(*ModuleStatus)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.board[i])
	m.board[i].Reason = m.board[i].reason()
	m.shown.Set(slices.Clone(m.board))
}

// Versions returns the installed version of every module that can tell it, by
// key. It runs the modules' commands.
func (m *Manager) Versions(ctx context.Context) map[string]string {
	m.init()
	versions := map[string]string{}
	for _, mod := range m.Modules {
		if mod.Installed == nil {
			continue
		}
		v, err := mod.Installed(ctx)
		if err != nil {
			m.Log.Debug("installed version unknown", "module", mod.Key, "err", err)
			continue
		}
		versions[mod.Key] = string(v)
	}
	return versions
}
