package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// posts is a Server that publishes, and what it published.
func posts() (*Server, *[]Publication) {
	var all []Publication
	return &Server{Publish: func(_ context.Context, m Publication) error {
		all = append(all, m)
		return nil
	}}, &all
}

func ptr[T any](v T) *T { return &v }

func TestPublish(t *testing.T) {
	s, all := posts()
	serve(t, s, func(t *testing.T, b *bench) {
		if err := b.client(member).Publish(t.Context(), Publication{Topic: "mon/door", QoS: ptr(byte(0)), Retain: true, Payload: ptr("open")}); err != nil {
			t.Fatal(err)
		}
		status, answer := b.do(joined, "POST", publishPath, carrying(`{"topic":"mon/b","payload_base64":"AP8=","keep":"latest"}`))
		if status != http.StatusAccepted || answer != "{}\n" {
			t.Errorf("got %d %s", status, answer)
		}
		if len(*all) != 2 {
			t.Fatalf("published %+v", *all)
		}
		first, second := (*all)[0], (*all)[1]
		payload, err := second.Bytes()
		if first.Level() != 0 || !first.Retain || *first.Payload != "open" || second.Level() != 1 || second.Keep != KeepLatest || string(payload) != "\x00\xff" || err != nil {
			t.Errorf("published %+v", *all)
		}
	})
}

func TestWhatWaitsOfAPublication(t *testing.T) {
	s, all := posts()
	serve(t, s, func(t *testing.T, b *bench) {
		for keep, waits := range map[string]bool{"": true, KeepAll: true, KeepLatest: true, KeepNone: false} {
			for qos := range byte(2) {
				if err := b.client(member).Publish(t.Context(), Publication{Topic: "a", QoS: &qos, Keep: keep}); err != nil {
					t.Fatal(err)
				}
				if got := (*all)[len(*all)-1].Waits(); got != (waits && qos == 1) {
					t.Errorf("keep %q at QoS %d waits: %v", keep, qos, got)
				}
			}
		}
	})
}

func TestPublishIsForTrustedPeers(t *testing.T) {
	s, all := posts()
	serve(t, s, func(t *testing.T, b *bench) {
		if got := code(t, b.client(stranger).Publish(t.Context(), Publication{Topic: "a"})); got != Denied {
			t.Errorf("publish: %s", got)
		}
		if got := code(t, b.client(stranger).Subscribe(t.Context(), "#", nil)); got != Denied {
			t.Errorf("subscribe: %s", got)
		}
		if len(*all) != 0 {
			t.Errorf("published %+v", *all)
		}
	})
}

func TestPublishRefusesWhatItDoesNotUnderstand(t *testing.T) {
	s, all := posts()
	serve(t, s, func(t *testing.T, b *bench) {
		for body, want := range map[string]string{
			``:                         "body: EOF",
			`[]`:                       "body: json: cannot unmarshal array",
			`{"topic":"a","qos":2}`:    "qos 2: 0 or 1",
			`{"topic":"a","qos":-1}`:   "cannot unmarshal number -1",
			`{"topic":"a","keep":"x"}`: `keep \"x\"`,
			`{"topic":"a","pay":"x"}`:  `unknown field \"pay\"`,
			`{"topic":"a","payload":"x","payload_base64":"eA=="}`:                   "both there",
			`{"topic":"a","payload_base64":"?"}`:                                    "is not base64",
			`{"topic":"a"}{"topic":"b"}`:                                            "something follows",
			`{"topic":"a","payload":"` + strings.Repeat("x", maxPublication) + `"}`: "too_large",
		} {
			if status, answer := b.do(root, "POST", publishPath, carrying(body)); status < 400 || !strings.Contains(answer, want) {
				t.Errorf("%.60s: %d %s, want %q", body, status, answer, want)
			}
		}
		if len(*all) != 0 {
			t.Errorf("published %+v", *all)
		}
	})
}

func TestPublishIsLimitedForEachPeerByItself(t *testing.T) {
	s, all := posts()
	serve(t, s, func(t *testing.T, b *bench) {
		refused := 0
		for range publishBurst + 50 {
			if err := b.client(member).Publish(t.Context(), Publication{Topic: "a"}); err != nil && code(t, err) == Busy {
				refused++
			}
		}
		if refused == 0 || len(*all) < publishBurst {
			t.Errorf("%d refused, %d published: want a burst of %d", refused, len(*all), publishBurst)
		}
		if err := b.client(root).Publish(t.Context(), Publication{Topic: "a"}); err != nil {
			t.Errorf("another peer: %v", err)
		}
		if _, err := b.client(member).Token(t.Context(), DeviceAccount, 0); code(t, err) != NotFound {
			t.Errorf("its other calls: %v", err)
		}
	})
}

// A listener is a client's subscription, and what came.
type listener struct {
	mu   sync.Mutex
	got  []Message
	stop func() error
}

func (b *bench) subscribe(p peer, filter string) *listener {
	l := &listener{}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.client(p).Subscribe(ctx, filter, func(m Message) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.got = append(l.got, m)
			return nil
		})
	}()
	l.stop = sync.OnceValue(func() error { cancel(); return <-done })
	synctest.Wait()
	return l
}

