package browser

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused is the element that has the focus, by its id or what it is called.
const focused = `(() => { const e = document.activeElement;
	return e.id || e.getAttribute("aria-label") || e.name || e.textContent.trim() || e.tagName })()`

// TestConsoleByKeyboard rules the console with Tab, Enter, Space and Escape.
func TestConsoleByKeyboard(t *testing.T) {
	p := open(t, simulate(t, filepath.Join(t.TempDir(), "gateways"), "--devices", "1"))
	p.until("the device", `document.querySelector("#d123")`)
	press := func(key string) string {
		t.Helper()
		p.do("press a key", chromedp.KeyEvent(key))
		return ask[string](p, focused)
	}
	if got := press(kb.Tab); got != "Skip to the devices" {
		t.Fatalf("the first Tab: got %q", got)
	}
	p.picture("7-skip")
	if press(kb.Enter); ask[string](p, "location.hash") != "#devices" {
		t.Fatal("the skip link leads nowhere")
	}
	if got := press(kb.Tab); got != "provision-open" {
		t.Fatalf("the first Tab among the devices: got %q", got)
	}
	press(kb.Enter)
	p.until("the dialog", `document.querySelector("#provision").open`)
	if !ask[bool](p, `document.querySelector("#provision").contains(document.activeElement)`) {
		t.Error("the dialog opened without the focus")
	}
	p.do("go to the name", chromedp.Focus(chromedp.CSS("#provision-form [name=name]")), chromedp.KeyEvent(kb.Enter))
	p.until("the gateway's directory", `document.querySelector("#start-command")`)
	if got := press(kb.Escape); got != "provision-open" {
		t.Errorf("after the dialog the focus is at %q", got)
	}
	p.until("the new device", `document.querySelector("#d124")`)

	// Space switches a fault, reached from the search above it.
	p.do("find a fault", chromedp.Focus(chromedp.CSS("#fault-find")), chromedp.SendKeys(chromedp.CSS("#fault-find"), "no-date"))
	for name := ""; name != "no-date"; {
		if name = press(kb.Tab); name == "BODY" {
			t.Fatal("Tab never came to the switch")
		}
	}
	press(" ")
	p.until("the fault on", `document.activeElement.getAttribute("aria-checked") === "true" && !document.activeElement.hasAttribute("aria-disabled")`)
	press(" ")
	p.until("the fault off", `document.activeElement.getAttribute("aria-checked") === "false"`)
	p.order()
	p.named()
}

// order goes through the page by Tab: in the order of the document, each place
// seen, to the end.
func (p *page) order() {
	p.t.Helper()
	p.do("begin anew", chromedp.Navigate(p.origin+"/"))
	p.until("the faults", `document.querySelectorAll("#fault-groups summary").length === 5`)
	p.until("the devices", `document.querySelector("#d124")`)
	var seen []string
	last := -1
	for range 200 {
		p.do("Tab", chromedp.KeyEvent(kb.Tab))
		place := ask[struct {
			Name    string
			At      int
			Visible bool
		}](p, `(() => { const e = document.activeElement; const box = e.getBoundingClientRect(); const style = getComputedStyle(e);
			const label = e.closest("label");
			return { Name: `+focused+`, At: [...document.querySelectorAll("*")].indexOf(e),
				Visible: box.width > 0 && box.height > 0 && (style.outlineStyle !== "none" ||
					label !== null && getComputedStyle(label).outlineStyle !== "none") } })()`)
		if place.At < last || place.Name == "BODY" {
			break // around, by way of the browser itself
		}
		if !place.Visible {
			p.t.Errorf("the focus at %q is not to be seen", place.Name)
		}
		last = place.At
		seen = append(seen, place.Name)
	}
	for _, want := range []string{"Skip to the devices", "provision-open", "Cut MQTT of device 123", "timeline-list", "command", "level", "file", "offset", "fault-find", "faults-off"} {
		if !slices.Contains(seen, want) {
			p.t.Errorf("Tab does not come to %q: %q", want, seen)
		}
	}
	if len(seen) < 35 {
		p.t.Errorf("Tab came to %d places: %q", len(seen), seen)
	}
}

// controls are the roles of what a person operates, and landmarks are those of
// the parts that a screen reader jumps to.
var (
	controls  = []string{"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "switch", "meter", "progressbar", "dialog", "form", "region", "DisclosureTriangle", "img"}
	landmarks = []string{"banner", "navigation", "main", "region", "form"}
)

// named looks at the page as a screen reader does: every control has a name,
// and the landmarks are there.
func (p *page) named() {
	p.t.Helper()
	ask[any](p, `document.querySelectorAll("details").forEach((d) => d.open = true)`)
	nodes := call(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes
	seen := map[string]int{}
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role, name := text(n.Role), text(n.Name)
		seen[role]++
		if slices.Contains(controls, role) && name == "" {
			html := call(p, dom.GetOuterHTML, dom.GetOuterHTMLParams{BackendNodeID: n.BackendDOMNodeID}).OuterHTML
			p.t.Errorf("a %s has no name: %.200s", role, html)
		}
	}
	for _, role := range landmarks {
		if seen[role] == 0 {
			p.t.Errorf("there is no %s: %v", role, seen)
		}
	}
	if seen["switch"] < 100 || seen["button"] < 10 {
		p.t.Errorf("the tree is short: %v", seen)
	}
}
