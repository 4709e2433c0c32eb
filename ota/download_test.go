package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

const room1 = "/state/app/txn/00000001-7"

// fetch returns a Download of file 7 from o onto disk.
func fetch(o *origin, disk *memFS) *Download {
	return &Download{Dir: room1, ID: "7", Open: o.open, FS: disk, Rand: rand.Float64,
		Listed: func(ctx context.Context) (bool, error) { return o.source().listed(ctx, file("7", "2")) }}
}

func offer(contents []byte) *origin {
	o := newOrigin()
	o.put(file("7", "2"), contents)
	return o
}

// arrived checks that the payload is what was offered, and only that.
func arrived(t *testing.T, disk *memFS, p Payload, err error, want []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got, err := disk.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	if p.SHA256 != digest(want) || digest(got) != digest(want) || p.Size != int64(len(want)) {
		t.Fatalf("payload of %d bytes, recorded %d, digest %.8s, on disk %.8s, want %d bytes, %.8s",
			len(got), p.Size, p.SHA256, digest(got), len(want), digest(want))
	}
	if names, _ := disk.ReadDir(room1); slices.Contains(names, "part") {
		t.Fatal("the part is still there")
	}
}

func TestDownloadArrives(t *testing.T) {
	for _, size := range []int{1, 1000, bufferSize, bufferSize + 1, 5*bufferSize - 1, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			want := random(rand.New(rand.NewPCG(1, uint64(size))), size)
			o, disk := offer(want), newMemFS(room1)
			var last Progress
			d := fetch(o, disk)
			d.Progress = func(p Progress) { last = p }
			p, err := d.Run(t.Context())
			arrived(t, disk, p, err, want)
			if o.opens != 1 || o.served != int64(size) {
				t.Errorf("%d requests, %d bytes for a file of %d", o.opens, o.served, size)
			}
			if last.Bytes != int64(size) || last.Total != int64(size) {
				t.Errorf("progress ends at %+v", last)
			}
			p, err = fetch(o, disk).Run(t.Context())
			arrived(t, disk, p, err, want)
			if o.opens != 1 {
				t.Error("a complete payload is fetched again")
			}
		})
	}
}

// rows are replies of every row of the manual's table, beside the good ones.
var rows = []func(*rand.Rand) (*Response, error){
	func(*rand.Rand) (*Response, error) { return nil, errors.New("dial tcp: no route to host") },
	func(*rand.Rand) (*Response, error) {
		return &Response{Status: 502, Header: header("Content-Type", "text/html")}, nil
	},
	func(*rand.Rand) (*Response, error) {
		return &Response{Status: 200, Header: header("Content-Type", "text/html"), Body: io.NopCloser(strings.NewReader("<html>sign in"))}, nil
	},
	func(*rand.Rand) (*Response, error) {
		return &Response{Status: 429, Header: header("Retry-After", "7")}, nil
	},
	func(*rand.Rand) (*Response, error) { return &Response{Status: 503, Header: header()}, nil },
	func(*rand.Rand) (*Response, error) { return nil, refusal{401, 0} },
	func(r *rand.Rand) (*Response, error) {
		return &Response{Status: []int{403, 404, 410}[r.IntN(3)], Header: header()}, nil
	},
	func(r *rand.Rand) (*Response, error) {
		return &Response{Status: []int{408, 500, 504, 599}[r.IntN(4)], Header: header()}, nil
	},
	func(*rand.Rand) (*Response, error) {
		return &Response{Status: 200, Header: header("Content-Encoding", "gzip"), Body: io.NopCloser(strings.NewReader("\x1f\x8b"))}, nil
	},
	func(r *rand.Rand) (*Response, error) { // another start, or another total
		return &Response{Status: 206, Header: header("Content-Range", fmt.Sprintf("bytes %d-%d/%d", r.IntN(9), 9+r.IntN(9), 18+r.IntN(9))), Body: io.NopCloser(strings.NewReader("123456789"))}, nil
	},
	func(r *rand.Rand) (*Response, error) {
		return &Response{Status: 416, Header: header("Content-Range", fmt.Sprintf("bytes */%d", r.IntN(700_000)))}, nil
	},
	func(r *rand.Rand) (*Response, error) {
		return &Response{Status: []int{400, 405, 451}[r.IntN(3)], Header: header()}, nil
	},
	func(*rand.Rand) (*Response, error) {
		return &Response{Status: 200, Header: header("Content-Length", "10000000000")}, nil
	},
}