func (l *listener) text() (text string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.got {
		payload, err := m.Bytes()
		text += fmt.Sprintf("%s=%q,%v,%d,%v;", m.Topic, payload, m.Retained, m.Missed, err)
	}
	return text
}

// broker is a Server whose filters are under the base b.
func broker() *Server {
	return &Server{Subscribe: func(filter string) (string, error) {
		full, err := Filter("b", filter)
		if err != nil {
			return "", Errorf(Invalid, "%v", err)
		}
		return full, nil
	}}
}

func (s *Server) bring(topic, payload string) {
	s.Deliver(topic, []byte(payload), Message{Topic: Short("b", topic), QoS: 1})
}

func TestSubscribersGetWhatTheirFilterMatches(t *testing.T) {
	s := broker()
	serve(t, s, func(t *testing.T, b *bench) {
		all, some := b.subscribe(root, "#"), b.subscribe(member, "ctrl/light")
		s.bring("b/ctrl/light", `{"a":"<1>"}`)
		s.bring("b/ctrl/door", "\x00\xff")
		s.bring("c/ctrl/light", "other")
		s.Deliver("b/ctrl/light", []byte("old"), Message{Topic: "ctrl/light", Retained: true})
		if got, want := all.text(), `ctrl/light="{\"a\":\"<1>\"}",false,0,<nil>;ctrl/door="\x00\xff",false,0,<nil>;ctrl/light="old",true,0,<nil>;`; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		if got, want := some.text(), `ctrl/light="{\"a\":\"<1>\"}",false,0,<nil>;ctrl/light="old",true,0,<nil>;`; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		if err := errors.Join(all.stop(), some.stop()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(s.exchange.subs); n != 0 {
			t.Errorf("%d subscribers after all have left", n)
		}
	})
}

func TestSlowSubscriberIsBoundedAndTold(t *testing.T) {
	s := broker()
	serve(t, s, func(t *testing.T, b *bench) {
		conn, err := b.mem.dial(root)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET " + subscribePath + "?filter=%23 HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		if _, err := conn.Read(buf); err != nil { // the head of the answer; nothing is read from then on
			t.Fatal(err)
		}
		synctest.Wait()
		for range 4 * maxWaiting {
			s.bring("b/x", strings.Repeat("x", 10<<10))
		}
		s.exchange.mu.Lock()
		sub := s.exchange.subs[0]
		waiting, bytes, missed := len(sub.waiting), sub.bytes, sub.missed
		s.exchange.mu.Unlock()
		if waiting > maxWaiting || bytes > maxWaitingBytes || missed == 0 {
			t.Errorf("%d messages of %d bytes wait, %d missed", waiting, bytes, missed)
		}
		time.Sleep(stallTimeout + time.Second)
		synctest.Wait()
		if n := len(s.exchange.subs); n != 0 {
			t.Error("a subscriber that does not read is kept")
		}
	})
}

func TestSubscriberThatCatchesUpIsToldWhatItMissed(t *testing.T) {
	e := &Server{}
	sub, err := e.exchange.join("b/#", 0)
	if err != nil {
		t.Fatal(err)
	}
	for range maxWaiting + 7 {
		e.bring("b/x", "1")
	}
	if got := e.exchange.take(sub); len(got) != maxWaiting || got[0].Missed != 0 {
		t.Errorf("%d wait", len(got))
	}
	e.bring("b/x", "2")
	e.bring("b/x", "3")
	if got := e.exchange.take(sub); len(got) != 2 || got[0].Missed != 7 || got[1].Missed != 0 {
		t.Errorf("%+v", got)
	}
	e.bring("b/x", strings.Repeat("x", 2*maxWaitingBytes)) // alone it may be of any size
	if got := e.exchange.take(sub); len(got) != 1 {
		t.Errorf("%d wait", len(got))
	}
}

func TestSubscribersAreLimited(t *testing.T) {
	s := broker()
	serve(t, s, func(t *testing.T, b *bench) {
		var all []*listener
		for range subscribersPerUID {
			all = append(all, b.subscribe(member, "#"))
		}
		if got := code(t, b.subscribe(member, "#").stop()); got != Busy {
			t.Errorf("one too many: %s", got)
		}
		all = append(all, b.subscribe(root, "#"))
		for _, l := range all {
			if err := l.stop(); err != nil {
				t.Error(err)
			}
		}
		if got := code(t, b.subscribe(root, "/c/#").stop()); got != Invalid {
			t.Errorf("outside the base: %s", got)
		}
	})
}

func TestSubscriptionEndsWithTheAgent(t *testing.T) {
	s := broker()
	serve(t, s, func(t *testing.T, b *bench) {
		l := b.subscribe(root, "#")
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		if n := len(s.exchange.subs); n != 0 {
			t.Errorf("%d subscribers after the end", n)
		}
		_ = l.stop() // a conversation that broke, or one that ended
	})
}
