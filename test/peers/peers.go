// Package peers runs the real servers that the agent is tested and measured
// against, Mosquitto and nginx, over TLS on loopback, each in a directory of
// its own and as no service of the machine.
package peers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A process is a server that this program started and ends.
type process struct {
	cmd *exec.Cmd
	log string // its file
}

// start runs name and waits until it answers on addr.
func start(log, addr, name string, args ...string) (*process, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian keeps servers where a plain user's PATH does not lead.
		if path, err = exec.LookPath(filepath.Join("/usr/sbin", name)); err != nil {
			return nil, err
		}
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{exec.Command(path, args...), log}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// The server goes when we do, however we go.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := answers(addr); err != nil {
		p.stop()
		said, _ := os.ReadFile(log)
		return nil, fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return p, nil
}

func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait()
}

// answers returns once something listens on addr, or an error after a minute.
func answers(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w", err)
		}
	}
}

// FreeAddr returns an address of loopback that nobody listens on. Its port is
// none that the kernel gives to connections: one of those could take it while
// the server that it is for starts, or is dead and to start again.
func FreeAddr() (string, error) {
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(firstEphemeral()-10_000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", err
}

// firstEphemeral is the first port that connections get, by ip(7).
func firstEphemeral() int {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	first := 0
	if _, err := fmt.Sscan(string(text), &first); err != nil || first < 20_000 {
		return 32_768
	}
	return first
}

// port returns the port of an address that FreeAddr gave.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
