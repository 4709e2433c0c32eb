package telemetry

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Figures are what a broadcast tells of the device. What the kernel does not
// tell is left out. The names of the first three are the cloud's.
type Figures struct {
	Uptime   int64     `json:"uptime"`              // seconds since the boot, suspend included
	CPUUsage []float64 `json:"cpu_usage,omitempty"` // percent of each core since the last broadcast
	CPUTemp  *float64  `json:"cpu_temp,omitempty"`  // degrees Celsius
	Memory   *Space    `json:"memory,omitempty"`
	Disk     *Space    `json:"disk,omitempty"` // where the agent keeps its state
	Link     *Link     `json:"link,omitempty"` // of the default route
}

// Space is an amount of memory or disk, in bytes.
type Space struct {
	Total int64 `json:"total"`
	Used  int64 `json:"used"`
}

// Sensors read the kernel's figures (proc(5), Documentation/ABI of Linux). Only
// one goroutine uses them.
type Sensors struct {
	Root string // before /proc and /sys; empty outside tests
	Disk string // a directory on the file system to tell of

	before []times
}

// times are what one core has spent, in ticks.
type times struct{ busy, all uint64 }

// maxKernelFile bounds what is read of one file of the kernel. /proc/stat has
// its cores in front.
const maxKernelFile = 64 << 10

// Begin takes the first of the two readings that the use of the cores is made
// of.
func (s *Sensors) Begin() { s.before = parseCores(s.read("/proc/stat")) }

// Read measures.
func (s *Sensors) Read() Figures {
	now := parseCores(s.read("/proc/stat"))
	f := Figures{
		Uptime: uptime(), CPUUsage: usage(s.before, now), CPUTemp: s.temperature(),
		Memory: parseMemory(s.read("/proc/meminfo")), Disk: s.disk(), Link: s.link(),
	}
	s.before = now
	return f
}

// read returns the beginning of a file of the kernel, nothing if it cannot be
// read: a sandbox may hide it.
func (s *Sensors) read(path string) []byte {
	f, err := os.Open(s.Root + path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, maxKernelFile)
	n, _ := f.Read(b) // one read gives the whole of what fits
	return b[:n]
}

func uptime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // present since Linux 2.6.39
	return ts.Nano() / 1e9
}

// parseCores reads the lines "cpu0 user nice system idle iowait irq softirq
// steal ..." of /proc/stat. The time of guests is within user and nice.
func parseCores(stat []byte) (cores []times) {
	for line := range bytes.Lines(stat) {
		f := strings.Fields(string(line))
		if len(f) < 5 || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" || len(cores) >= 1024 {
			continue
		}
		var t times
		for i, text := range f[1:min(len(f), 9)] {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil
			}
			t.all += n
			if i != 3 && i != 4 { // idle, iowait
				t.busy += n
			}
		}
		cores = append(cores, t)
	}
	return cores
}

// usage is the share of busy time of each core between two readings, in percent
// with one decimal. A core that came or went between them makes it unknown.
func usage(before, now []times) []float64 {
	if len(now) == 0 || len(before) != len(now) {
		return nil
	}
	shares := make([]float64, len(now))
	for i := range now {
		if all := float64(now[i].all) - float64(before[i].all); all > 0 {
			busy := float64(now[i].busy) - float64(before[i].busy)
			shares[i] = round(min(100, max(0, 100*busy/all)), 1)
		}
	}
	return shares
}

// temperature is that of the processor's zone, or of the first one where none
// says that it is the processor's.
func (s *Sensors) temperature() *float64 {
	zones, _ := filepath.Glob(s.Root + "/sys/class/thermal/thermal_zone*")
	slices.SortFunc(zones, func(a, b string) int { return len(a) - len(b) }) // zone10 behind zone9
	var found *float64
	for _, zone := range zones[:min(len(zones), 32)] {
		zone = strings.TrimPrefix(zone, s.Root)
		milli, err := strconv.ParseInt(strings.TrimSpace(string(s.read(zone+"/temp"))), 10, 32)
		if err != nil {
			continue
		}
		degrees := round(float64(milli)/1000, 1)
		typ := strings.ToLower(string(s.read(zone + "/type")))
		if strings.Contains(typ, "cpu") || strings.Contains(typ, "pkg") || strings.Contains(typ, "soc") {
			return &degrees
		}
		if found == nil {
			found = &degrees
		}
	}
	return found
}

// parseMemory reads /proc/meminfo. Used is what could not be had at once.
func parseMemory(info []byte) *Space {
	var total, free int64
	for sc := bufio.NewScanner(bytes.NewReader(info)); sc.Scan(); {
		var to *int64
		f := strings.Fields(sc.Text())
		switch {
		case len(f) != 3 || f[2] != "kB":
			continue
		case f[0] == "MemTotal:":
			to = &total
		case f[0] == "MemAvailable:":
			to = &free
		default:
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n <= math.MaxInt64>>10 {
			*to = n << 10
		}
	}
	if total <= 0 || free < 0 || free > total {
		return nil
	}
	return &Space{total, total - free}
}

func (s *Sensors) disk() *Space {
	var st unix.Statfs_t
	if s.Disk == "" || unix.Statfs(s.Disk, &st) != nil {
		return nil
	}
	block := int64(st.Bsize)
	return &Space{int64(st.Blocks) * block, int64(st.Blocks-st.Bfree) * block}
}

// round is f with so many decimals.
func round(f float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(f*p) / p
}
