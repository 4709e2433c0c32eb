package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

// Bounds of what a change of the network causes.
const (
	networkSettle = time.Second     // a route and a name server follow an address
	networkGap    = 5 * time.Second // between two nudges
	netlinkBuffer = 32 << 10        // bytes of one message from the kernel; its own are 8 KiB
)

// NetworkNews is what the kernel tells of links and addresses (rtnetlink(7)).
// Each Read returns whole messages.
type NetworkNews interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
	Close() error
}

// openNetlink listens for links and addresses that come or go.
func openNetlink() (NetworkNews, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// watchNetwork has the agent try at once when a network comes, instead of at
// the end of a wait. Where the kernel does not tell, waits just last longer.
func (g *generation) watchNetwork(ctx context.Context) error {
	open := g.Netlink
	if open == nil {
		open = openNetlink
	}
	kernel, err := open()
	if err == nil {
		err = nudgeOnChange(ctx, kernel, g.networkCame)
	}
	if err != nil {
		g.Log.Info("changes of the network are not heard, only waits end on time", "task", "network", "err", err)
	}
	<-ctx.Done()
	return nil
}

// nudgeOnChange calls nudge soon after a network has come, until ctx is done.
// Its error is a kernel that tells no more. It closes kernel.
func nudgeOnChange(ctx context.Context, kernel NetworkNews, nudge func()) error {
	err := hearNetworks(ctx, kernel, nudge)
	if ctx.Err() != nil {
		return nil // what failed was a Read of what we had closed
	}
	return err
}

func hearNetworks(ctx context.Context, kernel NetworkNews, nudge func()) error {
	stop := context.AfterFunc(ctx, func() { _ = kernel.Close() }) // ends the Read
	defer stop()
	defer kernel.Close()
	var known networks
	var due, last time.Time // due is zero while there is nothing to do
	buf := make([]byte, netlinkBuffer)
	for {
		if err := kernel.SetReadDeadline(due); err != nil {
			return err
		}
		n, err := kernel.Read(buf)
		came := err == nil && known.tell(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			due, last = time.Time{}, time.Now()
			nudge()
		case errors.Is(err, unix.ENOBUFS): // more happened than was told
			came = true
		case err != nil:
			return err
		}
		if came && due.IsZero() {
			due = time.Now().Add(networkSettle)
			if soonest := last.Add(networkGap); !last.IsZero() && due.Before(soonest) {
				due = soonest
			}
		}
	}
}

// networkCame ends the waits that a network may have made pointless. A session
// that is up, or that the broker refuses, is left alone.
func (g *generation) networkCame() {
	session, _ := g.session.Status()
	waiting := session.State == mqtt.Offline && !session.NextTry.IsZero()
	g.Log.Debug("a network came", "task", "network", "mqtt_waiting", waiting)
	g.keeper.Nudge()
	if waiting {
		g.session.Reconnect()
	}
}
