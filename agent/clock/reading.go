package clock

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Reading is the system's clocks at one instant.
type Reading struct {
	Wall   time.Time     // CLOCK_REALTIME
	Boot   time.Duration // CLOCK_BOOTTIME: since the boot, suspend included
	BootID string        // names the boot
}

// bootID is read once: it is the same for the life of the process.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
})

// Read reads the system's clocks (clock_gettime(2), random(4)).
func Read() Reading {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // present since Linux 2.6.39
	return Reading{Wall: time.Now(), Boot: time.Duration(ts.Nano()), BootID: bootID()}
}
