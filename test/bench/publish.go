package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/mqtt"
	"github.com/spoke-zone/spoke-zone-agent/mqtt/outbox"
)

const (
	payloadBytes = 256
	publishes    = 50_000 // mosquitto_pub 2.0.11 loses lines beyond 65,535
	publishers   = 512    // at a time: each waits until its message is durable
)

// A job is what the program that publishes does, in a process of its own.
type job struct {
	Broker, CA, User, Dir string
	Messages              int
	Online                bool // else nothing is sent: the backlog stays
}

// A result is what it reports.
type result struct {
	Memory float64 // MB of private memory at the end
	Wear   float64 // bytes written for each byte published
	Bytes  int64   // on disk at the end
}

// work is that program: the agent's session with its outbox.
func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	r := &rig{}
	r.certs.CA = j.CA
	config, err := r.trust()
	if err != nil {
		return err
	}
	dialer, err := mqtt.NewDialer("mqtts://"+j.Broker, config, 0)
	if err != nil {
		return err
	}
	s := &mqtt.Session{
		Dial: func(ctx context.Context) (net.Conn, error) {
			if !j.Online {
				return nil, errors.New("off line")
			}
			return dialer.Dial(ctx)
		},
		Credential: func(context.Context) (mqtt.Credential, <-chan struct{}, error) {
			return mqtt.Credential{ClientID: "bench-publish", Username: j.User, Password: password}, nil, nil
		},
		Outbox: &outbox.Outbox{Dir: j.Dir, MaxBytes: 512 << 20, Window: time.Millisecond},
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var session, all errgroup.Group
	session.Go(func() error { return s.Run(ctx) })
	all.SetLimit(publishers)
	payload := bytes.Repeat([]byte("x"), payloadBytes)
	for range j.Messages {
		all.Go(func() error {
			return s.Publish(ctx, mqtt.Message{Topic: "bench/publish", Payload: payload, QoS: 1})
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for j.Online && s.Queue().Messages > 0 {
		<-time.After(time.Millisecond)
	}
	debug.FreeOSMemory() // what is held, not what the collector has yet to give back
	q := s.Queue()
	u, err := (&idler{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}).usage()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(result{Memory: u.dirty, Wear: float64(q.WrittenBytes) / float64(q.PublishedBytes), Bytes: q.Bytes}); err != nil {
		return err
	}
	cancel()
	return session.Wait()
}

// worker runs a job and returns its report, its seconds and those of processor.
func (r *rig) worker(j job) (out result, wall, cpu float64, err error) {
	if j.Dir, err = os.MkdirTemp(r.dir, "outbox."); err != nil {
		return out, 0, 0, err
	}
	defer os.RemoveAll(j.Dir)
	j.Broker, j.CA, j.User = r.broker.Addr, r.certs.CA, r.tokens[0]
	text, err := json.Marshal(j)
	if err != nil {
		return out, 0, 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return out, 0, 0, err
	}
	printed, wall, cpu, err := timed(exec.Command(self, "--worker", string(text)), nil)
	if err == nil {
		err = json.Unmarshal(printed, &out)
	}
	return out, wall, cpu, err
}

// timed runs cmd and returns what it prints, its seconds and those of processor.
func timed(cmd *exec.Cmd, in io.Reader) (out []byte, wall, cpu float64, err error) {
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &said
	start := time.Now()
	out, err = cmd.Output()
	wall = time.Since(start).Seconds()
	if err != nil {
		return nil, 0, 0, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, said.Bytes())
	}
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return out, wall, time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds(), nil
}

// measurePublish compares the session and its outbox with mosquitto_pub, which
// makes nothing durable, and finds what a backlog costs in memory.
func measurePublish(r *rig, w io.Writer) error {
	if err := r.broker.Quiet(); err != nil {
		return err
	}
	lines := strings.Repeat(strings.Repeat("x", payloadBytes)+"\n", publishes)
	host, port, _ := strings.Cut(r.broker.Addr, ":")
	var ours, theirs, ourCPU, theirCPU, wear sample
	for range r.often(5) {
		out, wall, cpu, err := r.worker(job{Messages: publishes, Online: true})
		if err != nil {
			return err
		}
		ours, ourCPU, wear = append(ours, publishes/wall), append(ourCPU, cpu*1e6/publishes), append(wear, out.Wear)
		_, wall, cpu, err = timed(exec.Command("mosquitto_pub", "-h", host, "-p", port, "--cafile", r.certs.CA, "-u", subUser, "-P", password,
			"-t", "bench/publish", "-q", "1", "-l"), strings.NewReader(lines))
		if err != nil {
			return err
		}
		theirs, theirCPU = append(theirs, publishes/wall), append(theirCPU, cpu*1e6/publishes)
	}
	fmt.Fprintf(w, "\n## Publishing\n\n%d messages of %d bytes at QoS 1 over TLS, whole process, from exec to the last PUBACK. The agent's session makes each\ndurable in its outbox first (%d producers, each waits for that); mosquitto_pub -l keeps them in memory.\n\n", publishes, payloadBytes, publishers)
	fmt.Fprintf(w, "| | messages/s | CPU µs a message | bytes to disk a byte |\n|---|---|---|---|\n| session with outbox | %s | %s | %s |\n| mosquitto_pub -l -q 1 | %s | %s | - |\n\n",
		ours.show(0), ourCPU.show(1), wear.show(2), theirs.show(0), theirCPU.show(1))
	fmt.Fprint(w, goal("mosquitto_pub's rate to the session's", theirs.median()/ours.median(), 1, ""),
		goal("CPU to mosquitto_pub's", ourCPU.median()/theirCPU.median(), 1.5, ""))

	fmt.Fprint(w, "\n## Memory of a backlog\n\nMessages of 256 bytes that wait in an outbox of at most 512 MiB, off line; private memory of the process.\n\n| messages | MB on disk | MB of memory |\n|---|---|---|\n")
	var memory []float64
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		out, _, _, err := r.worker(job{Messages: n})
		if err != nil {
			return err
		}
		memory = append(memory, out.Memory)
		fmt.Fprintf(w, "| %d | %.1f | %.1f |\n", n, float64(out.Bytes)/1e6, out.Memory)
	}
	fmt.Fprint(w, "\n", goal("memory of 1,000,000 above that of 10,000", memory[2]-memory[0], 2, " MB"))
	return nil
}
