package agent

import (
	"context"
	"io"
	"path/filepath"

	"github.com/spoke-zone/spoke-zone-agent/agent/collect"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/agent/upload"
)

// newCollector joins the logs that others write to the spool.
func (g *generation) newCollector() *collect.Collector {
	var sources []collect.Source
	for _, c := range g.conf.Collect {
		sources = append(sources, collect.Source{Name: c.Name, Type: c.Type, Module: c.Module, Files: c.Files, Every: c.Every, Size: c.Size})
	}
	return &collect.Collector{
		Sources: sources, Queue: collectQueue{g.uploads}, State: filepath.Join(g.conf.Paths.State, "upload", "collect"),
		Log: g.Log.With("task", "collect"),
	}
}

// A collectQueue is the spool as package collect knows it.
type collectQueue struct{ *upload.Uploader }

func (q collectQueue) Stage(ctx context.Context, typ, module, name, origin string, r io.Reader) (string, error) {
	it, err := q.Uploader.Stage(ctx, typ, module, name, origin, r)
	return it.ID, err
}

func collectStatus(s collect.Status) (out []local.Collected) {
	for _, c := range s.Sources {
		out = append(out, local.Collected{
			Name: c.Name, Type: c.Type, Files: c.Files, BytesBehind: c.Behind, DataFiles: int64(c.Collected),
			Truncated: int64(c.Truncated), BytesLost: c.Lost, Error: c.Error,
		})
	}
	return out
}
