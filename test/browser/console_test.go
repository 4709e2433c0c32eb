package browser

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// hostile is what a page must show as it is.
const hostile = `<img src="//example.com/x" onerror="document.title='owned'"><script>document.title='owned'</script>`

// TestConsole lives a gateway's day in the console: it is provisioned, comes
// online, fetches a release, obeys commands, uploads, and meets a fault.
func TestConsole(t *testing.T) {
	dir := t.TempDir()
	p := open(t, simulate(t, filepath.Join(dir, "gateways"), "--devices", "0", "--tls", "--token-life", "30m", "--window", "15m", "--grace", "30m"))
	p.picture("1-empty")
	g := p.provision()
	g.command("hello", "payload=$(cat)\n"+
		"mkdir -p '"+g.dir+"/spool/log'\nprintf 'said %s\\n' \"$payload\" >'"+g.dir+"/spool/log/hello.log'\n"+
		"'"+g.program+"' publish --config '"+g.dir+"/agent.conf' mon/hello \"heard $payload\"\n")
	g.run()
	p.until("the device online", `document.querySelector("#d123").dataset.online === "true"`)
	p.until("its version", `document.querySelector("#d123 .facts").textContent.includes("display 1.0.0")`)
	p.releases(dir)
	p.commands()
	p.diagnostics()
	g.ask("publish", "mon/hostile", hostile)
	p.until("the hostile message as text", `[...document.querySelectorAll("#message-list .payload")].some((e) => e.textContent === `+quoted(hostile)+`)`)
	if n := ask[int](p, `document.querySelectorAll("#message-list img, #message-list script").length`); n != 0 {
		t.Errorf("a message became %d elements", n)
	}
	p.pictures("5-day")
	p.faultsAreSwitched()
	p.fill("#offset [name=offset]", "16m")
	p.click("#offset button[type=submit]")
	p.until("the token in its window", `document.querySelector("#d123 .bar").dataset.state === "renewing"`)
	g.ask("renew")
	p.until("a renewal", `document.querySelector("#timeline-list").textContent.includes("renewed its token")`)
	if title := ask[string](p, "document.title"); title != "Simulated Spoke Zone" {
		t.Errorf("the title is %q", title)
	}
	p.named()
}

// provision makes a new device's directory by the dialog.
func (p *page) provision() *gateway {
	p.t.Helper()
	p.click("#provision-open")
	p.fill("#provision-form [name=name]", "ladder")
	p.picture("2-provision")
	p.expect("status of 400")
	p.fill("#provision-form [name=modules]", "../etc")
	p.click("#provision-form button[type=submit]")
	p.until("the refusal, in the dialog", `document.querySelector("#provision .here").textContent.includes("want lower case letters")`)
	p.fill("#provision-form [name=modules]", "display")
	p.click("#provision-form button[type=submit]")
	p.until("the gateway's directory", `document.querySelector("#start-command")`)
	command := ask[string](p, `document.querySelector("#start-command").textContent`)
	config, ok := strings.CutPrefix(command, "spoke-zone-agent run --config ")
	if !ok {
		p.t.Fatalf("got %q", command)
	}
	p.click("#provision .closer button")
	p.until("the dialog closed", `!document.querySelector("#provision").open`)
	p.until("the device", `document.querySelector("#d123")`)
	g := &gateway{p.t, filepath.Dir(config), built(p.t, "spoke-zone-agent")}
	g.add("\n[ota]\ncheck_interval = 1s\n\n[diagnostics]\nmin_interval = 1s\n")
	return g
}

// releases uploads a file, slowly fetched, and withdraws it.
func (p *page) releases(dir string) {
	p.t.Helper()
	file := filepath.Join(dir, "display-2.0.0.bin")
	if err := os.WriteFile(file, bytes.Repeat([]byte("spoke zone "), 1<<18), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.switchTo("slow-body", "always@1000000")
	p.fill("#release [name=version]", "2.0.0")
	p.do("choose the file", chromedp.SetUploadFiles(chromedp.CSS("#release [name=file]"), []string{file}))
	p.click("#release button[type=submit]")
	p.until("the release", `document.querySelector("#release-7 .name").textContent === "display 2.0.0"`)
	p.until("its fetch", `document.querySelector("#release-7 progress").value > 0.3`)
	p.picture("3-fetch")
	p.until("its end", `document.querySelector("#timeline-list").textContent.includes("fetched display 2.0.0")`)
	p.until("all its bytes", `!document.querySelector("#release-7 progress") && document.querySelector("#release-7 .note").textContent.includes("2.8 MiB sent")`)
	p.click("#release-7 button")
	p.until("its withdrawal", `document.querySelector("#release-7").dataset.active === "false"`)
	p.switchTo("slow-body", "off")
}

// commands sends one and sees it run: by the message and by the data file that
// its program makes.
func (p *page) commands() {
	p.t.Helper()
	p.fill("#command [name=command]", "hello")
	p.fill("#command [name=payload]", "ladder")
	p.click("#command button[type=submit]")
	p.until("the command on its way", `document.querySelector("#timeline-list").textContent.includes("was sent mrs/d/123/ctrl/hello")`)
	p.until("the answer of its program", `document.querySelector("#message-list").textContent.includes("heard ladder")`)
	p.until("its data file", `document.querySelector("#file-list button:not([hidden])")`)
	p.click("#file-list button")
	p.until("the content", `document.querySelector("#viewer").open && document.querySelector("#viewer-text").textContent === "said ladder\n"`)
	p.picture("4-data-file")
	p.do("close the viewer", chromedp.KeyEvent(kb.Escape))
	p.until("the viewer closed", `!document.querySelector("#viewer").open`)
}

// diagnostics sets the level and sees the broadcasts that come of it.
func (p *page) diagnostics() {
	p.t.Helper()
	p.click("#diagnostics .segments label:nth-of-type(2)")
	p.do("choose the interval", chromedp.SetValue(chromedp.CSS("#diagnostics [name=interval]"), "10"))
	p.click("#diagnostics button[type=submit]")
	p.until("a broadcast", `[...document.querySelectorAll("#message-list .topic")].some((e) => e.textContent.endsWith("/mon/diagnostics"))`)
}

// faultsAreSwitched cuts the gateway off and lets it come back.
func (p *page) faultsAreSwitched() {
	p.t.Helper()
	p.switchTo("unreachable", "always")
	p.until("the device offline", `document.querySelector("#d123").dataset.online === "false"`)
	p.picture("6-fault")
	p.switchTo("unreachable", "off")
	p.until("the device back", `document.querySelector("#d123").dataset.online === "true"`)
}

// switchTo switches a fault of Spoke Zone, by its row.
func (p *page) switchTo(name, when string) {
	p.t.Helper()
	if !ask[bool](p, `document.querySelector("#fault-groups details").open`) {
		p.click("#fault-groups summary")
	}
	knob := `[role=switch][aria-label="` + name + `"]`
	if when == "off" {
		p.click(knob)
	} else {
		p.fill(`[aria-label="When `+name+` happens"]`, when+kb.Enter)
	}
	p.until(name+" "+when, `document.querySelector('`+knob+`').getAttribute("aria-checked") === "`+map[bool]string{true: "false", false: "true"}[when == "off"]+`"`)
}
