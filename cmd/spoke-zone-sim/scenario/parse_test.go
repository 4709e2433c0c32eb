package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestShippedScenariosSayWhatTheyShow(t *testing.T) {
	names, texts := Shipped()
	if len(names) < 10 {
		t.Errorf("%d scenarios are shipped", len(names))
	}
	for _, name := range names {
		s, err := Parse(name, texts[name])
		if err != nil {
			t.Error(err)
			continue
		}
		if len(s.Shows) < 40 || !strings.HasSuffix(s.Shows, ".") || !strings.HasPrefix(texts[name], "# ") {
			t.Errorf("%s shows %q: want a sentence, and a comment at its front", name, s.Shows)
		}
		awaited := 0
		for _, st := range s.steps {
			if st.act == nil {
				awaited++
			}
		}
		if awaited < 5 {
			t.Errorf("%s expects %d things", name, awaited)
		}
	}
}

func TestFaultsHaveTheirLineAndWhatIsAllowed(t *testing.T) {
	const front = "shows Something.\n"
	for text, want := range map[string]string{
		"brokr down":                           `f:2: "brokr" is no statement: want one of shows, cloud, gateway`,
		"broker sideways":                      `f:2: "sideways": want down, up, cut; write: broker down|up|cut`,
		"broker":                               `f:2: down|up|cut is missing; write: broker down|up|cut`,
		"start agent now":                      `f:2: "now" is too much; write: start agent|installer`,
		"expect":                               `f:2: what is expected? write: expect [within SPAN] and one of connect,`,
		"expect within soon connect":           `f:2: "soon" is no limit: want such as 500ms`,
		"expect within 11m device online":      `f:2: "11m" is no limit`,
		"expect connect refuse":                `f:2: "refuse": want accepted, refused; write: connect accepted|refused`,
		"expect rain":                          `f:2: "rain" is nothing to expect: want one of connect, disconnect, login`,
		"expect status Token is x":             `f:2: "Token" is no PATH: want names of status --json`,
		"never":                                `f:2: of what? write one of connect`,
		"never rain":                           `f:2: "rain" is no event: want one of connect`,
		"at most many connect refused":         `f:2: write: at most COUNT, and an event`,
		"fault gremlins":                       `f:2: "gremlins" is no FAULT: want NAME=SWITCH`,
		"fault latency=maybe":                  `f:2: "latency=maybe" is no FAULT`,
		"publish 0 mon/a":                      `f:2: "0" is no COUNT: want a number from 1 to 5000`,
		"load 1000/s mon/a":                    `f:2: "1000/s" is no RATE`,
		"load 10 mon/a":                        `f:2: "10" is no RATE`,
		"drop paper a 1KiB":                    `f:2: "paper" is no TYPE`,
		"drop log ../a 1KiB":                   `f:2: "../a" is no FILE`,
		"drop log a 1TiB":                      `f:2: "1TiB" is no SIZE`,
		"cloud life=never":                     `f:2: "life=never" is no OPTION`,
		"cloud colour=red":                     `f:2: "colour=red" is no OPTION: want life=SPAN`,
		"cloud life=1ms":                       `f:2: life and window are 1s at least`,
		"say \"open":                           `f:2: a quotation mark has no other`,
		"say \"a\"b":                           `f:2: a blank is missing behind "a"`,
		"say a\x07b":                           `f:2: "a\ab" is not plain text`,
		"module a 1 notify\nmodule a 2 notify": `f:3: there is a module a already`,
		"start agent\nmodule a 1 notify":       `f:3: module comes before everything that is done`,
		"":                                     `f:2: nothing is done in it`,
	} {
		_, err := Parse("f", front+text+"\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Parse("f", "start agent\n"); err == nil || !strings.Contains(err.Error(), "it does not say what it shows") {
		t.Errorf("without shows: got %v", err)
	}
	if _, err := Parse("f", strings.Repeat("#", maxText+1)); err == nil {
		t.Error("a text of any size is read")
	}
	var all Faults
	if _, err := Parse("f", front+"a\nstart agent\nb\n"); !errors.As(err, &all) || len(all) != 2 {
		t.Errorf("two faults: got %v", err)
	}
}

func TestAScenarioIsUnderstood(t *testing.T) {
	s, err := Parse("f", `# a comment
shows   One thing,
shows   and "another thing."   # not this
cloud   life=20s window=12s clock=56y seed=3
module  display 1.0 fetch
set     ota.rate_limit 2MiB

start agent
expect within 2m connect accepted
expect status token.state is valid
fault server-error=20% silent
at most 3 login refused
never leak
`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Shows != "One thing, and another thing." || s.setup.clock != 56*365*24*time.Hour || s.setup.seed != 3 || s.setup.grace != 12*time.Hour {
		t.Errorf("got %q, %+v", s.Shows, s.setup)
	}
	if got := fmt.Sprint(s.setup.modules, s.setup.set); got != "[{display 1.0 fetch}] [{ota rate_limit 2MiB}]" {
		t.Errorf("got %s", got)
	}
	if len(s.steps) != 4 || s.steps[1].event == nil || s.steps[1].limit != 2*time.Minute || s.steps[2].state == nil || s.steps[2].limit != defaultLimit || s.steps[3].line != 11 {
		t.Errorf("got %+v", s.steps)
	}
	if len(s.bounds) != 2 || s.bounds[0].most != 3 || s.bounds[1].most != 0 || s.machine() {
		t.Errorf("got %+v, machine %v", s.bounds, s.machine())
	}
	for _, text := range []string{"disk 4MiB\nstart agent", "installer\nstart agent", "power cut"} {
		if s, err := Parse("f", "shows x\n"+text); err != nil || !s.machine() {
			t.Errorf("%q: no machine of its own, %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	names, texts := Shipped()
	for _, name := range names {
		f.Add(texts[name])
	}
	f.Add("shows \"a\nexpect within 5s\nat most\nfault a=b@c:d\ncloud life=\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", text)
		if err == nil {
			if s.Shows == "" || len(s.steps) == 0 {
				t.Errorf("understood as nothing: %q", text)
			}
			return
		}
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("%v is no fault of a line", err)
		}
		for _, fault := range faults {
			at, _, _ := strings.Cut(strings.TrimPrefix(fault.Error(), "f:"), ":")
			if n, err := strconv.Atoi(at); err != nil || n < 1 || n > strings.Count(text, "\n")+1 {
				t.Errorf("%v is at no line of the text", fault)
			}
		}
	})
}
