package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/systemd"
)

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
	if err == nil {
		_, err = roots(c.Cloud.CAFile)
	}
	last, _, _ := r.reading.Get()
	if err == nil {
		if r.Level != nil {
			r.Level.Set(c.Log.Level)
		}
		if old, ok, _ := r.settings.Get(); !ok || !old.Equal(c) {
			r.settings.Set(c)
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

// roots reads the certificates that servers are judged by; nil means the
// system's.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cloud.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cloud.ca_file: %w", errors.New(file+" holds no certificate in PEM"))
	}
	return pool, nil
}
