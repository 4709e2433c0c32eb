package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// message is one of rtnetlink(7).
func message(kind uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(append(b, make([]byte, 10)...), body...)
	return append(b, make([]byte, -len(b)&3)...)
}

func linkMessage(kind uint16, index, flags uint32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], flags)
	return message(kind, body)
}

func addressMessage(kind uint16, index uint32, flags byte, address string) []byte {
	body := []byte{unix.AF_INET, 24, flags, 0}
	body = binary.NativeEndian.AppendUint32(body, index)
	ip := net.ParseIP(address).To4()
	for _, attr := range []struct {
		kind  uint16
		value []byte
	}{{unix.IFA_LABEL, []byte("eth0\x00")}, {unix.IFA_ADDRESS, ip}} {
		body = binary.NativeEndian.AppendUint16(body, uint16(unix.SizeofRtAttr+len(attr.value)))
		body = binary.NativeEndian.AppendUint16(body, attr.kind)
		body = append(body, attr.value...)
		body = append(body, make([]byte, -len(body)&3)...)
	}
	return message(kind, body)
}

const carrier = unix.IFF_UP | unix.IFF_RUNNING

func TestOnlyANetworkThatComesCounts(t *testing.T) {
	var n networks
	for _, step := range []struct {
		what string
		b    []byte
		want bool
	}{
		{"a link without a carrier", linkMessage(unix.RTM_NEWLINK, 2, unix.IFF_UP), false},
		{"its carrier", linkMessage(unix.RTM_NEWLINK, 2, carrier), true},
		{"the same again, as drivers tell it", linkMessage(unix.RTM_NEWLINK, 2, carrier|unix.IFF_MULTICAST), false},
		{"another link", linkMessage(unix.RTM_NEWLINK, 3, carrier), true},
		{"the carrier is lost", linkMessage(unix.RTM_NEWLINK, 2, unix.IFF_UP), false},
		{"and back", linkMessage(unix.RTM_NEWLINK, 2, carrier), true},
		{"the link is gone", linkMessage(unix.RTM_DELLINK, 2, carrier), false},
		{"and plugged in again", linkMessage(unix.RTM_NEWLINK, 2, carrier), true},
		{"an address that may be another's", addressMessage(unix.RTM_NEWADDR, 2, unix.IFA_F_TENTATIVE, "10.0.0.1"), false},
		{"an address", addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.1"), true},
		{"its lease is renewed", addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.1"), false},
		{"a second address", addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.2"), true},
		{"the first is gone", addressMessage(unix.RTM_DELADDR, 2, 0, "10.0.0.1"), false},
		{"and given again", addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.1"), true},
		{"a route", message(unix.RTM_NEWROUTE, make([]byte, 12)), false},
		{"two messages in one", append(message(unix.RTM_NEWROUTE, make([]byte, 13)), linkMessage(unix.RTM_NEWLINK, 9, carrier)...), true},
		{"half a message", linkMessage(unix.RTM_NEWLINK, 10, carrier)[:20], false},
		{"nothing", nil, false},
	} {
		if got := n.tell(step.b); got != step.want {
			t.Errorf("%s: got %v, want %v", step.what, got, step.want)
		}
	}
}

func FuzzNetworks(f *testing.F) {
	f.Add(linkMessage(unix.RTM_NEWLINK, 2, carrier))
	f.Add(addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.1"))
	f.Add(append(linkMessage(unix.RTM_DELLINK, 2, 0), addressMessage(unix.RTM_DELADDR, 2, 0, "10.0.0.1")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n networks
		n.tell(b)
		if n.tell(nil) {
			t.Error("nothing is taken for a network")
		}
		if len(n.there) > maxNetworks {
			t.Errorf("%d networks are remembered", len(n.there))
		}
	})
}

func TestNetworksRememberedAreBounded(t *testing.T) {
	var n networks
	for i := range uint32(3 * maxNetworks) {
		n.tell(linkMessage(unix.RTM_NEWLINK, i, carrier))
		if len(n.there) > maxNetworks {
			t.Fatalf("%d networks after %d", len(n.there), i+1)
		}
	}
}

// hear runs nudgeOnChange in a bubble and returns when it nudged, since the
// start.
func hear(t *testing.T, tell func(kernel net.Conn)) (nudges []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, kernel := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		start, done := time.Now(), make(chan error, 1)
		go func() {
			done <- nudgeOnChange(ctx, ours, func() { nudges = append(nudges, time.Since(start)) })
		}()
		tell(kernel)
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return nudges
}

func TestANudgeWaitsForTheNetworkToSettle(t *testing.T) {
	got := hear(t, func(kernel net.Conn) {
		kernel.Write(linkMessage(unix.RTM_NEWLINK, 2, carrier))
		time.Sleep(200 * time.Millisecond)
		kernel.Write(addressMessage(unix.RTM_NEWADDR, 2, 0, "10.0.0.1"))
	})
	if len(got) != 1 || got[0] != networkSettle {
		t.Errorf("got %v, want one after %v", got, networkSettle)
	}
}

func TestALinkThatFlapsNudgesEveryFiveSeconds(t *testing.T) {
	got := hear(t, func(kernel net.Conn) {
		for range 100 { // 20 s
			kernel.Write(linkMessage(unix.RTM_NEWLINK, 2, carrier))
			time.Sleep(100 * time.Millisecond)
			kernel.Write(linkMessage(unix.RTM_NEWLINK, 2, unix.IFF_UP))
			time.Sleep(100 * time.Millisecond)
		}
	})
	if len(got) < 4 || len(got) > 6 {
		t.Errorf("%d nudges in 20 s: %v", len(got), got)
	}
	for i := 1; i < len(got); i++ {
		if gap := got[i] - got[i-1]; gap < networkGap {
			t.Errorf("%v between two nudges", gap)
		}
	}
}

func TestTheKernelsSilenceIsNoNudge(t *testing.T) {
	if got := hear(t, func(net.Conn) {}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// A gateway that waits out a backoff tries at once when its network is back.
func TestANetworkThatComesEndsTheWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		cloud.MustSet(cloudtest.Unreachable, cloudtest.Share(1))
		gw.start(t)
		ours, kernel := net.Pipe()
		gw.g.Netlink = func() (NetworkNews, error) { return ours, nil }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- gw.g.watchNetwork(ctx) }()
		time.Sleep(2 * time.Hour)
		before, _ := gw.g.session.Status()
		cloud.MustSet(cloudtest.Unreachable, cloudtest.Switch{})
		kernel.Write(linkMessage(unix.RTM_NEWLINK, 2, carrier))
		time.Sleep(networkSettle + time.Second)
		if after, _ := gw.g.session.Status(); after.State != "online" {
			t.Errorf("after the network came: %+v; before: %+v", after, before)
		}
		connects := len(cloud.Connects())
		kernel.Write(linkMessage(unix.RTM_NEWLINK, 3, carrier))
		time.Sleep(time.Minute)
		if got := len(cloud.Connects()); got != connects {
			t.Errorf("a second network ended a session that was up: %d connects, then %d", connects, got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the task ended with %v", err)
		}
		gw.stop(t)
	})
}

func TestWithoutNetlinkTheAgentGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &generation{runner: &runner{Options: Options{
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
			Netlink: func() (NetworkNews, error) { return nil, os.NewSyscallError("socket", unix.EAFNOSUPPORT) },
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.watchNetwork(ctx) }()
		time.Sleep(time.Hour)
		select {
		case err := <-done:
			t.Fatalf("the task ended with %v", err)
		default:
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the task ended with %v", err)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "address family not supported") {
			t.Errorf("%d lines are logged:\n%s", n, log.String())
		}
	})
}
