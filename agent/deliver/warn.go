package deliver

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Warnings are sentences on what the shipped unit keeps the daemon from doing
// for t. writable are the directories that the unit may write to.
func (t Target) Warnings(writable []string) (all []string) {
	dir := filepath.Dir(t.File)
	inside := slices.ContainsFunc(writable, func(w string) bool { return dir == w || strings.HasPrefix(dir+"/", strings.TrimRight(w, "/")+"/") })
	if t.File != "" && !inside {
		all = append(all, fmt.Sprintf("the unit may not write to %s: add ReadWritePaths=%s in a drop-in (systemctl edit spoke-zone-agent)", dir, dir))
	}
	if t.Owner != "" && t.Owner != "root" && t.Owner != "0" {
		all = append(all, "the unit has no CAP_CHOWN to give the file to "+t.Owner+": make it beforehand with this owner, or use group")
	}
	if t.Notify.Unit != "" {
		all = append(all, "the unit has no way to systemd to reload "+t.Notify.Unit+": a path unit needs none, see examples/deliver.path")
	}
	return all
}
