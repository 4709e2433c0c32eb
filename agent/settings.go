package agent

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

// settings are what the files say, and what the files say that they name.
type settings struct {
	conf.Config
	roots *x509.CertPool // nil: the system's
}

// complete reads what c names.
func complete(c conf.Config) (settings, error) {
	pool, err := c.Cloud.Roots()
	return settings{c, pool}, err
}

func (s settings) equal(t settings) bool {
	return s.Config.Equal(t.Config) && (s.roots == t.roots || s.roots != nil && t.roots != nil && s.roots.Equal(t.roots))
}

// A reading is one look at the settings' files.
type reading struct {
	loads int
	at    time.Time
	err   error // why the settings in force are older
}

// load reads the settings and puts them in force if they are new and without
// fault.
func (r *runner) load() error {
	c, err := conf.Load(r.ConfigPath)
	var s settings
	if err == nil {
		s, err = complete(c)
	}
	last, _, _ := r.reading.Get()
	if err == nil {
		if r.Level != nil {
			r.Level.Set(s.Log.Level)
		}
		if old, ok, _ := r.settings.Get(); !ok || !old.equal(s) {
			r.settings.Set(s)
		}
	}
	r.reading.Set(reading{loads: last.loads + 1, at: time.Now(), err: err})
	return err
}

// watchSettings reads the settings again when their files change or somebody
// asks.
func (r *runner) watchSettings(ctx context.Context) error {
	watcher := conf.NewWatcher([]string{r.ConfigPath, r.ConfigPath + ".d"}, r.Log)
	if err := r.load(); err != nil { // a change since Run's own look
		r.Log.Error("settings not used, the ones before stay in force", "err", err)
	}
	again := make(chan struct{}, 1)
	changed := func() {
		select {
		case again <- struct{}{}:
		default:
		}
	}
	return RunTasks(ctx, r.Log,
		Task{"settings files", func(ctx context.Context) error {
			return watcher.Run(ctx, changed)
		}},
		Task{"reload", func(ctx context.Context) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-r.Reload:
				case <-again:
				}
				systemd.Reloading()
				if err := r.load(); err != nil {
					r.Log.Error("settings not used, the ones before stay in force", "err", err)
				}
				systemd.Ready()
			}
		}},
	)
}
