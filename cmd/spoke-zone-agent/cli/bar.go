package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A bar shows how far a transfer is: drawn on a terminal, elsewhere as a line
// for each tenth and at least every 30 s of progress.
type bar struct {
	out   *os.File
	name  string
	drawn *progressbar.ProgressBar // nil without a terminal
	tenth int64
	last  time.Time
}

const lineEvery = 30 * time.Second

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *Program) newBar(name string) *bar {
	b := &bar{out: p.Err, name: printable(name), tenth: -1}
	if isTerminal(p.Err) && os.Getenv("TERM") != "dumb" {
		b.drawn = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(p.Err),
			progressbar.OptionSetDescription(cutText(b.name, 24)),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
			progressbar.OptionSetWidth(24),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true),
		)
	}
	return b
}

func (b *bar) set(done, total int64) {
	if b.drawn != nil {
		if b.drawn.GetMax64() != total {
			b.drawn.ChangeMax64(total)
		}
		_ = b.drawn.Set64(done) // a bar that cannot be drawn is no reason to stop
		return
	}
	if tenth := 10 * done / total; tenth != b.tenth || time.Since(b.last) > lineEvery {
		b.tenth, b.last = tenth, time.Now()
		fmt.Fprintf(b.out, "%s: %d %% of %s\n", b.name, 100*done/total, bytesText(total))
	}
}

// end leaves the bar where it is and the cursor below.
func (b *bar) end() {
	if b.drawn != nil && b.drawn.State().CurrentNum > 0 {
		_ = b.drawn.Exit()
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
