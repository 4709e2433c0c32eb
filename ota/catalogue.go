package ota

import (
	"context"
	"errors"
	"fmt"
)

const (
	pageSize   = 50
	maxPages   = 40
	maxFiles   = pageSize * maxPages
	maxRefused = 5 // that are named
)

// ErrListing means that a catalogue does not end.
var ErrListing = errors.New("catalogue does not end")

// catalogue returns what the source holds for module: pages until a short one.
// A page that brings nothing new ends it, too, for a server that ignores the
// offset. Files with unsafe names are left out; refused names the first of them.
func (s Source) catalogue(ctx context.Context, module string) (files []File, refused []error, err error) {
	seen := map[string]bool{}
	for offset, page := 0, 0; ; page++ {
		if page == maxPages || len(seen) > maxFiles {
			return nil, nil, fmt.Errorf("list module %s: %w after %d files", module, ErrListing, len(seen))
		}
		list, err := s.List(ctx, module, pageSize, offset)
		if err != nil {
			return nil, nil, fmt.Errorf("list module %s: %w", module, err)
		}
		fresh := false
		for _, f := range list {
			if seen[f.ID] {
				continue
			}
			seen[f.ID], fresh = true, true
			if f.Module != module {
				continue
			}
			if err := f.Check(); err == nil {
				files = append(files, f)
			} else if len(refused) < maxRefused {
				refused = append(refused, err)
			}
		}
		if len(list) < pageSize || !fresh {
			return files, refused, nil
		}
		offset += len(list)
	}
}

// listed reports whether the source still offers f.
func (s Source) listed(ctx context.Context, f File) (bool, error) {
	files, _, err := s.catalogue(ctx, f.Module)
	return offers(files, f), err
}

// offers reports whether f is in files, active and of the same version.
func offers(files []File, f File) bool {
	for _, g := range files {
		if g.ID == f.ID && g.Module == f.Module && g.Version == f.Version {
			return g.Active
		}
	}
	return false
}
