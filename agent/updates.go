package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/agent/command"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/conf"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// callTries is how often a call is made whose token is refused.
const callTries = 2

// newUpdates joins the updates to the cloud's catalogue, and to what proves a new
// version.
func (g *generation) newUpdates() (*ota.Manager, error) {
	c := g.conf.OTA
	window, err := ota.ParseWindow(c.Window)
	if err != nil {
		return nil, fmt.Errorf("%w: ota.window: %w", ErrSettings, err)
	}
	m := &ota.Manager{
		Dir:        filepath.Join(g.conf.Paths.State, "ota"),
		Source:     ota.Source{List: g.listReleases, Open: g.openRelease},
		CheckEvery: c.CheckInterval, RateLimit: c.RateLimit, Monthly: c.Monthly,
		Rules: ota.Rules{
			Window: window, Inhibited: ota.Inhibitors{Dir: c.InhibitDir, Command: c.Inhibit}.Reason,
			Time: func() (time.Time, bool) { return g.clock.Now().Local(), g.clock.Learned() },
		},
		Proof: ota.Proof{
			Within: c.VerifyWithin, Settle: c.VerifyTime, Offline: ota.OfflinePolicy(c.OfflineCommit), Clock: g.ReadClock,
			Online: func() bool { up, _ := g.online(); return up },
		},
		Installer: g.newInstaller(),
		Report:    g.reportVersions,
		Log:       g.Log.With("task", "ota"),
	}
	for _, c := range inOrder(g.conf.Modules, c.Order) {
		mod := ota.Module{Key: c.Key, Policy: ota.Policy(c.Policy), AllowDowngrade: c.AllowDowngrade, Vet: g.vet(c)}
		switch {
		case len(c.VersionCommand) > 0:
			mod.Installed = ota.VersionFromCommand(c.VersionCommand)
		case c.VersionFile != "":
			mod.Installed = ota.VersionFromFile(c.VersionFile)
		}
		m.Modules = append(m.Modules, mod)
	}
	return m, nil
}

// inOrder is modules with those of order first.
func inOrder(modules []conf.Module, order []string) []conf.Module {
	rank := func(m conf.Module) int {
		if i := slices.Index(order, m.Key); i >= 0 {
			return i
		}
		return len(order)
	}
	modules = slices.Clone(modules)
	slices.SortStableFunc(modules, func(a, b conf.Module) int { return cmp.Compare(rank(a), rank(b)) })
	return modules
}

// reportVersions tells the cloud the versions after an update: they are the only
// report that it takes.
func (g *generation) reportVersions(ctx context.Context, _ string) error {
	if may, _ := g.mayPublish(); !may {
		return errors.New("the session is not up, or the level of diagnostics forbids it")
	}
	payload, err := json.Marshal(g.updates.Versions(ctx))
	if err != nil {
		return err
	}
	return g.publishVersions(ctx, payload)
}

// approveUpdate is the cloud's word that a module's update be installed when its
// window opens. The payload names the module. A message that the broker had kept
// is of another day.
func (g *generation) approveUpdate(m command.Message) error {
	if m.Retained {
		return errors.New("the broker had kept the message, which may be old")
	}
	name := strings.Trim(string(command.Decode(m.Payload)), "\" \r\n\t")
	return g.updates.Approve(name)
}

func (g *generation) listReleases(ctx context.Context, module string, limit, offset int) (files []ota.File, err error) {
	var page []api.OTAFile
	err = authorized(ctx, g.keeper, callTries, func(ctx context.Context) error {
		page, err = g.api.OTAFiles(ctx, module, limit, offset)
		return err
	})
	for _, f := range page {
		if f.Err != nil {
			g.Log.Warn("release passed over", "task", "ota", "module", module, "err", f.Err)
		}
		files = append(files, ota.File{
			ID: f.ID, Module: f.Module, Version: ota.Version(f.Version), Active: f.Active,
			Created: f.Created, Released: f.Released, Notes: f.Notes,
		})
	}
	return files, err
}

