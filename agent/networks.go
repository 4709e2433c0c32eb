package agent

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maxNetworks bounds what is remembered of links and addresses. Beyond it all
// is forgotten, which costs a nudge too many.
const maxNetworks = 1024

// networks are the links that carry and the addresses that work, as far as the
// kernel has told. It tells of some again and again: only what is new counts.
type networks struct{ there map[string]bool }

// tell takes messages of rtnetlink(7) and reports whether a network came.
func (n *networks) tell(b []byte) (came bool) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return came // not from a kernel
		}
		kind, body := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:size]
		if name, up, ok := network(kind, body); ok && n.set(name, up) {
			came = true
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return came
}

// set notes that name is there or not, and reports whether it came.
func (n *networks) set(name string, up bool) bool {
	if !up {
		delete(n.there, name)
		return false
	}
	if n.there[name] {
		return false
	}
	if n.there == nil || len(n.there) >= maxNetworks {
		n.there = make(map[string]bool)
	}
	n.there[name] = true
	return true
}

// network names the link or the address that a message is about and says
// whether it can be used.
func network(kind uint16, body []byte) (name string, up, ok bool) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK: // struct ifinfomsg: the index at 4, the flags at 8
		if len(body) < unix.SizeofIfInfomsg {
			return "", false, false
		}
		const carries = unix.IFF_UP | unix.IFF_RUNNING
		flags := binary.NativeEndian.Uint32(body[8:])
		return "link " + string(body[4:8]), kind == unix.RTM_NEWLINK && flags&carries == carries, true
	case unix.RTM_NEWADDR, unix.RTM_DELADDR: // struct ifaddrmsg: the flags at 2, the index at 4
		if len(body) < unix.SizeofIfAddrmsg {
			return "", false, false
		}
		const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
		address := attribute(body[unix.SizeofIfAddrmsg:], unix.IFA_ADDRESS)
		up := kind == unix.RTM_NEWADDR && body[2]&unusable == 0
		return "address " + string(body[4:8]) + string(address), up, true
	}
	return "", false, false
}

// attribute finds the value of a kind among attributes, nil if it is not there.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:]) == kind {
			return b[unix.SizeofRtAttr:size]
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}
