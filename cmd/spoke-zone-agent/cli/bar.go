package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// How often a bar is drawn again, and a line written where there is none.
const (
	drawEvery = 100 * time.Millisecond
	lineEvery = 30 * time.Second
)

const widestBar = 20

// A bar shows how far a transfer is: drawn on a terminal, elsewhere as a line
// for each tenth and at least every 30 s of progress.
type bar struct {
	out   *os.File
	name  string
	drawn bool // there is a terminal
	tenth int64
	last  time.Time // drawn or written

	first int64 // bytes that were there when the bar began, at start
	start time.Time
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *Program) newBar(name string) *bar {
	return &bar{out: p.Err, name: oneLine(name), tenth: -1, drawn: moves(p.Err)}
}

// set shows that done of total bytes are there. It may be called as often as
// one likes.
func (b *bar) set(done, total int64) {
	now := time.Now()
	if b.start.IsZero() {
		b.first, b.start = done, now
	}
	if b.drawn {
		if done == total || now.Sub(b.last) >= drawEvery {
			b.last = now
			b.draw(done, total, now)
		}
		return
	}
	if tenth := 10 * done / total; tenth != b.tenth || now.Sub(b.last) > lineEvery {
		b.tenth, b.last = tenth, now
		fmt.Fprintf(b.out, "%s: %d %% of %s\n", b.name, 100*done/total, bytesText(total))
	}
}

// draw writes the bar over the line before, cut to the terminal as wide as it
// is now.
func (b *bar) draw(done, total int64, now time.Time) {
	columns, _ := terminalSize(b.out)
	fmt.Fprint(b.out, "\r"+barLine(cutText(b.name, 12), b.pace(done, total, now), done, total, columns)+"\x1b[K")
}

// barLine is a name, how much of total is done, a bar and as many words of the
// pace as a line of so many columns has room for. The last column stays empty:
// what is written there makes some terminals begin a line.
func barLine(name, pace string, done, total int64, columns int) string {
	done = min(done, total)
	width := int64(min(widestBar, columns/4))
	full := width * done / total
	line := fmt.Sprintf("%s %3d %% [%s%s]", name, 100*done/total, strings.Repeat("#", int(full)), strings.Repeat(" ", int(width-full)))
	between := " "
	for words := range strings.SplitSeq(pace, ", ") {
		longer := line + between + words
		if utf8.RuneCountInString(longer) >= columns {
			break
		}
		line, between = longer, ", "
	}
	return cutRunes(line, max(columns-1, 0))
}

// pace tells how large a transfer is, how fast, and how long it will take yet.
func (b *bar) pace(done, total int64, now time.Time) string {
	text := bytesText(total)
	took := now.Sub(b.start).Seconds()
	if took < 1 || done <= b.first {
		return text
	}
	rate := float64(done-b.first) / took
	text += ", " + bytesText(int64(rate)) + "/s"
	if done < total {
		text += ", " + spanText(span(float64(total-done)/rate)) + " left"
	}
	return text
}

// end leaves the bar where it is and the cursor below.
func (b *bar) end() {
	if b.drawn && !b.start.IsZero() {
		fmt.Fprintln(b.out)
	}
}

// reader counts what is read of r, total bytes in all, on the bar.
func (b *bar) reader(r io.Reader, total int64) io.Reader { return &counted{r, b, 0, total} }

type counted struct {
	io.Reader
	bar         *bar
	done, total int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if n > 0 {
		c.done += int64(n)
		c.bar.set(min(c.done, c.total), c.total)
	}
	return n, err
}