func (g *generation) openRelease(ctx context.Context, id string, header http.Header) (out ota.Response, err error) {
	err = authorized(ctx, g.keeper, callTries, func(ctx context.Context) error {
		res, err := g.api.OTAContent(ctx, id, header)
		if err != nil {
			return err
		}
		out = ota.Response{
			Status: res.StatusCode, Header: res.Header, Body: g.processors.use(res.Body), URL: res.Request.URL.String(),
			ToClose: res.ContentLength < 0 && !slices.Contains(res.TransferEncoding, "chunked"),
		}
		if res.StatusCode == http.StatusUnauthorized && res.Request.Header.Get("X-Access-Token") != "" {
			// without the token it would be no word on it
			_ = out.Body.Close()
			return &api.StatusError{Method: http.MethodGet, Path: res.Request.URL.Path, Status: res.StatusCode}
		}
		return nil
	})
	return out, err
}

func (g *generation) modulesStatus() []local.Module {
	list, _ := g.updates.Status()
	out := make([]local.Module, 0, len(list))
	for _, s := range list {
		m := local.Module{
			Module: s.Module, Policy: string(s.Policy), Phase: s.Phase.String(), Since: s.Since, NextTry: s.NextTry, Installed: string(s.Installed),
			File: s.Payload, Bytes: s.Bytes, Total: s.Total, Rate: int64(s.Rate), SHA256: s.SHA256,
			LastCheck: s.LastCheck, NextCheck: s.NextCheck, Error: s.LastError, Reason: s.Reason,
			Percent: s.Percent, Step: s.Step, Waits: s.Waits, Approved: s.Approved, Outcome: s.Outcome, Denied: s.Denied, Refused: strings.Join(s.Refused, "; "),
		}
		if s.Offered != nil {
			m.Offered = string(s.Offered.Version)
		} else if s.Held != nil {
			m.Offered = string(s.Held.Version)
		}
		out = append(out, m)
	}
	return out
}

// newUploads joins the spool to the cloud.
func (g *generation) newUploads() *upload.Uploader {
	var modules []string
	for _, m := range g.conf.Modules {
		modules = append(modules, m.Key)
	}
	quotas := map[string]upload.Quota{}
	for _, typ := range upload.Types {
		t := g.conf.UploadType(typ)
		quotas[typ] = upload.Quota{Bytes: t.MaxBytes, Files: t.MaxFiles, Age: t.MaxAge, Gzip: t.Gzip}
	}
	c := g.conf.Upload
	return &upload.Uploader{
		Quotas: quotas, Archive: c.Archive, RateLimit: c.RateLimit, Monthly: c.Monthly,
		Now:     func() (time.Time, bool) { return g.clock.Now(), g.clock.Learned() },
		Alive:   g.uploadsAlive,
		Modules: modules,
		Dir:     g.conf.Paths.Spool, State: filepath.Join(g.conf.Paths.State, "upload"), Sender: sender{g},
		MaxFile: g.conf.Upload.MaxFile, MaxSpool: g.conf.Upload.MaxSpool, Log: g.Log.With("task", "upload"),
	}
}

// uploadsAlive tells the watchdog that the uploader's loop turns.
func (g *generation) uploadsAlive(within time.Duration) {
	if within == 0 {
		g.alive.Rest("upload")
		return
	}
	g.alive.Alive("upload", within)
}

// A sender makes the two requests of an upload with the token in force.
type sender struct{ g *generation }

func (s sender) CreateDataFile(ctx context.Context, typ, module string) (id string, err error) {
	err = authorized(ctx, s.g.keeper, callTries, func(ctx context.Context) error {
		id, err = s.g.api.CreateDataFile(ctx, typ, module)
		return err
	})
	return id, err
}

// PutDataFile is tried once: r cannot be read again. When its token is refused
// it returns once there is another, for the uploader's next try.
func (s sender) PutDataFile(ctx context.Context, id, name string, size int64, r io.Reader) error {
	return authorized(ctx, s.g.keeper, 1, func(ctx context.Context) error {
		return s.g.api.PutDataFile(ctx, id, name, size, r)
	})
}
