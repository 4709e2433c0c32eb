// Package browser opens the simulator's console in Chromium, with the built
// programs behind it. It is a module of its own, so that what drives the
// browser is no requirement of the agent's.
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit is generous: on a loaded machine everything takes many times as long.
const limit = 8 * time.Minute

// pictures is where the screenshots go.
const pictures = "../../build/console"

// A page is one tab that shows a console.
type page struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu       sync.Mutex
	faults   []string // what the browser complained of
	expected []string // what it may complain of, once each
	lossy    bool     // the line is cut on purpose, of which it may complain
}

// open starts a browser with a profile of its own and shows the console.
func open(t *testing.T, address string) *page {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("Chromium is not installed: %v", err)
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(pictures, "failed.png")) // of another time
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, chromedp.ExecPath(program),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(limit))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx, origin: strings.TrimSuffix(address, "/")}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	call(p, log.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	p.do("open the console", chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address))
	p.until("the stream", `document.getElementById("link").dataset.state === "live"`)
	t.Cleanup(p.quiet)
	return p
}

// hear notes what must not happen: an error in the page, and a request to
// anybody but the simulator.
func (p *page) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text := ""
			for _, arg := range e.Args {
				text += " " + string(arg.Value) + arg.Description
			}
			p.complain("console: %s%s", e.Type, text)
		}
	case *runtime.EventExceptionThrown:
		p.complain("exception: %s", e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.complain("log: %s %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "blob" && u.Scheme+"://"+u.Host != p.origin {
			p.complain("request to another origin: %s", e.Request.URL)
		}
	}
}

func (p *page) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// expect allows one complaint, which comes at no certain time.
func (p *page) expect(words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, words)
}

// quiet fails the test when the browser complained.
func (p *page) quiet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if p.lossy && strings.Contains(f, "net::ERR_") {
			continue
		}
		i := slices.IndexFunc(p.expected, func(e string) bool { return strings.Contains(f, e) })
		if i >= 0 {
			p.expected = slices.Delete(p.expected, i, i+1)
		} else {
			p.t.Error(f)
		}
	}
}

// do takes steps, and fails the test with a picture when one cannot be taken.
func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.lost(what, err)
	}
}

// run is do for a step that has an answer.
func run[T any](p *page, what string, step chromedp.Action[T]) T {
	p.t.Helper()
	answer, err := chromedp.Run(p.ctx, step)
	if err != nil {
		p.lost(what, err)
	}
	return answer
}

// call asks the browser something that is no step.
func call[P, R any](p *page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	answer, err := chromedp.Call(p.ctx, command, params)
	if err != nil {
		p.lost(command.Method, err)
	}
	return answer
}

func (p *page) lost(what string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 20*time.Second)
	defer cancel()
	if png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)); err == nil {
		_ = os.WriteFile(filepath.Join(pictures, "failed.png"), png, 0o644)
	}
	p.t.Fatalf("%s: %v", what, err)
}

// until waits for an expression of JavaScript to become true, woken by every
// change of the document.
func (p *page) until(what, expression string) {
	p.t.Helper()
	p.t.Logf("waiting for %s", what)
	script := `new Promise((resolve) => {
	const test = () => { try { return Boolean(` + expression + `) } catch { return false } };
	if (test()) return resolve(true);
	const watch = new MutationObserver(() => { if (test()) { watch.disconnect(); resolve(true) } });
	watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})`
	run(p, "waiting for "+what, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise))
}

// ask evaluates an expression.
func ask[T any](p *page, expression string) T {
	p.t.Helper()
	return run(p, "evaluate "+expression, chromedp.Evaluate[T](expression))
}

// click presses what a selector finds, by the mouse.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
}

// fill replaces what is in a field by typing.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.do("fill "+selector, chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Focus(chromedp.CSS(selector)))
	ask[any](p, `document.activeElement.select()`)
	p.do("fill "+selector, chromedp.KeyEvent(text))
}
