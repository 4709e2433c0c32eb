package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A sink is a cloud that takes data files, forgets them, and times them.
type sink struct {
	mu    sync.Mutex
	next  int
	files int
	bytes int64
	took  []time.Duration // of each, from its headers to its answer
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/file") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.next++
		fmt.Fprintf(w, `{"id":%d}`, s.next)
		return
	}
	start := time.Now()
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprint(w, `{}`)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files++
	s.bytes += n
	s.took = append(s.took, time.Since(start))
}

// newest returns how many files have come, and how long the newest took.
func (s *sink) newest() (files int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		return 0, 0
	}
	return s.files, s.took[len(s.took)-1]
}

// measureUpload sends a large file through the drop box and by curl -F, in
// turn, and then a spool of many, and watches the agent's memory.
func measureUpload(r *rig, w io.Writer) error {
	big, many := int64(1<<30), 2048
	if r.quick {
		big, many = 64<<20, 32
	}
	s := &sink{}
	cert, err := tls.LoadX509KeyPair(r.certs.Server, r.certs.Key)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", emptyCloud())
	mux.Handle("/api/v2/data-files", s)
	mux.Handle("/api/v2/data-files/", s)
	server := &http.Server{Handler: mux}
	r.served.Go(func() error {
		return server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}))
	})
	defer server.Close()

	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	conf := gateway.Args[len(gateway.Args)-1]
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	settings := strings.Replace(string(text), r.web.Addr, l.Addr().String(), 1) + "[upload]\nmax_spool = 8GiB\n"
	if err := os.WriteFile(conf, []byte(settings), 0o644); err != nil {
		return err
	}
	if err := gateway.Start(); err != nil {
		return err
	}
	p := &idler{name: "agent", cmd: gateway}
	defer p.end()
	u := &uploader{rig: r, sink: s, watched: p, box: filepath.Join(filepath.Dir(conf), "spool", "log"), url: "https://" + l.Addr().String()}
	if err := u.warm(); err != nil {
		return err
	}
	var ours, theirs, oursCPU, theirsCPU, grew sample
	for range 5 { // a single one says nothing beside curl
		took, cpu, growth, err := u.drop("big", big, 1)
		if err != nil {
			return err
		}
		ours, oursCPU, grew = append(ours, float64(big)/1e6/took), append(oursCPU, cpu), append(grew, growth)
		if took, cpu, err = u.curl(big); err != nil {
			return err
		}
		theirs, theirsCPU = append(theirs, float64(big)/1e6/took), append(theirsCPU, cpu)
	}
	_, _, spool, err := u.drop("many", mib, many)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n## Sending a file of %d MiB\n\nThrough the drop box and by `curl -F`, in turn, to one server over TLS that forgets it, %d times each, out of the page cache;\ntimed by the server, from the headers of the request to its answer. The memory is what is the process's own, above that of the agent at rest.\n\n", big/mib, len(ours))
	fmt.Fprintf(w, "| | MB/s | CPU s | MB of memory above rest |\n|---|---|---|---|\n| agent | %s | %s | %s |\n| `curl -F` | %s | %s | |\n| agent, a spool of %d files of 1 MiB | | | %.1f |\n\n",
		ours.show(0), oursCPU.show(2), grew.show(1), theirs.show(0), theirsCPU.show(2), many, spool)
	fmt.Fprint(w, goal("`curl -F`'s throughput to the agent's", theirs.median()/ours.median(), 1/0.9, ""),
		goal(fmt.Sprintf("memory for %d MiB", big/mib), grew.median(), 8, " MB"),
		goal(fmt.Sprintf("memory for a spool of %d MiB", many), spool, 8, " MB"))
	return nil
}
