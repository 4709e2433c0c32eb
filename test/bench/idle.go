package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// measureIdle watches both programs at once, connected and with nothing to do.
func measureIdle(r *rig, w io.Writer) error {
	settle, window := time.Minute, time.Minute
	if r.quick {
		settle, window = 5*time.Second, 5*time.Second
	}
	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	programs := []*idler{{name: "spoke-zone-agent run", cmd: gateway}, {name: "mosquitto_sub", cmd: r.subscriber("bench-idle")}}
	if err := startSlack(gateway); err != nil {
		return err
	}
	defer programs[0].end()
	if err := programs[1].cmd.Start(); err != nil {
		return err
	}
	defer programs[1].end()
	if err := r.wakeOutbox(gateway); err != nil {
		return err
	}
	<-time.After(settle)
	rounds := r.often(5)
	for range rounds {
		before := make([]usage, len(programs))
		for i, p := range programs {
			if before[i], err = p.usage(); err != nil {
				return err
			}
		}
		start := time.Now()
		<-time.After(window)
		minutes := time.Since(start).Minutes()
		for i, p := range programs {
			after, err := p.usage()
			if err != nil {
				return err
			}
			p.add(before[i], after, minutes)
		}
	}
	fmt.Fprintf(w, "\n## Idle, connected over TLS\n\nAfter %s, in %d windows of %s, both at once, keep alive %s s. The agent also serves its local API, has used its\noutbox, looks for a source of locations, watches its\n", settle, rounds, window, keepAlive)
	fmt.Fprint(w, "files and publishes the software versions once a minute; mosquitto_sub's memory is counted without what it shares\nwith the broker and nginx. A minute after its start the agent has the kernel unmap the pages of its own file that waiting\ndoes not need; they stay in the page cache for as long as the kernel has no other use for the room. Its timer\nslack is that of its unit, "+unitSlack.String()+".\n\n")
	fmt.Fprint(w, "| | PSS MB | of files MB | private dirty MB | threads | CPU ms/min | context switches/min |\n|---|---|---|---|---|---|---|\n")
	for _, p := range programs {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %s | %s |\n", p.name, p.pss.show(1), p.file.show(1), p.dirty.show(1), p.threads.median(), p.cpu.show(2), p.switches.show(0))
	}
	ours, theirs := programs[0], programs[1]
	fmt.Fprint(w, "\n", goal("PSS", ours.pss.median(), 11, " MB"),
		goal("CPU to mosquitto_sub's", ours.cpu.median()/theirs.cpu.median(), 1, ""),
		goal("context switches to mosquitto_sub's", ours.switches.median()/theirs.switches.median(), 1, ""))
	return nil
}

// unitSlack is TimerSlackNSec= of systemd/spoke-zone-agent.service.
const unitSlack = 4 * time.Millisecond

// startSlack starts cmd with the timer slack that its unit gives it: a child
// has that of the thread which makes it.
func startSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(unitSlack), 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack: %w", err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // as it was
	return cmd.Start()
}

// wakeOutbox has a local program publish through the agent, so that its outbox
// is open and has been used.
func (r *rig) wakeOutbox(gateway *exec.Cmd) error {
	var said []byte
	var err error
	for range 10 {
		args := []string{"publish", "--config", gateway.Args[len(gateway.Args)-1], "mon/door", "open"}
		if said, err = exec.Command(r.agent, args...).CombinedOutput(); err == nil {
			return nil
		}
		<-time.After(time.Second)
	}
	return fmt.Errorf("publish: %w: %s", err, said)
}

// An idler is a running program and what it used.
type idler struct {
	name                                     string
	cmd                                      *exec.Cmd
	pss, file, dirty, threads, cpu, switches sample
}

func (p *idler) end() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait()
}

// A usage is what the kernel counts for a process, all its threads together.
type usage struct {
	pss, file, dirty float64 // MB
	threads          int
	cpu              float64 // ms
	switches         float64
}

func (p *idler) usage() (u usage, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	tasks, err := filepath.Glob(filepath.Join(proc, "task/*"))
	if err != nil || len(tasks) == 0 {
		return u, fmt.Errorf("%s runs no more", p.name)
	}
	for _, task := range tasks {
		fields := fieldsOf(filepath.Join(task, "status"))
		u.switches += fields["voluntary_ctxt_switches"] + fields["nonvoluntary_ctxt_switches"]
		stat, _ := os.ReadFile(filepath.Join(task, "schedstat"))
		if first, _, ok := bytes.Cut(stat, []byte(" ")); ok {
			ns, _ := strconv.ParseFloat(string(first), 64)
			u.cpu += ns / 1e6
		}
	}
	u.threads = len(tasks)
	memory := fieldsOf(filepath.Join(proc, "smaps_rollup"))
	u.pss, u.file, u.dirty = memory["Pss"]*1024/1e6, memory["Pss_File"]*1024/1e6, memory["Private_Dirty"]*1024/1e6
	return u, nil
}

// fieldsOf reads a file of "name: number" lines.
func fieldsOf(name string) map[string]float64 {
	fields := map[string]float64{}
	text, _ := os.ReadFile(name)
	for line := range strings.Lines(string(text)) {
		key, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			fields[key], _ = strconv.ParseFloat(words[0], 64)
		}
	}
	return fields
}

// add notes what was used in between.
func (p *idler) add(before, after usage, minutes float64) {
	p.pss = append(p.pss, after.pss)
	p.file = append(p.file, after.file)
	p.dirty = append(p.dirty, after.dirty)
	p.threads = append(p.threads, float64(after.threads))
	p.cpu = append(p.cpu, (after.cpu-before.cpu)/minutes)
	p.switches = append(p.switches, (after.switches-before.switches)/minutes)
}
