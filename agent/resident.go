package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// When the program gives back the memory that holds its own unused code: once
// the start is over, and then seldom.
const (
	firstRelease = time.Minute
	releaseEvery = time.Hour
)

// giveBack lets the kernel take back what of the program's file was needed for
// the start, a handshake or a fetch, and is not while the agent waits. What is
// needed after all is mapped again out of the page cache.
func (r *runner) giveBack(ctx context.Context) error {
	timer := time.NewTimer(firstRelease)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		debug.FreeOSMemory()
		if err := releaseProgram(); err != nil {
			r.Log.Debug("memory of unused code not given back", "err", err)
		}
		timer.Reset(releaseEvery)
	}
}

// releaseProgram unmaps the resident pages of the program's code and constants,
// which the file has (madvise(2), MADV_DONTNEED). Pages that were written to are
// not touched.
func releaseProgram() error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for _, span := range readOnlyMappings(maps, path) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, span.start, span.end-span.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// A mapping is a range of the address space.
type mapping struct{ start, end uintptr }

// readOnlyMappings are those of path in maps (proc_pid_maps(5)) that cannot be
// written to.
func readOnlyMappings(maps []byte, path string) []mapping {
	var found []mapping
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 || fields[5] != path || strings.Contains(fields[1], "w") || !strings.HasSuffix(fields[1], "p") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, int(8*unsafe.Sizeof(uintptr(0))))
		end, err2 := strconv.ParseUint(to, 16, int(8*unsafe.Sizeof(uintptr(0))))
		if err1 == nil && err2 == nil && start < end {
			found = append(found, mapping{uintptr(start), uintptr(end)})
		}
	}
	return found
}
