package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// picture keeps what the window shows.
func (p *page) picture(name string) {
	p.t.Helper()
	p.keep(name, run(p, "picture "+name, chromedp.CaptureScreenshot()))
}

func (p *page) keep(name string, png []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(pictures, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// pictures keeps the whole page, wide and narrow, by day and by night, and
// wants it to fit the width.
func (p *page) pictures(name string) {
	p.t.Helper()
	ask[any](p, `document.querySelectorAll("details").forEach((d) => { d.open = false })`)
	p.until("nothing being said", `!document.querySelector("#said").classList.contains("shown")`)
	for _, width := range []int64{1280, 400} {
		for _, scheme := range []string{"light", "dark"} {
			p.do("the size", chromedp.EmulateViewport(width, 900))
			call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
			})
			ask[any](p, `scrollTo(0, 0)`)
			p.keep(fmt.Sprintf("%s-%d-%s", name, width, scheme), run(p, "picture "+name, chromedp.FullScreenshot(100)))
		}
		if over := ask[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			p.t.Errorf("at %d pixels the page is %d too wide", width, over)
		}
	}
	p.do("the first size again", chromedp.EmulateViewport(1280, 900))
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	p.picture(name) // of docs/console.md
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{}})
}

// quoted is a text as JavaScript writes it.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // of a string
	}
	return string(b)
}
