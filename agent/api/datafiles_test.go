package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestPutDataFileIsOneStreamedPart(t *testing.T) {
	for _, name := range []string{"app.log", `with "quotes" and \.log`, "ünïcode.txt", "x"} {
		want := pattern(1 << 20)
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if kind != "multipart/form-data" || err != nil || r.ContentLength <= 1<<20 || len(r.TransferEncoding) != 0 {
				t.Errorf("%s: %v, length %d, %v", kind, err, r.ContentLength, r.TransferEncoding)
			}
			mr := multipart.NewReader(r.Body, params["boundary"])
			part, err := mr.NextPart()
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(part)
			if part.FormName() != "files" || part.FileName() != name || part.Header.Get("Content-Type") != "application/octet-stream" || !bytes.Equal(got, want) {
				t.Errorf("part %q of file %q, %s, %d bytes, %v", part.FormName(), part.FileName(), part.Header.Get("Content-Type"), len(got), err)
			}
			if _, err := mr.NextPart(); err != io.EOF {
				t.Errorf("second part: %v", err)
			}
			io.WriteString(w, `{"path":"x"}`)
		})
		if err := c.PutDataFile(t.Context(), "101", name, int64(len(want)), bytes.NewReader(want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPutDataFileWantsExactlyItsSize(t *testing.T) {
	cause := errors.New("disk on fire")
	for _, tc := range []struct {
		name string
		r    io.Reader
		size int64
		want string
	}{
		{"shorter", strings.NewReader("abc"), 4, "1 bytes short"},
		{"longer", strings.NewReader("abcde"), 4, "longer than announced"},
		{"unreadable", iotest.ErrReader(cause), 4, "disk on fire"},
		{"empty", strings.NewReader(""), 0, "file is empty"},
	} {
		done := 0
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err == nil {
				done++
			}
		})
		err := c.PutDataFile(t.Context(), "101", "a", tc.size, tc.r)
		if err == nil || !strings.Contains(err.Error(), tc.want) || done != 0 {
			t.Errorf("%s: got %v, %d whole bodies", tc.name, err, done)
		}
	}
}

// A slow reader's reads are counted after the call, when there must be none.
type slowReader struct {
	open bool
	t    *testing.T
}

func (r *slowReader) Read(p []byte) (int, error) {
	if !r.open {
		r.t.Error("read after the call")
	}
	return len(p), nil
}

func TestPutDataFileLetsGoOfItsReader(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, "too large", http.StatusRequestEntityTooLarge) // without reading
	})
	for range 20 {
		r := &slowReader{true, t}
		err := c.PutDataFile(t.Context(), "101", "a", 1<<40, r)
		r.open = false // a data race if anyone still reads
		if err == nil {
			t.Fatal("no error")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.PutDataFile(ctx, "101", "a", 1, strings.NewReader("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUploadThatStallsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		c, end := bubble(func(w http.ResponseWriter, r *http.Request) {
			buf := make([]byte, 32<<10)
			for range 20 { // slow, but it moves
				io.ReadFull(r.Body, buf)
				time.Sleep(time.Minute)
			}
			<-stop
		})
		start := time.Now()
		err := c.PutDataFile(t.Context(), "101", "a", 1<<20, bytes.NewReader(pattern(1<<20)))
		if !errors.Is(err, errStalled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took < 18*time.Minute || took > 20*time.Minute+2*stallAfter {
			t.Errorf("gave up after %v", took)
		}
		close(stop)
		end()
	})
}

func TestUploadOverASlowLinkMayWaitForItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := bubble(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(4 * time.Minute) // as if the kernel still had it all to send
			io.WriteString(w, `{}`)
		})
		defer end()
		// The stall rule must not fire while the last bytes are on their way.
		if err := c.PutDataFile(t.Context(), "101", "a", 64<<10, bytes.NewReader(pattern(64<<10))); err != nil {
			t.Error(err)
		}
	})
}

func TestCallsAreBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := bubble(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/file") {
				<-r.Context().Done() // never answers
				return
			}
			io.WriteString(w, `[`)
			for r.Context().Err() == nil { // answers for ever
				io.WriteString(w, ` `)
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		})
		defer end()
		c.Timeout = 30 * time.Second
		start := time.Now()
		if _, err := c.OTAFiles(t.Context(), "m", 0, 0); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != c.Timeout {
			t.Errorf("list: got %v after %v", err, time.Since(start))
		}
		start = time.Now()
		if _, err := c.OTAContent(t.Context(), "7", nil); !errors.Is(err, errNoAnswer) || time.Since(start) != c.Timeout {
			t.Errorf("contents: got %v after %v", err, time.Since(start))
		}
	})
}

func TestContentsMayTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := pattern(1000)
		c, end := bubble(func(w http.ResponseWriter, r *http.Request) {
			for i := range want {
				w.Write(want[i : i+1])
				w.(http.Flusher).Flush()
				time.Sleep(time.Minute)
			}
		})
		defer end()
		res, err := c.OTAContent(t.Context(), "7", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !bytes.Equal(got, want) || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestContentsComeAsTheyAre(t *testing.T) {
	for _, status := range []int{200, 206, 304, 401, 404, 416, 503} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if enc := r.Header.Get("Accept-Encoding"); enc != "" {
				t.Errorf("asked for encoding %q", enc)
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
		})
		res, err := c.OTAContent(t.Context(), "7", nil)
		if err != nil || res.StatusCode != status {
			t.Errorf("%d: got %v", status, err)
			continue
		}
		res.Body.Close()
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := bubble(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `[]`) })
		defer end()
		tr := c.HTTP.Transport.(*http.Transport)
		open := 0
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, n, a string) (conn net.Conn, err error) {
			open++
			return dial(ctx, n, a)
		}
		for _, pause := range []time.Duration{0, time.Second, idleFor + time.Second} {
			time.Sleep(pause)
			if _, err := c.OTAFiles(t.Context(), "m", 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		if open != 2 {
			t.Errorf("%d connections for three calls, of which the last came late; want 2", open)
		}
	})
}
