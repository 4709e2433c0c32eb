package ota

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// noted returns file id of a version with the ota1 line for contents in its
// notes, after change.
func noted(id, version string, contents []byte, change func(*release.Statement)) File {
	s := release.Statement{SHA256: digest(contents), Size: int64(len(contents)), Module: "app", Version: version}
	if change != nil {
		change(&s)
	}
	f := file(id, version)
	f.Notes = "What is new: much.\n\n" + s.String() + "\n"
	return f
}

func TestDownloadKeepsThePromise(t *testing.T) {
	content := random(rand.New(rand.NewPCG(5, 5)), 300_000)
	good := promise{300_000, digest(content)}
	other := promise{300_000, digest(content[1:])}
	tests := []struct {
		name   string
		due    promise
		set    func(*origin, *Download)
		want   string // in the error; "" for none
		opens  int
		served int64 // at most
	}{
		{"as promised", good, nil, "", 1, 300_000},
		{"as promised, of unknown length", good, func(o *origin, _ *Download) { o.chunked = true }, "", 1, 300_000},
		{"nothing promised", promise{}, nil, "", 1, 300_000},
		{"another digest", other, nil, "its SHA-256 is " + good.SHA256 + ", not " + other.SHA256, 1, 300_000},
		{"larger", promise{299_999, good.SHA256}, nil, "it has 300000 bytes, not 299999", 1, 64 << 10},
		{"smaller", promise{300_001, good.SHA256}, nil, "it has 300000 bytes, not 300001", 1, 64 << 10},
		{"10 GB", good, func(o *origin, d *Download) {
			d.MaxSize = 1 << 40
			o.fault = func(int, http.Header) (*Response, error) {
				return &Response{Status: 200, Header: header("Content-Length", "10000000000")}, nil
			}
		}, "it has 10000000000 bytes, not 300000", 1, 0},
		{"larger, of unknown length", promise{200_000, good.SHA256}, func(o *origin, _ *Download) { o.chunked = true }, "it has more than 200000 bytes", 1, 300_000},
		{"smaller, of unknown length", promise{300_001, good.SHA256}, func(o *origin, _ *Download) { o.chunked = true }, "it has 300000 bytes, not 300001", 1, 300_000},
		{"more than is taken", good, func(_ *origin, d *Download) { d.MaxSize = 200_000 }, "the ota1 line promises 293.0 KiB (at most 195.3 KiB)", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, disk := offer(content), newMemFS(room1)
				d := fetch(o, disk)
				d.Due = test.due
				if test.set != nil {
					test.set(o, d)
				}
				p, err := d.Run(t.Context())
				var failure *Failure
				switch {
				case test.want == "":
					arrived(t, disk, p, err, content)
				case !errors.As(err, &failure) || !failure.Forever || !strings.Contains(err.Error(), test.want):
					t.Fatalf("got %v (%+v), want %q", err, failure, test.want)
				}
				if o.opens != test.opens || o.served > test.served {
					t.Errorf("%d requests for %d bytes, want %d for at most %d", o.opens, o.served, test.opens, test.served)
				}
			})
		})
	}
}

// TestDownloadOfTheRightSizeWaitsForRoom also needs nobody to tell the size.
func TestDownloadOfTheRightSizeWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := random(rand.New(rand.NewPCG(6, 6)), 300_000)
		o, disk := offer(content), newMemFS(room1)
		disk.free = minReserve + 299_999
		d := fetch(o, disk)
		d.Due = promise{300_000, digest(content)}
		d.Progress = func(p Progress) {
			if p.Err == nil {
				return
			}
			if !errors.Is(p.Err, ErrNoSpace) || o.opens != 0 {
				t.Errorf("%v after %d requests", p.Err, o.opens)
			}
			disk.free++
		}
		p, err := d.Run(t.Context())
		arrived(t, disk, p, err, content)
	})
}

func TestManagerReadsTheNotesFirst(t *testing.T) {
	payload := contents(7)
	line := func(f File) string { return strings.SplitAfter(f.Notes, "\n")[2] }
	good := noted("7", "1.2", payload, nil)
	with := func(notes string) File { f := good; f.Notes = notes; return f }
	tests := []struct {
		name string
		f    File
		want string // why it is passed over; "" if it is fetched
	}{
		{"no line", with("nothing but words"), ""},
		{"its line", good, ""},
		{"its line beside another module's", with(good.Notes + line(noted("7", "1.2", payload, func(s *release.Statement) { s.Module = "os" }))), ""},
		{"malformed", with(strings.Replace(good.Notes, "size=1", "size=-1", 1)), "malformed ota1 line: size"},
		{"cut short", with(good.Notes[:60]), "malformed ota1 line"},
		{"twice", with(good.Notes + line(good)), "the notes hold two of them for app 1.2"},
		{"another module's", noted("7", "1.2", payload, func(s *release.Statement) { s.Module = "os" }), "it is for module os, not app"},
		{"an old release offered again", noted("7", "1.2", payload, func(s *release.Statement) { s.Version = "0.9" }), "it is for version 0.9, not 1.2"},
		{"a version with ../", with(strings.Replace(good.Notes, "version=1.2", "version=../../1.2", 1)), `holds a slash`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Fetch)
				g.cloud.put(test.f, payload)
				g.start()
				defer g.end()
				if test.want == "" {
					g.ready("7")
					return
				}
				s := g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() })
				if !strings.HasPrefix(s.Denied, "1.2 is passed over: ") || !strings.Contains(s.Denied, test.want) || s.Reason != s.Denied {
					t.Errorf("got %q, and the reason %q", s.Denied, s.Reason)
				}
				if err := g.m.Fetch(t.Context(), "app"); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("asked by hand: %v", err)
				}
				if g.cloud.opens != 0 || len(g.txns()) != 0 {
					t.Errorf("%d requests, %d transactions", g.cloud.opens, len(g.txns()))
				}
				g.cloud.put(noted("8", "1.1", contents(8), nil), contents(8)) // which is well
				if _, err := g.m.Check(t.Context(), "app"); err != nil {
					t.Fatal(err)
				}
				g.ready("8")
			})
		})
	}
}

func TestManagerAsksWhoeverInstalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Install)
		no := errors.New("not signed")
		g.module.Vet = func(f File) error {
			if f.ID == "7" {
				return no
			}
			return nil
		}
		g.cloud.put(file("7", "1.2"), contents(7))
		g.start()
		defer g.end()
		s := g.until("checked", func(s ModuleStatus) bool { return !s.LastCheck.IsZero() })
		if s.Reason != "1.2 is passed over: not signed" || g.cloud.opens != 0 {
			t.Errorf("%q after %d requests", s.Reason, g.cloud.opens)
		}
		g.cloud.put(file("8", "1.3"), contents(8))
		if _, err := g.m.Check(t.Context(), "app"); err != nil {
			t.Fatal(err)
		}
		g.ready("8")
	})
}

func TestManagerDeniesForGoodWhatIsNotAsPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(noted("7", "1.2", contents(7), nil), contents(8)[:len(contents(7))]) // as large
		g.start()
		defer func() { g.end() }()
		s := g.until("ended", func(s ModuleStatus) bool { return s.Outcome != "" })
		if !strings.HasPrefix(s.Outcome, "1.2 FAILED: not the payload of the ota1 line: its SHA-256 is ") {
			t.Errorf("outcome %q", s.Outcome)
		}
		g.cloud.put(file("9", "0.1"), contents(9)) // another listing
		opens := g.cloud.opens
		for range 3 {
			g.restart()
			if s, err := g.m.Check(t.Context(), "app"); err != nil || !strings.Contains(s.Denied, "not the payload") || g.cloud.opens != opens {
				t.Errorf("%q, %v after %d requests", s.Denied, err, g.cloud.opens-opens)
			}
		}
	})
}

// TestAPromiseOutlivesARestart stops a download half-way.
func TestAPromiseOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Fetch)
		g.cloud.put(noted("7", "1.2", contents(7), nil), contents(7))
		g.cloud.fault = func(int, http.Header) (*Response, error) { return &Response{Status: 503}, nil }
		g.start()
		defer func() { g.end() }()
		g.until("waiting", func(s ModuleStatus) bool { return !s.NextTry.IsZero() })
		txn := g.txns()[0]
		in, err := (&room{fs: g.disk, dir: g.dir + "/app"}).readIntent(txn)
		if want := (promise{int64(len(contents(7))), digest(contents(7))}); err != nil || in.Due != want {
			t.Errorf("intent %+v, %v, want %+v", in.Due, err, want)
		}
		g.end()
		g.cloud.set(func() { g.cloud.fault = nil; g.cloud.swap("7", contents(8)) })
		g.start()
		s := g.until("ended", func(s ModuleStatus) bool { return s.Outcome != "" })
		if !strings.Contains(s.Outcome, "FAILED: not the payload") || !slices.Equal(g.txns(), nil) {
			t.Errorf("outcome %q, transactions %q", s.Outcome, g.txns())
		}
	})
}

// TestFlippedNotes flips every bit of the notes: never do they promise another
// payload that would then be kept.
func TestFlippedNotes(t *testing.T) {
	payload := contents(7)
	f := noted("7", "1.2", payload, nil)
	got := Payload{Size: int64(len(payload)), SHA256: digest(payload)}
	refused, silent := 0, 0
	for bit := range 8 * len(f.Notes) {
		b := []byte(f.Notes)
		b[bit/8] ^= 1 << (bit % 8)
		g := f
		g.Notes = string(b)
		p, err := g.promised()
		switch {
		case err != nil || g.Check() != nil:
			refused++
		case p == promise{}:
			silent++ // it begins with ota1 no more
		case p.kept(Payload{Size: got.Size + 1, SHA256: got.SHA256}) == nil || p.kept(Payload{Size: got.Size, SHA256: digest(nil)}) == nil:
			t.Errorf("bit %d: %q keeps anything", bit, b)
		}
	}
	if refused < 100 || silent > 8*(len("ota1 ")+2) {
		t.Errorf("%d refused, %d silent", refused, silent)
	}
}
