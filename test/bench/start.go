package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// measureStart times each program from exec to the moment the broker sends its
// SUBACK, which is told by the broker for both alike.
func measureStart(r *rig, w io.Writer) error {
	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	var ours, theirs sample
	rounds := r.often(25)
	for range rounds {
		took, err := r.untilSuback(exec.Command(gateway.Path, gateway.Args[1:]...), "spoke-zone-agent-4711")
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = r.untilSuback(r.subscriber("bench-start"), "bench-start"); err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	fmt.Fprintf(w, "\n## From exec to SUBACK\n\nOver TLS, seen by the broker; %d starts each, in turn. The agent restarts on the state that it has.\n\n", rounds)
	fmt.Fprintf(w, "| | ms | beside mosquitto_sub |\n|---|---|---|\n| spoke-zone-agent run | %s | %.2f |\n| mosquitto_sub | %s | 1 |\n\n",
		ours.show(1), ours.median()/theirs.median(), theirs.show(1))
	fmt.Fprint(w, goal("start to mosquitto_sub's", ours.median()/theirs.median(), 3, ""))
	return nil
}

// untilSuback runs cmd, returns the milliseconds until the broker sends client
// its SUBACK, and ends it.
func (r *rig) untilSuback(cmd *exec.Cmd, client string) (float64, error) {
	log, err := os.Open(r.broker.Log)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	want, seen, block := []byte("Sending SUBACK to "+client), []byte(nil), make([]byte, 4096)
	for time.Since(start) < 10*time.Second {
		n, err := log.Read(block)
		took := time.Since(start)
		if seen = append(seen, block[:n]...); bytes.Contains(seen, want) {
			return float64(took) / 1e6, nil
		}
		if err == io.EOF {
			<-time.After(100 * time.Microsecond)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	return 0, fmt.Errorf("%s: no SUBACK within 10 s: %s", cmd, out.Bytes())
}
