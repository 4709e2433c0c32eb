package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// inMachine tells the process that plays in a machine of its own that it does.
const inMachine = "SPOKE_ZONE_SIM_MACHINE"

// machineDir is the gateway's directory there.
const machineDir = "/run/gateway"

// alternatives is the one part of /etc that programs are found by: awk is a link
// into it.
const alternatives = "/etc/alternatives"

// errMachine means that the system gives no machine of one's own.
var errMachine = errors.New("this scenario needs a machine of its own: root, or a system that lets users have namespaces")

// replay runs this program again with the same arguments as the first process
// of a machine of its own: it sees no process but its own, and has /etc and
// /run to itself. A kill of it ends everything in it.
func replay(ctx context.Context, args []string, out, complaints io.Writer) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), inMachine+"=1")
	cmd.Stdout, cmd.Stderr = out, complaints
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", errMachine, err)
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &ended) {
		return ErrTold
	} else if err != nil {
		return err
	}
	return nil
}

// ErrTold means that the process in the machine has told what is wrong.
var ErrTold = errors.New("it failed in its own machine")

// settle makes a new machine fit to play in. It refuses to be anything but the
// first process of one in which there is no other: cut kills all that there are.
func settle() error {
	if os.Getpid() != 1 || !errors.Is(unix.Kill(-1, 0), unix.ESRCH) {
		return fmt.Errorf("%s is set, and this is no machine of its own", inMachine)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: make mounts private: %w", errMachine, err)
	}
	kept, _ := os.Open(alternatives)               // elsewhere than on Debian there is none
	for _, dir := range []string{"/etc", "/run"} { // no systemd in the one, no settings in the other
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("%w: mount %s: %w", errMachine, dir, err)
		}
	}
	if kept != nil {
		defer kept.Close()
		if err := errors.Join(os.Mkdir(alternatives, 0o755),
			unix.Mount(fmt.Sprintf("/proc/self/fd/%d", kept.Fd()), alternatives, "", unix.MS_BIND, "")); err != nil {
			return fmt.Errorf("%w: keep %s: %w", errMachine, alternatives, err)
		}
	}
	// Where the processes of this machine alone cannot be shown, those of the
	// whole system are: nothing here goes by them.
	_ = unix.Mount("proc", "/proc", "proc", 0, "")
	return os.Mkdir(machineDir, 0o755)
}

// cut kills every process of the machine but this one, at once and in the
// middle of whatever they do.
func cut() error {
	if os.Getpid() != 1 {
		return errors.New("this is no machine of its own")
	}
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill everything: %w", err)
	}
	return nil
}

// boot gives the machine the identity of another start, by which hooks and the
// agent know that what they had been doing is over.
func (s *stage) boot() error {
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x\n", s.boots, s.boots)
	s.boots++
	name := filepath.Join(s.dir, "boot_id")
	if err := os.WriteFile(name, []byte(id), 0o444); err != nil {
		return err
	}
	if s.boots > 1 {
		return nil // it is there already
	}
	// Without it, a power cut looks like a kill of all programs.
	_ = unix.Mount(name, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, "")
	return nil
}

// mountState gives the state its small file system.
func mountState(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return fmt.Errorf("%w: mount %s: %w", errMachine, dir, err)
	}
	return nil
}
