package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// When the program gives back memory: once the start is over, and then seldom.
const (
	firstRelease = time.Minute
	releaseEvery = time.Hour
)

// giveBack lets the kernel take back what the start, a handshake or a fetch
// needed, and waiting does not: pages of the heap, and of the program's own
// file. What of these is needed after all is mapped again out of the page cache.
func (r *runner) giveBack(ctx context.Context) error {
	timer := time.NewTimer(firstRelease)
	defer timer.Stop()
	var program []mapping
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		debug.FreeOSMemory()
		var err error
		if program == nil {
			if program, err = ownMappings(); err == nil {
				err = part(program)
			}
		}
		if err = errors.Join(err, release(program)); err != nil {
			r.Log.Debug("memory of unused code not given back", "err", err)
		}
		timer.Reset(releaseEvery)
	}
}

// ownMappings are the program's code and constants in memory, which its file has.
func ownMappings() ([]mapping, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	anywhere, err := loadedAnywhere("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	return readOnlyMappings(maps, path, anywhere), nil
}

// loadedAnywhere reports whether the program in the file name is independent of
// its position (elf(5), e_type ET_DYN): go build -buildmode=pie.
func loadedAnywhere(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var header [18]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	const dyn = 3 // ET_DYN, in either order of bytes
	return header[16] == dyn || header[17] == dyn, nil
}

// release unmaps the resident pages of mappings (madvise(2), MADV_DONTNEED).
// What was written to them would be lost.
func release(mappings []mapping) error {
	for _, m := range mappings {
		if err := m.advise(unix.MADV_DONTNEED); err != nil {
			return err
		}
	}
	return nil
}

// apart is how many pages are mapped around one that is needed.
const apart = 4

// part has the kernel map less around each page that is needed: it maps 16 that
// it has in the page cache, but none beyond the end of a mapping. What runs at
// rest is spread over the program, which by 16 pages is nearly all of it and by 4
// half of it. So every other group of 4 pages is told apart from its neighbours by
// an advice that means nothing here, to leave it out of core dumps.
func part(mappings []mapping) error {
	group := apart * uintptr(os.Getpagesize())
	for _, m := range mappings {
		for at := m.start; at < m.end; at += 2 * group {
			if err := (mapping{at, min(at+group, m.end)}).advise(unix.MADV_DONTDUMP); err != nil {
				return err
			}
		}
	}
	return nil
}

// A mapping is a range of the address space.
type mapping struct{ start, end uintptr }

func (m mapping) advise(advice uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, advice); errno != 0 {
		return fmt.Errorf("madvise: %w", errno)
	}
	return nil
}

// readOnlyMappings are those of path in maps (proc_pid_maps(5)) that cannot be
// written to; of a program that may be loaded anywhere only the code. Its constants
// hold addresses, which the file does not have: they were written at the start,
// before the mapping became one that cannot be written to.
func readOnlyMappings(maps []byte, path string, anywhere bool) []mapping {
	var found []mapping
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 || fields[5] != path || strings.Contains(fields[1], "w") || !strings.HasSuffix(fields[1], "p") ||
			anywhere && !strings.Contains(fields[1], "x") {
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
