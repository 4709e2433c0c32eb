package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// A job is a hook that is to be run once. Whoever holds its lock works on it:
// the process that runs the hook, and the hook itself, which inherits the lock.
type job struct {
	Key    string        `json:"key"`
	Nonce  string        `json:"nonce"`
	Call   Call          `json:"call"`
	Policy Policy        `json:"policy"`
	State  string        `json:"state"` // the installer's directory
	Run    string        `json:"run"`
	Until  time.Duration `json:"until"`           // CLOCK_BOOTTIME; 0: none
	Guard  bool          `json:"guard,omitempty"` // it is the guard's, which keeps its own notes
}

func (j job) file() string     { return filepath.Join(j.State, "jobs", j.Key+".json") }
func (j job) lockFile() string { return filepath.Join(j.State, "jobs", j.Key+".lock") }
func (j job) results() results { return results(filepath.Join(j.State, "results")) }
func (j job) txnDir() string   { return filepath.Join(j.State, "txn", j.Call.Module) }

// answered reports whether the job has come to its end.
func (j job) answered() (bool, error) {
	a, ok, err := j.results().answer(j.Key)
	return ok && a.Nonce == j.Nonce, err
}

// lock takes the job, or returns nil when somebody else has it.
func (j job) lock() (*os.File, error) {
	f, err := os.OpenFile(j.lockFile(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", j.lockFile(), err)
}

// clear takes an answered job away.
func (j job) clear() error {
	return errors.Join(remove(j.file()), remove(j.lockFile()), remove(filepath.Join(j.Run, j.Key)))
}

// lose answers a job that nobody works on and that has no answer.
func (j job) lose(why string) error {
	return j.results().put(j.Key, Answer{Nonce: j.Nonce, ID: j.Call.ID, To: j.Call.Version, Kind: Lost, Outcome: Outcome{Code: -1, Text: why}})
}

func readJob(name string) (job, error) {
	var j job
	f, err := os.Open(name)
	if err != nil {
		return j, err
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, answerBytes)).Decode(&j)
	if err == nil && (j.State == "" || j.Key == "") {
		err = errors.New("no job")
	}
	if err != nil {
		return j, fmt.Errorf("%s: %w", name, err)
	}
	return j, nil
}

// RunJob runs the hook of the job in the file name, once, and answers the
// daemon. It is a process of its own, so that the hook goes on whoever else
// ends; ctx is done when it is to stop. A job that somebody else works on, or
// that is over, is left alone.
func RunJob(ctx context.Context, name string, log *slog.Logger) error {
	j, err := readJob(name)
	if err != nil {
		return err
	}
	lock, err := j.lock()
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	if done, err := j.answered(); err != nil || done {
		return err
	}
	left := j.Call.Limit
	if j.Until > 0 {
		left = min(left, max(time.Second, j.Until-bootTime()))
	}
	j.Call.Limit = left
	log = log.With("module", j.Call.Module, "version", j.Call.Version, "verb", j.Call.Verb)
	log.Info("hook begins", "hook", j.Call.Hook, "attempt", j.Call.Attempt)
	tell := newTeller(filepath.Join(j.Run, j.Key))
	r := Runner{Lock: lock, Progress: tell.progress, Echo: func(line string) { log.Info("hook says", "text", line) }}
	o, err := r.Run(ctx, j.Call)
	if err != nil {
		log.Error("hook did not start", "err", err)
		return errors.Join(j.lose(err.Error()), j.clear())
	}
	log.Info("hook ended", "code", int(o.Code), "cause", o.Cause)
	if err := j.finish(o); err != nil {
		return err
	}
	return j.clear()
}

// finish keeps what the hook has done: records first, then the answer.
func (j job) finish(o Outcome) error {
	t := &txn{dir: j.txnDir()}
	if err := readJSON(t.file("txn.json"), t); err != nil {
		return err
	}
	text := strings.Join(o.Log, "\n") + "\n"
	if err := os.WriteFile(t.file(string(j.Call.Verb)+".log"), []byte(text), 0o600); err != nil {
		o.Faults = append(o.Faults, "log: "+err.Error())
	}
	verb, meaning := j.Call.Verb, o.Meaning(j.Call.Verb)
	switch {
	case verb == ota.HookInfo && meaning == ota.HookOK:
		if j.Policy.Rollback == "never" {
			o.Settings["rollback"] = "no"
		}
		t.Info = o.Settings
	case meaning == ota.HookOKReboot || meaning == ota.HookStaged:
		t.Reboot = true
	case verb == ota.HookCommit && meaning == ota.HookOK && t.Verified != nil && t.Signed:
		if err := j.Policy.raise(*t.Verified); err != nil {
			o.Code, o.Text = ota.HookRetry, err.Error()
		}
	}
	if err := t.save(); err != nil {
		return err
	}
	if !j.Guard {
		if err := unproven(filepath.Join(j.State, "unproven")).ended(j.Call, o.Meaning(verb)); err != nil {
			return err
		}
	}
	if verb == ota.HookCleanup && meaning == ota.HookOK {
		if err := disk.RemoveAll(t.dir); err != nil {
			return err
		}
	}
	return j.results().put(j.Key, Answer{Nonce: j.Nonce, ID: j.Call.ID, To: j.Call.Version, Kind: Ran, Outcome: o})
}

// settle waits until nobody works on the job, and answers it if nobody has.
func (j job) settle(ctx context.Context, why string) error {
	for {
		done, err := j.answered()
		if err != nil {
			return err
		}
		if done {
			return j.clear()
		}
		lock, err := j.lock()
		if err != nil {
			return err
		}
		if lock != nil {
			defer lock.Close()
			if done, err = j.answered(); err == nil && !done {
				err = j.lose(why)
			}
			return errors.Join(err, j.clear())
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits for d or for the end of ctx, whose error it then returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// A teller writes a hook's progress to a file in memory, for the daemon.
type teller struct {
	name string
	last time.Time
}

func newTeller(name string) *teller { return &teller{name: name} }

func (t *teller) progress(percent int, phase string) {
	if now := time.Now(); percent == 100 || now.Sub(t.last) >= 200*time.Millisecond {
		t.last = now
		// Whoever cannot be told of the progress waits for the end.
		if os.WriteFile(t.name+".tmp", fmt.Appendf(nil, "%d %s\n", percent, plain(phase, 80)), 0o644) == nil {
			_ = os.Rename(t.name+".tmp", t.name)
		}
	}
}

// readProgress is what a teller has written last.
func readProgress(name string) (percent int, phase string, ok bool) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(data) > 256 {
		return 0, "", false
	}
	number, phase, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if _, err := fmt.Sscanf(number, "%d", &percent); err != nil || percent < 0 || percent > 100 {
		return 0, "", false
	}
	return percent, plain(phase, 80), true
}
