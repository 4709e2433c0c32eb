package local

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A peer is who is at the other end of a connection, by the word of the
// kernel and as of the moment it connected.
type peer struct {
	pid      int
	uid, gid uint32
	groups   []uint32 // supplementary ones
}

// peerOf asks the kernel (unix(7), SO_PEERCRED and SO_PEERGROUPS).
func peerOf(c net.Conn) (p peer, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return p, errors.New("not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return p, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); optErr == nil {
			p = peer{pid: int(cred.Pid), uid: cred.Uid, gid: cred.Gid}
			p.groups, optErr = peerGroups(fd)
		}
	})
	return p, errors.Join(err, optErr)
}

// peerGroups returns none on a kernel before 4.13, which does not know them:
// there the primary group alone counts.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(4 * len(groups)) // bytes; the kernel says how many it needs
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ENOPROTOOPT:
			return nil, nil
		case errno != unix.ERANGE || int(size) <= 4*len(groups) || size > 1<<20:
			return nil, fmt.Errorf("SO_PEERGROUPS: %w", errno)
		}
		groups = make([]uint32, size/4)
	}
}

// rights decides who is trusted with tokens and changes.
type rights struct {
	self  uint32
	group int64 // -1 for none
}

// newRights looks up the group, a name or a number. Without it the rights are
// root's and our own alone, and the error says why.
func newRights(group string) (rights, error) {
	r := rights{self: uint32(os.Geteuid()), group: -1}
	if group == "" {
		return r, nil
	}
	id := group
	if g, err := user.LookupGroup(group); err == nil {
		id = g.Gid
	}
	gid, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return r, fmt.Errorf("there is no group %q", group)
	}
	r.group = int64(gid)
	return r, nil
}

// owns reports root and our own user.
func (r rights) owns(p peer) bool { return p.uid == 0 || p.uid == r.self }

func (r rights) trusts(p peer) bool {
	if r.owns(p) {
		return true
	}
	if r.group < 0 {
		return false
	}
	return int64(p.gid) == r.group || slices.Contains(p.groups, uint32(r.group))
}
