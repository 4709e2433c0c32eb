package peers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mosquitto is a broker that knows its clients by a password file.
type Mosquitto struct {
	Addr string // host:port, TLS
	Log  string // file of its messages

	*process
	passwords string
	conf      string
	admitting sync.Mutex // one Admit at a time
}

// StartMosquitto starts a broker in dir that admits users, a password for each
// name. It sends without delay: with its default, every latency that is
// measured against it is the kernel's 40 ms timer (Nagle's rule against
// delayed acknowledgements).
func StartMosquitto(dir string, certs Certificates, users map[string]string) (*Mosquitto, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	m := &Mosquitto{Addr: addr, Log: filepath.Join(dir, "mosquitto.log"), passwords: filepath.Join(dir, "passwd")}
	if err := m.write(users); err != nil {
		return nil, err
	}
	m.conf = filepath.Join(dir, "mosquitto.conf")
	err = os.WriteFile(m.conf, fmt.Appendf(nil, `user root
listener %s 127.0.0.1
cafile %s
certfile %s
keyfile %s
allow_anonymous false
password_file %s
persistence false
max_queued_messages 0
set_tcp_nodelay true
log_dest stderr
log_type all
`, port(addr), certs.CA, certs.Server, certs.Key, m.passwords), 0o644)
	if err != nil {
		return nil, err
	}
	return m, m.Start()
}

// Start starts the broker again after Kill, on the same address.
func (m *Mosquitto) Start() (err error) {
	m.process, err = start(m.Log, m.Addr, "mosquitto", "-c", m.conf)
	return err
}

// Quiet restarts the broker so that it logs no packets, which costs it more than
// passing them on.
func (m *Mosquitto) Quiet() error {
	conf, err := os.ReadFile(m.conf)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.conf, bytes.Replace(conf, []byte("log_type all"), []byte("log_type error"), 1), 0o644); err != nil {
		return err
	}
	m.Stop()
	return m.Start()
}

// Kill ends the broker with SIGKILL. It forgets its sessions and what is queued
// in them.
func (m *Mosquitto) Kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// Admit replaces the users while the broker runs, and returns once it has taken
// notice. Whoever is no longer one of them is thrown out.
func (m *Mosquitto) Admit(users map[string]string) error {
	m.admitting.Lock()
	defer m.admitting.Unlock()
	if err := m.write(users); err != nil {
		return err
	}
	// The broker says so before it reads: what it says from here on, it read from the new file.
	before := m.reloads()
	start := time.Now()
	var asked time.Time
	for m.reloads() == before {
		if time.Since(start) > time.Minute {
			return errors.New("mosquitto does not reload its password file")
		}
		if time.Since(asked) > 500*time.Millisecond { // it forgets a signal that comes while it reloads
			asked = time.Now()
			if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				return err
			}
		}
		<-time.After(5 * time.Millisecond)
	}
	return nil
}

// reloads counts how often the broker says that it has read its settings again.
func (m *Mosquitto) reloads() int {
	log, _ := os.ReadFile(m.Log) // an empty one until the broker has started
	return bytes.Count(log, []byte("Reloading config."))
}

// write makes the password file: in plain at first, then hashed in place.
func (m *Mosquitto) write(users map[string]string) error {
	var lines strings.Builder
	for name, password := range users {
		fmt.Fprintf(&lines, "%s:%s\n", name, password)
	}
	next := m.passwords + ".next"
	if err := os.WriteFile(next, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command("mosquitto_passwd", "-U", next).CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_passwd: %w: %s", err, out)
	}
	return os.Rename(next, m.passwords)
}

// Stop ends the broker.
func (m *Mosquitto) Stop() { m.stop() }
