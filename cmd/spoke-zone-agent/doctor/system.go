package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
)

// minutes is how far the system's clock may be off before a person is told.
const tolerance = 2 * time.Minute

// clock judges the system's clock. The agent lives with a wrong one; logs and
// other programs do not.
func (p *patient) clock(context.Context) []Finding {
	const cure = "see that the clock is set: timedatectl, NTP, the battery of the hardware clock"
	now := p.time()
	state := clock.State{Floor: p.Built}
	switch reading := (clock.Reading{Wall: now}); {
	case p.up() && p.status.Clock.Source == "server":
		off := time.Duration(max(-1e9, min(p.status.Clock.ServerOffset, 1e9)) * float64(time.Second)).Round(time.Second)
		if off.Abs() <= tolerance {
			return ok("as the cloud's: " + stamp(now))
		}
		return warn(fmt.Sprintf("the system's clock says %s, the cloud's is %v ahead; the agent goes by the cloud's", stamp(now), off), cure)
	case !state.System(reading).Equal(now):
		return warn(fmt.Sprintf("the system's clock says %s, which cannot be: this program was built at %s; the agent gets by with what it knows", stamp(now), stamp(p.Built)), cure)
	}
	return ok(stamp(now) + ", not compared with the cloud's")
}

// Names of file systems that matter here, by statfs(2).
var fileSystems = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.EXT4_SUPER_MAGIC: "ext4",
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.XFS_SUPER_MAGIC: "xfs", unix.F2FS_SUPER_MAGIC: "f2fs", unix.SQUASHFS_MAGIC: "squashfs",
	unix.NFS_SUPER_MAGIC: "nfs", unix.MSDOS_SUPER_MAGIC: "vfat", 0x24051905: "ubifs", unix.JFFS2_SUPER_MAGIC: "jffs2",
}

// Room that the agent wants to have, in bytes.
const (
	little = 1 << 20
	enough = 16 << 20
)

// state looks at the directory that the agent must not lose.
func (p *patient) state(context.Context) []Finding {
	dir := p.conf.Paths.State
	if p.up() && p.status.Token.Stored.Error != "" && !p.status.Token.Stored.State {
		return fail("the daemon cannot store its token: "+p.status.Token.Stored.Error, "make "+dir+" writable, or name another directory in paths.state; until then a power cut may cost the token")
	}
	look, try := p.disk, p.try
	if look == nil {
		look = statfs
	}
	if try == nil {
		try = writable
	}
	room, name, err := look(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.up():
		return fail(err.Error(), "see why the daemon cannot make it: spoke-zone-agent status")
	case errors.Is(err, fs.ErrNotExist):
		return ok(dir + " is not there yet: the daemon makes it")
	case err != nil:
		return warn(err.Error(), "run doctor as root")
	}
	where := fmt.Sprintf("%s (%s, %d MiB free)", dir, name, room>>20)
	switch err := try(dir); {
	case errors.Is(err, unix.EROFS):
		return fail(where+" is read-only", "name a directory on a writable partition in paths.state; until then the token is in memory alone")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fail(where+" is full", "make room: a renewed token cannot be stored")
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return warn(where+" is for root alone", "run doctor as root")
	case err != nil:
		return fail(where+": "+err.Error(), "repair the file system, or name another directory in paths.state")
	case name == "tmpfs" || name == "ramfs":
		return warn(where+" is in memory: a reboot loses the token that the agent renewed", "name a directory on a disk in paths.state")
	case room < little:
		return fail(where+" is nearly full", "make room: a renewed token cannot be stored")
	case room < enough:
		return warn(where+" has little room", "make room for updates and data files")
	}
	return ok(where + " is writable")
}

// statfs tells the free bytes and the file system below dir.
func statfs(dir string) (room int64, name string, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, "", &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	name, known := fileSystems[int64(st.Type)]
	if !known {
		name = fmt.Sprintf("file system %#x", st.Type)
	}
	return int64(st.Bavail) * int64(st.Bsize), name, nil
}

// writable makes a file in dir and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte("a check\n"))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// spool looks at where local programs drop data files, and at what waits.
func (p *patient) spool(context.Context) []Finding {
	dir := p.conf.Paths.Spool
	var all []Finding
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		all = warn(dir+" is not there: data files come by the command alone", "install -d -m 1777 "+filepath.Clean(dir))
	case err != nil:
		all = warn(err.Error(), "run doctor as root")
	case !info.IsDir():
		all = fail(dir+" is no directory", "move what is there out of the way")
	}
	if !p.up() {
		return append(all, ok(dir+": what waits is known to the daemon alone")...)
	}
	u := p.status.Upload
	text := fmt.Sprintf("%d data files wait (%d bytes), %d sent, %d set aside, %d lost for want of room", u.Queued, u.QueuedBytes, u.Sent, u.Quarantined, u.Dropped)
	switch {
	case u.Dropped > 0:
		return append(all, warn(text, "raise upload.max_spool, or send less")...)
	case u.Error != "":
		return append(all, warn(text+"; last error: "+u.Error, "see spoke-zone-agent why upload")...)
	}
	return append(all, ok(text)...)
}
