package agent

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/spoke-zone/spoke-zone-agent/agent/api"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
	"github.com/spoke-zone/spoke-zone-agent/ota"
)

// callTries is how often a call is made whose token is refused.
const callTries = 2

// newUpdates joins the updates to the cloud's catalogue.
func (g *generation) newUpdates() *ota.Manager {
	m := &ota.Manager{
		Dir:        filepath.Join(g.conf.Paths.State, "ota"),
		Source:     ota.Source{List: g.listReleases, Open: g.openRelease},
		CheckEvery: g.conf.OTA.CheckInterval,
		RateLimit:  g.conf.OTA.RateLimit,
		Installer:  g.newInstaller(),
		Log:        g.Log.With("task", "ota"),
	}
	for _, c := range g.conf.Modules {
		mod := ota.Module{Key: c.Key, Policy: ota.Policy(c.Policy), AllowDowngrade: c.AllowDowngrade}
		switch {
		case len(c.VersionCommand) > 0:
			mod.Installed = ota.VersionFromCommand(c.VersionCommand)
		case c.VersionFile != "":
			mod.Installed = ota.VersionFromFile(c.VersionFile)
		}
		m.Modules = append(m.Modules, mod)
	}
	return m
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
	return &upload.Uploader{
		Dir: g.conf.Paths.Spool, State: filepath.Join(g.conf.Paths.State, "upload"), Sender: sender{g},
		MaxFile: g.conf.Upload.MaxFile, MaxSpool: g.conf.Upload.MaxSpool, Log: g.Log.With("task", "upload"),
	}
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
