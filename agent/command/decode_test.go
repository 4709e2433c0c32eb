package command

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	for name, tt := range map[string]struct{ payload, want string }{
		"object":                         {`{"button_1":1, "button_2":0}`, `{"button_1":1, "button_2":0}`},
		"the Two-Action widget's string": {`"{\"button_1\":1, \"button_2\":0}"`, `{"button_1":1, "button_2":0}`},
		"stringified twice":              {`"\"{\\\"button_1\\\":1}\""`, `{"button_1":1}`},
		"a third layer stays":            {`"\"\\\"1\\\"\""`, `"1"`},
		"spaces around":                  {" \"{}\"\n", `{}`},
		"a number in a string":           {`"5"`, `5`},
		"a word in a string":             {`"on"`, `"on"`},
		"an empty string":                {`""`, `""`},
		"no JSON":                        {`on`, `on`},
		"half a string":                  {`"{\"a\":1`, `"{\"a\":1`},
		"binary":                         {"\x00\xff\"", "\x00\xff\""},
		"empty":                          {"", ""},
	} {
		if got := string(Decode([]byte(tt.payload))); got != tt.want {
			t.Errorf("%s: Decode(%q) = %q, want %q", name, tt.payload, got, tt.want)
		}
	}
}

func TestDecodeUnwrapsWhatADashboardWrapped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := map[string]int{}
		for _, k := range rapid.SliceOf(rapid.String()).Draw(t, "keys") {
			value[k] = rapid.Int().Draw(t, "value")
		}
		plain, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		wrapped := plain
		for range rapid.IntRange(0, maxLayers).Draw(t, "layers") {
			if wrapped, err = json.Marshal(string(wrapped)); err != nil {
				t.Fatal(err)
			}
		}
		if got := Decode(wrapped); !bytes.Equal(got, plain) {
			t.Fatalf("Decode(%s) = %s, want %s", wrapped, got, plain)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `"{\"a\":1}"`, `"\"{\\\"a\\\":1}\""`, `"on"`, "\x00", `"\ud800"`, strings.Repeat(`"`, 9), strings.Repeat("[", 20000)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		got := Decode(payload)
		if !bytes.Equal(payload, before) {
			t.Fatal("the payload was changed")
		}
		if len(got) > 3*len(payload) { // an invalid byte becomes U+FFFD, three bytes
			t.Fatalf("%d bytes became %d", len(payload), len(got))
		}
		if !bytes.Equal(got, payload) && !json.Valid(got) {
			t.Fatalf("Decode(%q) = %q is neither the payload nor JSON", payload, got)
		}
	})
}

func TestName(t *testing.T) {
	bases := []string{"mrs/d/12", "mon/d/12", ""}
	for topic, want := range map[string]string{
		"mrs/d/12/ctrl/light":                             "light",
		"mrs/d/12/ctrl/light/left":                        "light/left",
		"mon/d/12/ctrl/diagnostics":                       "diagnostics",
		"mrs/d/123/ctrl/light":                            "",
		"mrs/d/1/ctrl/light":                              "",
		"mrs/d/12/ctrl/":                                  "",
		"mrs/d/12/ctrl":                                   "",
		"mrs/d/12/mon/ctrl/light":                         "",
		"x/mrs/d/12/ctrl/light":                           "",
		"/ctrl/light":                                     "",
		"mrs/d/12/ctrl/../light":                          "",
		"mrs/d/12/ctrl/a/../../light":                     "",
		"mrs/d/12/ctrl/.hidden":                           "",
		"mrs/d/12/ctrl/a//b":                              "",
		"mrs/d/12/ctrl//etc/passwd":                       "",
		"mrs/d/12/ctrl/light\x00":                         "",
		"mrs/d/12/ctrl/light\n":                           "",
		"mrs/d/12/ctrl/" + strings.Repeat("a", maxName+1): "",
	} {
		name, base, ok := Name(topic, bases...)
		if name != want || ok != (want != "") {
			t.Errorf("Name(%q) = %q, %v, want %q", topic, name, ok, want)
		}
		if ok && base+"/ctrl/"+name != topic {
			t.Errorf("Name(%q) says the base %q", topic, base)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out tail
		var all strings.Builder
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 3*maxOutput)).Draw(t, "writes") {
			b := bytes.Repeat([]byte{byte('a' + len(all.String())%26)}, n)
			if got, err := out.Write(b); got != n || err != nil {
				t.Fatalf("Write = %d, %v", got, err)
			}
			all.Write(b)
		}
		want := all.String()
		want = want[max(0, len(want)-maxOutput):]
		if string(out.data) != want {
			t.Fatalf("kept %d bytes that are not the last %d", len(out.data), len(want))
		}
	})
}
