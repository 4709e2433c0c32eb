package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// A machine is a virtual one: a kernel, a file system in memory with the programs,
// and a disk whose power can fail.
type machine struct {
	dir    string // of the test
	kernel string
	initrd string
	disk   *disk
}

// A boot is the machine running.
type boot struct {
	qemu   *exec.Cmd
	listen net.Listener
	tasks  errgroup.Group // serves the disk and reads what the guest says
	lines  chan string    // what the guest says, without its mark
	serial *os.File
}

// start switches the machine on.
func (m *machine) start(n int) (*boot, error) {
	socket := filepath.Join(m.dir, "disk.sock")
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	b := &boot{listen: l, lines: make(chan string, 1000)}
	b.tasks.Go(func() error {
		if conn, err := l.Accept(); err == nil {
			if err := serve(conn, m.disk); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				fmt.Fprintln(os.Stderr, "power:", err)
			}
		}
		return nil
	})
	cache := "writethrough"
	if m.disk.cached {
		cache = "writeback"
	}
	b.qemu = exec.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "384",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyS0 quiet panic=-1", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0",
		"-device", "virtio-rng-pci", "-drive", "file=nbd:unix:"+socket+",format=raw,if=none,id=d0,cache="+cache, "-device", "virtio-blk-pci,drive=d0")
	out, err := b.qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if b.serial, err = os.Create(filepath.Join(m.dir, fmt.Sprintf("serial.%03d", n))); err != nil {
		return nil, err
	}
	b.qemu.Stderr = b.serial
	if err := b.qemu.Start(); err != nil {
		return nil, err
	}
	b.tasks.Go(func() error {
		defer close(b.lines)
		lines := bufio.NewScanner(io.TeeReader(out, b.serial))
		for lines.Scan() {
			if _, said, ok := strings.Cut(strings.TrimRight(lines.Text(), "\r"), "GUEST "); ok {
				b.lines <- said
			}
		}
		return nil
	})
	return b, nil
}

// wait returns the next line of the guest that begins with one of the words.
func (b *boot) wait(ctx context.Context, words ...string) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case line, ok := <-b.lines:
			if !ok {
				return "", errors.New("the guest is gone")
			}
			for _, w := range words {
				if strings.HasPrefix(line, w) {
					return line, nil
				}
			}
		}
	}
}

// off takes the power away.
func (b *boot) off() {
	_ = b.qemu.Process.Kill()
	for range b.lines { // nobody reads on; closed when the guest is gone
	}
	_ = b.qemu.Wait()
	_ = b.listen.Close()
	_ = b.tasks.Wait()
	_ = b.serial.Close()
}
