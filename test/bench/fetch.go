package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// measureFetch times a file over TLS to the disk, fsync included.
func measureFetch(r *rig, w io.Writer) error {
	big, small := 256*mib, 16*mib
	digests := map[int]string{}
	for _, size := range []int{big, small} {
		var err error
		if digests[size], err = r.publish(size); err != nil {
			return err
		}
	}
	programs := []*program{
		{name: "agent's download: SHA-256, checkpoints, fsync", run: r.fetchOurs},
		{name: "`curl -o`, fsync", run: r.fetchCurl},
		{name: "`curl`, tee, `openssl dgst -sha256`, fsync", run: r.fetchPipeline},
	}
	hash := &program{name: "`openssl dgst -sha256` of the file on disk", run: r.digestFile}
	rounds := r.often(9)
	for i := range rounds {
		for j := range programs { // another one begins each round
			if err := programs[(i+j)%len(programs)].measure(big, digests[big]); err != nil {
				return err
			}
		}
		if err := hash.measure(big, digests[big]); err != nil {
			return err
		}
	}
	little := &program{run: r.fetchOurs}
	for range rounds {
		if err := little.measure(small, digests[small]); err != nil {
			return err
		}
	}
	ours, curl, pipeline := programs[0], programs[1], programs[2]

	fmt.Fprintf(w, "\n## Fetching %d MiB\n\nFrom nginx to the disk; whole processes, %d runs each. `curl -o` verifies nothing.\n\n", big/mib, rounds)
	fmt.Fprint(w, "| | wall s | beside ours | CPU s | most memory MB |\n|---|---|---|---|---|\n")
	for _, p := range append(programs, hash) {
		memory := ""
		if p == ours {
			memory = p.rss.show(1)
		}
		fmt.Fprintf(w, "| %s | %s | %.2f | %s | %s |\n", p.name, p.wall.show(2), p.wall.median()/ours.wall.median(), p.cpu.show(2), memory)
	}
	fmt.Fprintf(w, "| ours, %d MiB | %s | | %s | %s |\n\n", small/mib, little.wall.show(2), little.cpu.show(2), little.rss.show(1))
	fmt.Fprint(w,
		goal("wall time to `curl -o` and fsync", ours.wall.median()/curl.wall.median(), 1.05, ""),
		goal("wall time to curl, tee and openssl", ours.wall.median()/pipeline.wall.median(), 0.55, ""),
		goal("CPU to curl, tee and openssl", ours.cpu.median()/pipeline.cpu.median(), 1, ""),
		goal("CPU to `curl -o` and openssl over the file", ours.cpu.median()/(curl.cpu.median()+hash.cpu.median()), 1, ""),
		goal(fmt.Sprintf("memory for %d MiB above that for %d MiB", big/mib, small/mib), ours.rss.median()-little.rss.median(), 8, " MB"))
	return nil
}

// publish puts size random bytes where nginx serves release 1 of the API
// that is named after the size.
func (r *rig) publish(size int) (digest string, err error) {
	dir := filepath.Join(r.www, fmt.Sprint(size), "api/v2/ota-files/1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.Reader, int64(size)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), f.Sync()
}

func (r *rig) base(size int) string { return fmt.Sprintf("https://%s/files/%d", r.web.Addr, size) }

func (r *rig) file(size int) string { return r.base(size) + "/api/v2/ota-files/1/file" }

// A program is one way to do the work, and what it took.
type program struct {
	name           string
	run            func(size int) (cmd *exec.Cmd, after func() error, err error)
	wall, cpu, rss sample // s, s, MB; rss of a program that tells it alone
}

// measure runs it once. What it prints must hold digest, unless it prints
// nothing.
func (p *program) measure(size int, digest string) error {
	cmd, after, err := p.run(size)
	if err != nil {
		return err
	}
	syscall.Sync() // what others have left to write is not this one's
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out.Bytes())
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if after != nil {
		before := ownCPU()
		if err := after(); err != nil {
			return err
		}
		cpu += ownCPU() - before
	}
	wall := time.Since(start)
	if out.Len() > 0 && !bytes.Contains(out.Bytes(), []byte(digest)) {
		return fmt.Errorf("%s: printed %q, want the digest %s", cmd, out.Bytes(), digest)
	}
	p.wall = append(p.wall, wall.Seconds())
	p.cpu = append(p.cpu, cpu.Seconds())
	// The kernel's own figure for a child begins with the size of this process.
	if _, hwm, ok := bytes.Cut(out.Bytes(), []byte("VmHWM:")); ok {
		var kib float64
		if _, err := fmt.Sscan(string(hwm), &kib); err != nil {
			return err
		}
		p.rss = append(p.rss, kib*1024/1e6)
	}
	return nil
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *rig) fetchOurs(size int) (*exec.Cmd, func() error, error) {
	dir := filepath.Join(r.dir, "download")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		return nil, nil, err
	}
	return exec.Command(r.fetch, r.base(size), r.certs.CA, dir), nil, nil
}

func (r *rig) out() string { return filepath.Join(r.dir, "out") }

func (r *rig) fetchCurl(size int) (*exec.Cmd, func() error, error) {
	os.Remove(r.out())
	return exec.Command("curl", "-sS", "--cacert", r.certs.CA, "-o", r.out(), r.file(size)), func() error {
		f, err := os.OpenFile(r.out(), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	}, nil
}

func (r *rig) fetchPipeline(size int) (*exec.Cmd, func() error, error) {
	os.Remove(r.out())
	return exec.Command("bash", "-c", `curl -sS --cacert "$1" "$2" | tee "$3" | openssl dgst -sha256 && sync "$3"`,
		"bash", r.certs.CA, r.file(size), r.out()), nil, nil
}

func (r *rig) digestFile(size int) (*exec.Cmd, func() error, error) {
	return exec.Command("openssl", "dgst", "-sha256", filepath.Join(r.www, fmt.Sprint(size), "api/v2/ota-files/1/file")), nil, nil
}
