package systemd

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// statusEvery is how often the status line may change. Each change is a
// message that PID 1 reads.
const statusEvery = time.Second

// maxStatus bounds the status line, in bytes.
const maxStatus = 256

// Statusf sets the line that `systemctl status` shows. A line equal to the one
// in force is not sent again, and at most one line a second is: of those in
// between, the newest is sent when the second is over.
func Statusf(format string, args ...any) { status.set(fmt.Sprintf(format, args...)) }

var status = new(statusLine)

// A statusLine is the status in force. A trouble, as the watchdog sees it,
// hides the line without replacing it.
type statusLine struct {
	mu      sync.Mutex
	line    string
	trouble string
	sent    string
	at      time.Time // when sent was sent
	due     time.Time // when the timer for the next one fires, if not zero
}

func (s *statusLine) set(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = oneLine(line)
	s.send()
}

func (s *statusLine) setTrouble(trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = oneLine(trouble)
	s.send()
}

// send sends the line in force, now or when the second is over. The caller
// holds mu.
func (s *statusLine) send() {
	line := s.line
	if s.trouble != "" {
		line = s.trouble
	}
	now := time.Now()
	if line == s.sent || os.Getenv("NOTIFY_SOCKET") == "" || now.Before(s.due) {
		return
	}
	if wait := statusEvery - now.Sub(s.at); !s.at.IsZero() && wait > 0 {
		s.due = now.Add(wait)
		time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.due = time.Time{}
			s.send()
		})
		return
	}
	notify("STATUS=" + line)
	s.sent, s.at = line, now
}

// oneLine makes s safe to be one field of a notification, whose fields end at
// a newline: an error text must not be able to say WATCHDOG=1.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, redact(s))
	return cut(s, maxStatus)
}
