package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

const (
	drawnAtMost = 250 * time.Millisecond // between two drawings of a live screen
	drawnLeast  = time.Second            // so that the times on it move
	markedFor   = 5 * time.Second        // a line after it has changed

	changed   = "* " // before such a line
	unchanged = "  "

	leastColumns = 30
)

// A live screen follows the status on a terminal.
type live struct {
	out   io.Writer
	size  func() (columns, rows int)
	now   func() time.Time
	paint bool

	status local.Status
	seen   bool
	marks  map[string]time.Time // lines as of when they changed
	drawn  string
}

// follow draws the statuses as they come, until there are no more.
func (l *live) follow(ctx context.Context, statuses <-chan local.Status, resized <-chan os.Signal) error {
	tick := time.NewTicker(drawnLeast)
	defer tick.Stop()
	var last time.Time
	var later <-chan time.Time // when what came too early is drawn
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-statuses:
			l.take(s)
		case <-resized:
			l.drawn = ""
		case <-tick.C:
		case <-later:
			later = nil
		}
		if !l.seen || later != nil {
			continue
		}
		if wait := drawnAtMost - time.Since(last); wait > 0 {
			later = time.After(wait)
			continue
		}
		last = time.Now()
		if err := l.draw(); err != nil {
			return err
		}
	}
}

// take notes which lines a new status changes. Both are shown as of now, so
// that the passing of time is no change.
func (l *live) take(s local.Status) {
	now := l.now()
	if l.seen {
		columns, _ := l.size()
		before := map[string]bool{}
		for line := range strings.Lines(screenIn(l.status, now, l.width(columns))) {
			before[line] = true
		}
		after, at := screenIn(s, now, l.width(columns)), 0
		for line := range strings.Lines(after) {
			if !before[line] {
				l.marks[rowKey(after, at)] = now
			}
			at++
		}
	} else {
		l.marks = map[string]time.Time{}
	}
	l.status, l.seen = s, true
}

// rowKey names line n of a screen by its labels, which stay while its text
// changes with the time.
func rowKey(text string, n int) string {
	part, label, more := "", "", 0
	for i, line := range strings.Split(text, "\n") {
		name := strings.TrimRight(cutRunes(line, indent), " ")
		switch {
		case name == "":
			more++
		case !strings.HasPrefix(name, " "):
			part, label, more = name, "", 0
		default:
			label, more = name, 0
		}
		if i == n {
			if i == 0 {
				return "head"
			}
			return fmt.Sprintf("%s/%s/%d", part, label, more)
		}
	}
	return ""
}

// width is how wide a screen beside the marks is.
func (l *live) width(columns int) int {
	return max(leastColumns, min(columns, defaultColumns)) - len(changed)
}

// draw writes the screen over the one before, if it differs. A screen that is
// higher than the terminal ends with how much there is more.
func (l *live) draw() error {
	now := l.now()
	columns, rows := l.size()
	text := screenIn(l.status, now, l.width(columns))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for key, at := range l.marks {
		if now.Sub(at) >= markedFor || now.Before(at) {
			delete(l.marks, key)
		}
	}
	for i := range lines {
		mark := unchanged
		if _, is := l.marks[rowKey(text, i)]; is {
			mark = changed
		}
		lines[i] = mark + lines[i]
	}
	if rows > 2 && len(lines) >= rows {
		more := len(lines) - rows + 2
		lines = append(lines[:rows-2], fmt.Sprintf("%s%s more: a higher terminal, or %s status", unchanged, countOf(more, "line"), Name))
	}
	for i := range lines {
		lines[i] = cutText(lines[i], max(leastColumns, columns))
		if l.paint {
			mark := lines[i][:len(changed)]
			if mark == changed {
				mark = bold + mark + plain
			}
			lines[i] = mark + paintLine(lines[i][len(changed):])
		}
	}
	frame := strings.Join(lines, "\n") + "\n"
	if frame == l.drawn {
		return nil
	}
	home := "\x1b[H"
	if l.drawn == "" {
		home += "\x1b[2J"
	}
	l.drawn = frame
	_, err := io.WriteString(l.out, home+strings.ReplaceAll(frame, "\n", "\x1b[K\n")+"\x1b[J")
	return err
}

func cutRunes(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}

// followLive shows the status on the terminal until ctx is done.
func (p *Program) followLive(ctx context.Context) error {
	l := &live{out: p.Out, size: p.size, now: p.clock, paint: coloured(p.Out)}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	statuses := make(chan local.Status)
	g, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error { return l.follow(ctx, statuses, resized) })
	g.Go(func() error {
		defer done()
		return p.watch(ctx, func(s local.Status) error {
			select {
			case statuses <- s:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	return g.Wait()
}

// columns is how wide a page is on the terminal.
func (p *Program) columns() int {
	columns, _ := p.size()
	return min(max(columns, leastColumns), defaultColumns)
}

// size is that of the terminal, or of the narrowest one.
func (p *Program) size() (columns, rows int) { return terminalSize(p.Out) }

func terminalSize(w io.Writer) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns, rows
		}
	}
	return defaultColumns, 0
}