// TestDownloadTortureOfEveryReply mixes every reply there is with cuts and with
// files that are replaced meanwhile, a thousand times: the payload is one of what
// was offered, or the refusal is clean.
func TestDownloadTortureOfEveryReply(t *testing.T) {
	ends := map[string]int{}
	for round := range rounds(1000) {
		r := rand.New(rand.NewPCG(21, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			want := random(r, 1+r.IntN(200_000))
			o, disk := offer(want), newMemFS(room1)
			offered := map[string]bool{digest(want): true}
			switch round % 4 {
			case 1:
				delete(o.tag, "7")
			case 2:
				delete(o.tag, "7")
				o.modified = time.Now().Add(-time.Hour)
			case 3:
				o.chunked = true
			}
			o.cut = func() int { return r.IntN(len(want) + 64<<10) }
			often := 2 + r.IntN(8)
			o.fault = func(int, http.Header) (*Response, error) {
				if r.IntN(12) == 0 && round%4 == 0 {
					next := random(r, 1+r.IntN(200_000))
					o.swap("7", next)
					offered[digest(next)] = true
				}
				if r.IntN(often) > 0 {
					return nil, nil
				}
				return rows[r.IntN(len(rows))](r)
			}
			p, err := fetch(o, disk).Run(t.Context())
			var failure *Failure
			switch {
			case errors.As(err, &failure):
				ends["refused"]++
				if _, err := disk.ReadFile(room1 + "/payload"); err == nil {
					t.Fatal("a payload, although it was refused")
				}
			case err != nil:
				t.Fatal(err)
			default:
				ends["arrived"]++
				got, err := disk.ReadFile(p.Path)
				if err != nil || digest(got) != p.SHA256 || !offered[p.SHA256] {
					t.Fatalf("round %d: a payload of %d bytes that nobody offered, %v", round, len(got), err)
				}
			}
			if list := disk.outside(room1); len(list) != 0 {
				t.Fatalf("written outside: %v", list)
			}
		})
	}
	if ends["arrived"] < rounds(100) || ends["refused"] < rounds(50) {
		t.Errorf("one-sided: %v", ends)
	}
}

// TestDownloadTorture cuts every connection, on servers of every kind.
func TestDownloadTorture(t *testing.T) {
	for round := range rounds(120) {
		r := rand.New(rand.NewPCG(2, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			want := random(r, 1+r.IntN(700_000))
			o, disk := offer(want), newMemFS(room1)
			kind := []string{"tag", "date", "nothing", "weak tag", "elsewhere", "chunked"}[round%6]
			switch kind {
			case "date":
				delete(o.tag, "7")
				o.modified = time.Now().Add(-time.Hour)
			case "nothing":
				delete(o.tag, "7")
			case "weak tag":
				o.tag["7"] = `W/"x"`
			case "chunked":
				o.chunked = true
			}
			o.cut = func() int {
				if kind == "elsewhere" {
					o.place = fmt.Sprintf("https://mirror%d.example", r.IntN(3))
				}
				return r.IntN(len(want) + 64<<10)
			}
			o.fault = func(int, http.Header) (*Response, error) {
				switch r.IntN(12) {
				case 0:
					return nil, errors.New("dial tcp: no route to host")
				case 1:
					return &Response{Status: 502, Header: header("Content-Type", "text/html")}, nil
				case 2:
					return &Response{Status: 200, Header: header("Content-Type", "text/html"), Body: io.NopCloser(strings.NewReader("<html>sign in"))}, nil
				case 3:
					return &Response{Status: 429, Header: header("Retry-After", "7")}, nil
				case 4:
					return nil, refusal{401, 0}
				case 5:
					return &Response{Status: 200, Header: header("Content-Encoding", "gzip"), Body: io.NopCloser(strings.NewReader("\x1f\x8b"))}, nil
				}
				return nil, nil
			}
			p, err := fetch(o, disk).Run(t.Context())
			arrived(t, disk, p, err, want)
		})
	}
}

// A refusal is a reply that comes as an error.
type refusal struct {
	status int
	after  time.Duration
}

func (r refusal) Error() string             { return fmt.Sprintf("GET file: %d", r.status) }
func (r refusal) HTTPStatus() int           { return r.status }
func (r refusal) RetryAfter() time.Duration { return r.after }

