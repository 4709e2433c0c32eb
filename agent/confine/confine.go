// Package confine takes from the process what it does not need, by the
// kernel's Landlock: afterwards neither it nor a program that it starts can
// write outside the directories that are named.
//
// The sandbox of the service does the same from outside. This one also holds
// where the agent runs without systemd, and against a mistake in the unit.
package confine

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	syscall "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// leastABI is the first version of Landlock in which a file can be renamed
// from one directory to another (Linux 5.19); the spool needs that.
const leastABI = 2

// Writes lets the process write below the named directories and /dev alone;
// those that are missing now are left out for good.
// Reading and running programs stay as they are. It cannot be undone.
//
// It returns the version of the kernel's Landlock, and an error where that is
// missing or too old: then nothing has changed.
func Writes(directories ...string) (abi int, err error) {
	abi, err = syscall.LandlockGetABIVersion()
	if err != nil {
		return 0, fmt.Errorf("no Landlock in Linux %s: %w", release(), err)
	}
	if abi < leastABI {
		return abi, fmt.Errorf("the Landlock of Linux %s is of version %d, and %d is needed", release(), abi, leastABI)
	}
	rules := []landlock.Rule{
		landlock.RODirs("/"),
		landlock.RWDirs("/dev").WithIoctlDev().IgnoreIfMissing(),
	}
	if len(directories) > 0 {
		rules = append(rules, landlock.RWDirs(directories...).WithRefer().IgnoreIfMissing())
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return abi, fmt.Errorf("cannot confine the process: %w", err)
	}
	return abi, nil
}

// release is the kernel's, as uname -r has it.
func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
