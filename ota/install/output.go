package install

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what is read of a hook's output.
const (
	logBytes    = 64 << 10 // kept
	lineBytes   = 1 << 10
	linesASec   = 20
	burstLines  = 200 // of a hook that says all at once
	maxSettings = 64
	maxNumber   = 1 << 50
)

// A report is what a hook has said so far. Its methods may be called by two
// streams at once.
type report struct {
	progress func(percent int, phase string) // may be nil
	echo     func(line string)               // each line of the log as it comes; may be nil
	now      func() time.Time

	mu         sync.Mutex
	limit      *rate.Limiter
	log        []string
	kept       int // bytes of log
	dropped    int // lines
	settings   map[string]string
	retryAfter time.Duration
	needBytes  int64
	noReturn   bool
	faults     []string // against the contract
}

func newReport(progress func(int, string), echo func(string)) *report {
	return &report{progress: progress, echo: echo, now: time.Now, limit: rate.NewLimiter(linesASec, burstLines), settings: map[string]string{}}
}

// said takes a line of the hook's output, without its end. Only the standard
// output gives orders.
func (r *report) said(line string, orders bool) {
	line = plain(strings.TrimRight(line, "\r"), lineBytes)
	if orders && strings.HasPrefix(line, "@") {
		word, rest, _ := strings.Cut(line, " ")
		percent, told, err := r.order(word, strings.TrimSpace(rest))
		if err == nil && told != "" {
			r.note(told)
		}
		if err == nil && word == "@progress" && r.progress != nil {
			r.progress(percent, strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(rest), "0123456789")))
		}
		if err == nil {
			return
		}
		r.mu.Lock()
		if len(r.faults) < 20 {
			r.faults = append(r.faults, err.Error())
		}
		r.mu.Unlock()
	}
	if strings.TrimSpace(line) != "" {
		r.note(line)
	}
}

// order does what a line that begins with @ asks for. told is what of it goes
// to the log.
func (r *report) order(word, rest string) (percent int, told string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch word {
	case "@log":
		return 0, rest, nil
	case "@progress":
		number, _, _ := strings.Cut(rest, " ")
		percent, err = strconv.Atoi(number)
		if err != nil || percent < 0 || percent > 100 {
			return 0, "", fmt.Errorf("@progress %q is no number from 0 to 100", number)
		}
		return percent, "", nil
	case "@set":
		return 0, "", r.set(rest)
	case "@retry-after":
		n, err := number(rest, int64(30*24*time.Hour/time.Second))
		r.retryAfter = time.Duration(n) * time.Second
		return 0, "", err
	case "@need-bytes":
		r.needBytes, err = number(rest, maxNumber)
		return 0, "", err
	case "@no-return":
		r.noReturn = true
		return 0, "", nil
	}
	return 0, "", fmt.Errorf("%s is no line of the contract", word)
}

func (r *report) set(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	key = strings.TrimSpace(key)
	switch {
	case !ok || key == "":
		return fmt.Errorf("@set %q is no key=value", plain(pair, 80))
	case len(key) > 64 || len(value) > 256:
		return fmt.Errorf("@set %s is too long", plain(key, 64))
	case len(r.settings) >= maxSettings && r.settings[key] == "":
		return fmt.Errorf("@set %s is one too many: at most %d", key, maxSettings)
	}
	r.settings[key] = strings.TrimSpace(value)
	return nil
}

func number(s string, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q is no whole number from 0 to %d", s, most)
	}
	return n, nil
}

// note keeps a line of the log, within its bounds: the newest lines count.
func (r *report) note(line string) {
	r.mu.Lock()
	if !r.limit.AllowN(r.now(), 1) {
		r.dropped++
		r.mu.Unlock()
		return
	}
	r.log = append(r.log, line)
	for r.kept += len(line) + 1; r.kept > logBytes; {
		r.kept -= len(r.log[0]) + 1
		r.log = r.log[1:]
		r.dropped++
	}
	r.mu.Unlock()
	if r.echo != nil {
		r.echo(line)
	}
}

// pointOfNoReturn reports whether the hook must not be asked to stop any more.
func (r *report) pointOfNoReturn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.noReturn
}

// outcome is all that was said.
func (r *report) outcome() Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := Outcome{Settings: maps.Clone(r.settings), RetryAfter: r.retryAfter, NeedBytes: r.needBytes,
		Log: slices.Clone(r.log), Dropped: r.dropped, Faults: slices.Clone(r.faults)}
	if len(o.Log) > 0 {
		o.Text = o.Log[len(o.Log)-1]
	}
	return o
}

// A stream cuts one of the hook's outputs into lines.
type stream struct {
	report *report
	orders bool
	line   []byte
}

// Write takes a piece of the output. It never fails: the hook must not die of
// what it says.
func (s *stream) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		piece, tail, ended := bytes.Cut(rest, []byte("\n"))
		if room := lineBytes - len(s.line); len(piece) > room {
			piece = piece[:room]
		}
		s.line = append(s.line, piece...)
		if !ended {
			break
		}
		s.flush()
		rest = tail
	}
	return len(b), nil
}

// flush takes a last line that has no end, too.
func (s *stream) flush() {
	if len(s.line) > 0 {
		s.report.said(string(s.line), s.orders)
	}
	s.line = s.line[:0]
}