// TestDownloadDetectsSwap replaces the file while it is fetched: the payload is
// the one or the other, never a mixture.
func TestDownloadDetectsSwap(t *testing.T) {
	for round := range rounds(100) {
		r := rand.New(rand.NewPCG(3, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			size := 100_000 + r.IntN(300_000)
			old := random(r, size)
			next := random(r, size)
			if round%2 == 0 {
				next = random(r, 1+r.IntN(2*size))
			}
			o, disk := offer(old), newMemFS(room1)
			o.modified = time.Now().Add(-time.Hour)
			tags := round%3 == 0 // with tags or dates the server tells, else the overlap does
			dates := round%3 == 1
			if !tags {
				delete(o.tag, "7")
			}
			if !dates {
				o.modified = time.Time{}
			}
			o.cut = func() int {
				if o.opens == 2 {
					o.swap("7", next)
					if o.modified = time.Now().Add(-time.Minute); !dates {
						o.modified = time.Time{}
					}
					if !tags {
						delete(o.tag, "7")
					}
				}
				if o.opens < 3 {
					return r.IntN(size)
				}
				return -1
			}
			p, err := fetch(o, disk).Run(t.Context())
			want := next
			if p.SHA256 == digest(old) {
				want = old
			}
			arrived(t, disk, p, err, want)
		})
	}
}

// TestDownloadSurvivesKill kills the process, or the power, at a random system
// call, many times in one download. What is fetched again after it is at most
// what one checkpoint interval brought.
func TestDownloadSurvivesKill(t *testing.T) {
	for round := range rounds(24) {
		r := rand.New(rand.NewPCG(4, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			size := 4<<20 + r.IntN(6<<20)
			want := random(r, size)
			o, disk := offer(want), newMemFS(room1)
			// 64 KiB every 100 ms: a checkpoint is due after 4 MiB, which is
			// 6.4 s, and never later than 10 s.
			o.pace = 100 * time.Millisecond
			if round%3 == 0 {
				o.pace = 500 * time.Millisecond // after 10 s
			}
			// What the reader holds was not stored yet.
			interval := int64(checkpointBytes + bufferCount*bufferSize)
			kills, got := 0, int64(0) // of the file, when the power went
			o.fault = func(_ int, h http.Header) (*Response, error) {
				var from int64
				if r := h.Get("Range"); r != "" {
					if _, err := fmt.Sscanf(r, "bytes=%d-", &from); err != nil {
						t.Error(err)
					}
				}
				if again := got - from; again > interval {
					t.Errorf("%d bytes are fetched again, want at most %d", again, interval)
				}
				return nil, nil
			}
			for {
				if disk.dieAt = 0; kills < 8 {
					disk.dieAt = 1 + r.IntN(70)
				}
				p, err := fetch(o, disk).Run(t.Context())
				if err == nil {
					disk.dieAt = 0
					arrived(t, disk, p, err, want)
					break
				}
				if !disk.dead {
					t.Fatal(err)
				}
				kills++
				got = o.position
				if round%2 == 0 {
					disk = disk.kill()
				} else {
					disk = disk.cut(r)
				}
			}
		})
	}
}

func TestDownloadStopsAtACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(5, 5)), 2<<20)
		o, disk := offer(want), newMemFS(room1)
		o.pace = 50 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 555*time.Millisecond)
		defer cancel()
		if _, err := fetch(o, disk).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		before := o.served
		p, err := fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		if h := o.headers[1]; h.Get("Range") != fmt.Sprintf("bytes=%d-", before) || h.Get("If-Range") != o.tag["7"] {
			t.Errorf("after %d bytes asked for %v", before, h)
		}
	})
}

func TestDownloadSparesTheFlash(t *testing.T) {
	var claims []time.Time
	count := func(name string) error {
		if strings.Contains(name, "ckpt") {
			claims = append(claims, time.Now())
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) { // a fast link
		want := random(rand.New(rand.NewPCG(18, 18)), 20<<20)
		o, disk := offer(want), newMemFS(room1)
		o.pace, disk.syncErr = 5*time.Millisecond, count
		p, err := fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		if len(claims) != 1 {
			t.Errorf("%d checkpoints within 2 s", len(claims))
		}
	})
	claims = nil
	synctest.Test(t, func(t *testing.T) { // a link that breaks every second
		want := random(rand.New(rand.NewPCG(19, 19)), 1<<20)
		o, disk := offer(want), newMemFS(room1)
		o.cut, disk.syncErr = func() int { return 50_000 }, count
		d := fetch(o, disk)
		d.Rand = func() float64 { return 0 }
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		for i := 1; i < len(claims)-1; i++ { // the last one completes
			if gap := claims[i].Sub(claims[i-1]); gap < minCheckpoint {
				t.Fatalf("checkpoints %v apart", gap)
			}
		}
		if len(claims) < 15 {
			t.Errorf("%d checkpoints for 21 connections: they are put off until the next", len(claims))
		}
	})
}

func TestDownloadWithoutRangesStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(6, 6)), 1<<20)
		o, disk := offer(want), newMemFS(room1)
		o.noRange = true
		o.cut = func() int { return []int{700_000, 300_000, 200_000, -1}[o.opens-1] }
		p, err := fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		var ranges []string
		for _, h := range o.headers {
			ranges = append(ranges, h.Get("Range"))
		}
		if !slices.Equal(ranges, []string{"", "bytes=700000-", "", ""}) {
			t.Errorf("asked for %q: that ranges are not served is to be remembered", ranges)
		}
	})
}

func TestDownloadGivesUp(t *testing.T) {
	content := random(rand.New(rand.NewPCG(7, 7)), 300_000)
	status := func(s int, pairs ...string) func(int, http.Header) (*Response, error) {
		return func(int, http.Header) (*Response, error) {
			return &Response{Status: s, Header: header(pairs...)}, nil
		}
	}
	tests := []struct {
		name   string
		set    func(*origin, *Download, *memFS)
		want   string // in the reason
		later  bool
		opens  int
		lapse  time.Duration // at least
		atMost time.Duration
	}{
		{"400", func(o *origin, _ *Download, _ *memFS) { o.fault = status(400) }, "refuses the file (400)", false, 1, 0, 0},
		{"no progress", func(o *origin, _ *Download, _ *memFS) { o.fault = status(500) }, "no progress in 20 tries", true, 20, 19 * time.Second, 5 * time.Hour},
		{"a web page for ever", func(o *origin, _ *Download, _ *memFS) { o.fault = status(200, "Content-Type", "text/html") }, "web page", true, 20, 0, 5 * time.Hour},
		{"gone but listed", func(o *origin, _ *Download, _ *memFS) { o.fault = status(410) }, "not to be had (410)", true, 20, 0, 5 * time.Hour},
		{"an empty file", func(o *origin, _ *Download, _ *memFS) { o.fault = status(200, "Content-Length", "0") }, "the file is empty", true, 20, 0, 5 * time.Hour},
		{"an empty file of unknown length", func(o *origin, _ *Download, _ *memFS) { o.fault = status(200) }, "the file is empty", true, 20, 0, 5 * time.Hour},
		{"waits for a week", func(o *origin, _ *Download, _ *memFS) { o.fault = status(429, "Retry-After", "3600") }, "not complete after 7 days", true, 169, 7 * 24 * time.Hour, 8 * 24 * time.Hour},
		{"too large", func(_ *origin, d *Download, _ *memFS) { d.MaxSize = 200_000 }, "(at most 195.3 KiB)", false, 1, 0, 0},
		{"too large, unknown before", func(o *origin, d *Download, _ *memFS) { o.chunked, d.MaxSize = true, 200_000 }, "more than 195.3 KiB", false, 1, 0, 0},
		{"keeps changing", func(o *origin, _ *Download, _ *memFS) {
			o.fault = status(206, "Content-Range", "bytes 5-6/7")
		}, "keeps changing", false, 4, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, disk := offer(content), newMemFS(room1)
				d := fetch(o, disk)
				test.set(o, d, disk)
				start := time.Now()
				_, err := d.Run(t.Context())
				var failure *Failure
				if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.want) || failure.Later != test.later {
					t.Fatalf("got %v (%+v), want %q", err, failure, test.want)
				}
				if o.opens != test.opens {
					t.Errorf("%d requests, want %d", o.opens, test.opens)
				}
				if took := time.Since(start); took < test.lapse || took > test.atMost {
					t.Errorf("took %v, want %v to %v", took, test.lapse, test.atMost)
				}
			})
		})
	}
}

func TestDownloadWithdrawn(t *testing.T) {
	for _, status := range []int{403, 404, 410} {
		synctest.Test(t, func(t *testing.T) {
			o, disk := offer([]byte("x")), newMemFS(room1)
			o.fault = func(int, http.Header) (*Response, error) { return nil, refusal{status, 0} }
			o.files[0].Active = false
			if _, err := fetch(o, disk).Run(t.Context()); !errors.Is(err, ErrWithdrawn) || o.opens != 1 || o.lists != 1 {
				t.Errorf("%d: got %v after %d requests and %d lists", status, err, o.opens, o.lists)
			}
		})
	}
}

func TestDownloadHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := []byte("contents")
		o, disk := offer(want), newMemFS(room1)
		o.fault = func(n int, _ http.Header) (*Response, error) {
			switch n {
			case 1:
				return nil, refusal{503, 10 * time.Minute}
			case 2:
				return &Response{Status: 429, Header: header("Retry-After", "864000")}, nil
			}
			return nil, nil
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{} // a person's impatience is not the server's
		d := fetch(o, disk)
		d.Wake = wake
		start := time.Now()
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		if took := time.Since(start); took != 10*time.Minute+6*time.Hour {
			t.Errorf("took %v", took)
		}
	})
}

func TestDownloadWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := []byte("contents")
		o, disk := offer(want), newMemFS(room1)
		o.fault = func(n int, _ http.Header) (*Response, error) {
			if n == 1 {
				return nil, errors.New("unreachable")
			}
			return nil, nil
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		d := fetch(o, disk)
		d.Wake = wake
		start := time.Now()
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v although woken", took)
		}
	})
}

func TestDownloadNoticesStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(8, 8)), 100_000)
		o, disk := offer(want), newMemFS(room1)
		o.chunk, o.pace = 10, time.Second // 600 bytes a minute
		o.cut = func() int {
			if o.opens == 2 {
				o.chunk, o.pace = 0, 0
			}
			return -1
		}
		var errs []string
		d := fetch(o, disk)
		d.Progress = func(p Progress) {
			if p.Err != nil {
				errs = append(errs, p.Err.Error())
			}
		}
		start := time.Now()
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		if took := time.Since(start); took < time.Minute || took > 70*time.Second {
			t.Errorf("took %v", took)
		}
		if len(errs) != 1 || !strings.Contains(errs[0], "stalled") {
			t.Errorf("told %q", errs)
		}
		if got := o.headers[1].Get("Range"); got != "bytes=600-" && got != "bytes=590-" {
			t.Errorf("went on with %q", got)
		}
	})
}

func TestDownloadDoesNotBlameTheServerForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(16, 16)), 2<<20)
		o, disk := offer(want), newMemFS(room1)
		disk.slow = 2 * time.Minute
		p, err := fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		if o.opens != 1 {
			t.Errorf("%d requests: a slow disk is taken for a stalled server", o.opens)
		}
	})
}

func TestDownloadDropsWhatIsBeyondTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, disk := offer(random(rand.New(rand.NewPCG(17, 17)), 1<<20)), newMemFS(room1)
		o.cut = func() int { return 500_000 }
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := fetch(o, disk).Run(ctx); ctx.Err() == nil {
				t.Fatal(err)
			}
			part := disk.names[room1+"/part"]
			if len(part.data) != 500_000 {
				t.Fatalf("%d bytes are kept", len(part.data))
			}
			part.data = append(part.data, make([]byte, 100_000)...) // as a power cut may leave
			o.fault = func(int, http.Header) (*Response, error) { return nil, errors.New("unreachable") }
		}
	})
}

func TestDownloadOfABodyThatMayBeCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(9, 9)), 200_000)
		o, disk := offer(want), newMemFS(room1)
		o.chunked = true
		d := fetch(o, disk)
		d.Open = func(ctx context.Context, id string, h http.Header) (Response, error) {
			r, err := o.open(ctx, id, h)
			if r.ToClose = true; o.opens == 1 {
				r.Body.(*body).data = want[:150_000] // looks like the end
			}
			return r, err
		}
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
	})
}

func TestDownloadKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(10, 10)), 700_000)
		o, disk := offer(want), newMemFS(room1)
		d := fetch(o, disk)
		d.Limit = newLimiter(10_000)
		start, reports := time.Now(), 0
		var rate float64
		d.Progress = func(p Progress) { reports++; rate = p.Rate }
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		took := time.Since(start)
		if took < 68*time.Second || took > 71*time.Second || o.opens != 1 {
			t.Errorf("700 kB at 10 kB/s took %v and %d requests", took, o.opens)
		}
		if most := int(took/reportEvery) + 2; reports > most || reports < 20 {
			t.Errorf("%d reports in %v", reports, took)
		}
		if rate < 9_000 || rate > 11_000 {
			t.Errorf("told a rate of %.0f", rate)
		}
	})
}

func TestDownloadLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(11, 11)), 1<<20)
		o, disk := offer(want), newMemFS(room1)
		disk.free = 16<<20 + 1000 // 16 MiB stay free
		var told error
		d := fetch(o, disk)
		d.Progress = func(p Progress) {
			if p.Err == nil {
				return
			}
			told = p.Err
			disk.mu.Lock()
			defer disk.mu.Unlock()
			if o.served > 0 {
				t.Error("bytes were fetched all the same")
			}
			if p.Attempt == 30 {
				disk.free = 0
			}
		}
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
		if !errors.Is(told, ErrNoSpace) || !strings.Contains(told.Error(), "needs 1.0 MiB, has 16.0 MiB of which 16.0 MiB must stay free") {
			t.Errorf("told %v", told)
		}
		if o.opens != 2 {
			t.Errorf("%d requests, want one to learn the size and one when there is room", o.opens)
		}
	})
}

func TestDownloadWaitsWhenTheDiskFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(12, 12)), 2<<20)
		o, disk := offer(want), newMemFS(room1)
		disk.full = 1_000_000
		d := fetch(o, disk)
		d.Progress = func(p Progress) {
			if p.Err != nil && !errors.Is(p.Err, unix.ENOSPC) {
				t.Errorf("told %v", p.Err)
			}
			if p.Attempt == 5 {
				disk.mu.Lock()
				disk.full = 0
				disk.mu.Unlock()
			}
		}
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, want)
	})
}

func TestDownloadNeverTrustsAFileAfterAFailedSync(t *testing.T) {
	for _, name := range []string{"part", "ckpt.a", "ckpt.b", ""} {
		synctest.Test(t, func(t *testing.T) {
			want := random(rand.New(rand.NewPCG(13, 13)), 2<<20)
			o, disk := offer(want), newMemFS(room1)
			o.pace = time.Second
			failed := map[string]int{}
			disk.syncErr = func(path string) error {
				if strings.HasSuffix(path, "/"+name) || name == "" && path == room1 {
					if failed[path]++; failed[path] == 1 {
						return unix.EIO
					}
				}
				return nil
			}
			p, err := fetch(o, disk).Run(t.Context())
			arrived(t, disk, p, err, want)
			if len(failed) != 1 {
				t.Errorf("failed %v", failed)
			}
			if o.opens < 2 && name != "" {
				t.Errorf("what could not be synced was kept: %d requests", o.opens)
			}

			disk = newMemFS(room1)
			disk.syncErr = func(string) error { return unix.EIO }
			if _, err := fetch(o, disk).Run(t.Context()); !errors.Is(err, ErrStorage) {
				t.Errorf("got %v, want a storage fault", err)
			}
		})
	}
}

func TestDownloadDiscardsWhatACheckpointDoesNotConfirm(t *testing.T) {
	for _, damage := range []string{"rot", "short", "checkpoint", "checkpoints"} {
		synctest.Test(t, func(t *testing.T) {
			want := random(rand.New(rand.NewPCG(14, 14)), 2<<20)
			o, disk := offer(want), newMemFS(room1)
			o.pace = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
			defer cancel()
			if _, err := fetch(o, disk).Run(ctx); ctx.Err() == nil {
				t.Fatal(err)
			}
			part := disk.names[room1+"/part"]
			before, resumes := len(part.data), true
			switch damage {
			case "rot":
				part.data[1000] ^= 1
				resumes = false
			case "short":
				part.data = part.data[:before-1]
				resumes = false
			case "checkpoints":
				disk.names[room1+"/ckpt.b"].data[3] ^= 1
				resumes = false
				fallthrough
			case "checkpoint": // the other one is older or newer: it goes on from there
				disk.names[room1+"/ckpt.a"].data[3] ^= 1
			}
			p, err := fetch(o, disk).Run(t.Context())
			arrived(t, disk, p, err, want)
			if got := o.headers[1].Get("Range") != ""; got != resumes {
				t.Errorf("%s: resumed %v, want %v", damage, got, resumes)
			}
		})
	}
}

func TestDownloadFindsThePayloadAfterTheRename(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := random(rand.New(rand.NewPCG(15, 15)), 300_000)
		o, disk := offer(want), newMemFS(room1)
		p, err := fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		disk.names[p.Path].data[7] ^= 1 // and a damaged one is not taken
		p, err = fetch(o, disk).Run(t.Context())
		arrived(t, disk, p, err, want)
		if o.opens != 2 {
			t.Errorf("%d requests, want 2", o.opens)
		}
	})
}
