package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// messages are what the cloud has of one topic.
func messages(numbers ...int) (all []cloudtest.Message) {
	for _, n := range numbers {
		all = append(all, cloudtest.Message{Topic: "mrs/d/4711/mon/a", Payload: fmt.Appendf(nil, "mon/a number %06d", n)})
	}
	return append(all, cloudtest.Message{Topic: "mrs/d/4711/mon/versions", Payload: []byte("{}")})
}

func TestMessagesAreCompared(t *testing.T) {
	refused := errors.New("refused")
	s := newSent(func(_ context.Context, _, payload string) error {
		if strings.HasSuffix(payload, "3") {
			return refused
		}
		return nil
	})
	if _, ok := s.arrived(nil, false); ok {
		t.Error("nothing was sent and all arrived")
	}
	for n := range 4 {
		if err := s.one(t.Context(), "mon/a"); (err != nil) != (n == 2) {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		got      []int
		ok, once bool
		seen     string
	}{
		{[]int{1, 2, 4}, true, true, "3 messages, all in order, 0 of them twice"},
		{[]int{1, 2, 3, 4}, true, true, "3 messages"}, // nobody knew of 3
		{[]int{1, 2, 2, 1, 4}, true, false, "2 of them twice"},
		{[]int{1, 2}, false, false, "2 of 3 messages of mon/a arrived"},
		{[]int{2, 1, 4}, false, false, "at place 1 of mon/a"},
		{[]int{1, 2, 4, 9}, false, false, "1 messages that nobody sent"},
	} {
		seen, ok := s.arrived(messages(tt.got...), false)
		_, once := s.arrived(messages(tt.got...), true)
		if ok != tt.ok || once != tt.once || !strings.Contains(seen, tt.seen) {
			t.Errorf("%v: got %v, %v, %s", tt.got, ok, once, seen)
		}
	}
}

func TestValuesAreCompared(t *testing.T) {
	for _, tt := range []struct {
		value, how, want string
		ok               bool
	}{
		{"valid", "is", "valid", true}, {"valid", "not", "valid", false}, {"invalid", "has", "valid", true},
		{"12", "over", "9", true}, {"12", "under", "9", false}, {"", "over", "0", false}, {"1.5", "under", "2", true},
	} {
		if ok := compare(tt.value, tt.how, tt.want); ok != tt.ok {
			t.Errorf("%q %s %q: got %v", tt.value, tt.how, tt.want, ok)
		}
	}
	status := map[string]any{"ota": []any{map[string]any{"module": "display", "phase": "READY"}}}
	if got := inside(inside(inside(status, "ota"), "display"), "phase"); got != "READY" {
		t.Errorf("got %v", got)
	}
	if got := inside(inside(inside(status, "ota"), "engine"), "phase"); got != nil {
		t.Errorf("got %v of a module that is not there", got)
	}
}

func TestTheBrokerComesBackUnderItsAddress(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	served := make(chan struct{})
	go func() { // ends with the listener
		defer close(served)
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	r, err := newRelay("mqtts://" + echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	hello := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatalf("got %q, %v", b, err)
		}
		return c
	}
	c := hello()
	defer c.Close()
	if err := r.down(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives the broker")
	}
	if gone, err := net.Dial("tcp", r.addr); err == nil {
		gone.Close()
		t.Error("the broker that is down answers")
	}
	if r.down() == nil {
		t.Error("it is down twice")
	}
	if err := r.up(); err != nil {
		t.Fatal(err)
	}
	if r.up() == nil {
		t.Error("it is up twice")
	}
	hello().Close()
	r.close()
	echo.Close()
	<-served
}

// TestNothingIsCutButAMachineOfItsOwn for the kill is of all that can be seen.
func TestNothingIsCutButAMachineOfItsOwn(t *testing.T) {
	if os.Getpid() == 1 {
		t.Fatal("this test must not be the first process")
	}
	if cut() == nil || settle() == nil {
		t.Error("it would have been done here")
	}
}

func TestWhatIsNoScenarioIsTold(t *testing.T) {
	if _, err := text("first-bot"); err == nil || !strings.Contains(err.Error(), "those are 1970, bad-update") {
		t.Errorf("got %v", err)
	}
	if _, err := text("no/such.scenario"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if content, err := text("first-boot"); err != nil || !strings.Contains(content, "provision") {
		t.Errorf("got %v", err)
	}
}
