package telemetry

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// A Link is the network interface that the default route leads through.
type Link struct {
	Interface string   `json:"interface"`
	Received  int64    `json:"received"`         // bytes since it came up
	Sent      int64    `json:"sent"`             // likewise
	Speed     int64    `json:"speed,omitempty"`  // Mbit/s, of a cable
	Signal    *float64 `json:"signal,omitempty"` // dBm, of a wireless network
}

// The kernel shows the network of our own namespace below /proc/self, also to
// those from whom it hides the rest of /proc.
const (
	routesFile   = "/proc/self/net/route"
	routes6File  = "/proc/self/net/ipv6_route"
	wirelessFile = "/proc/self/net/wireless"
)

// link tells of the interface of the default route, nil if there is none.
func (s *Sensors) link() *Link {
	name := parseRoutes(s.read(routesFile))
	if name == "" {
		name = parseRoutes6(s.read(routes6File))
	}
	if name == "" || strings.ContainsAny(name, "/") || name == "." || name == ".." {
		return nil
	}
	dir := "/sys/class/net/" + name
	l := &Link{
		Interface: name, Received: s.number(dir + "/statistics/rx_bytes"), Sent: s.number(dir + "/statistics/tx_bytes"),
		Speed: s.number(dir + "/speed"), Signal: parseSignal(s.read(wirelessFile), name),
	}
	return l
}

// number reads one that is not below zero; -1 stands for unknown in these files.
func (s *Sensors) number(path string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(string(s.read(path))), 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// parseRoutes finds the interface of the IPv4 default route with the lowest
// metric: Iface Destination Gateway Flags RefCnt Use Metric Mask ...
func parseRoutes(table []byte) (name string) {
	best := int64(math.MaxInt64)
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if metric, err := strconv.ParseInt(f[6], 10, 64); err == nil && metric < best {
			name, best = f[0], metric
		}
	}
	return name
}

// parseRoutes6 does the same for IPv6: destination, its prefix length, source,
// its length, next hop, metric, references, use, flags, interface.
func parseRoutes6(table []byte) (name string) {
	best := uint64(math.MaxUint64)
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" || f[9] == "lo" {
			continue
		}
		if metric, err := strconv.ParseUint(f[5], 16, 64); err == nil && metric < best {
			name, best = f[9], metric
		}
	}
	return name
}

// parseSignal finds the level of the wireless interface: "wlan0: 0000 70. -40. ...".
func parseSignal(table []byte, name string) *float64 {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 4 || f[0] != name+":" {
			continue
		}
		if dbm, err := strconv.ParseFloat(strings.TrimSuffix(f[3], "."), 64); err == nil && dbm > -200 && dbm < 50 {
			return &dbm
		}
	}
	return nil
}
