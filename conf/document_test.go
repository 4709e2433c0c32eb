package conf

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"gopkg.in/ini.v1"
	"pgregory.net/rapid"
)

const renewed = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.bmV3LXNpZ25hdHVyZS0x"

func TestOnlyTheTokenChanges(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"plain", "mqtt_username=OLD", "mqtt_username=NEW"},
		{"spaces", "  mqtt_username \t=  OLD \t\n", "  mqtt_username \t=  NEW \t\n"},
		{"colon", "mqtt_username: OLD\n", "mqtt_username: NEW\n"},
		{"CRLF and BOM", "\xef\xbb\xbf[a]\r\nmqtt_username = OLD\r\nb = c\r\n", "\xef\xbb\xbf[a]\r\nmqtt_username = NEW\r\nb = c\r\n"},
		{"double quotes", "mqtt_username = \"OLD\" ; c\n", "mqtt_username = \"NEW\" ; c\n"},
		{"single quotes", "mqtt_username = 'OLD'\n", "mqtt_username = 'NEW'\n"},
		{"back-ticks", "mqtt_username = `OLD`\n", "mqtt_username = `NEW`\n"},
		{"triple quotes", "mqtt_username = \"\"\"OLD\"\"\"\n", "mqtt_username = \"\"\"NEW\"\"\"\n"},
		{"comment", "mqtt_username = OLD # mqtt_username = OLD\n", "mqtt_username = NEW # mqtt_username = OLD\n"},
		{"neighbours", "#OLD\nx = OLD\nmqtt_username = OLD\nmqtt_username2 = OLD", "#OLD\nx = OLD\nmqtt_username = NEW\nmqtt_username2 = OLD"},
		{"junk", "[\n=\n`\nmqtt_username=OLD\n\"\"\"\nx", "[\n=\n`\nmqtt_username=NEW\n\"\"\"\nx"},
		{"twice", "mqtt_username=OLD\n[b]\nMQTT_USERNAME='OLD'", "mqtt_username=NEW\n[b]\nMQTT_USERNAME='NEW'"},
		{"beside another", "mqtt_username=a\n[b]\nmqtt_username=OLD", "mqtt_username=a\n[b]\nmqtt_username=NEW"},
		{"empty", "mqtt_username=\n", "mqtt_username=NEW\n"},
		{"empty with a space", "mqtt_username = \r\n", "mqtt_username = NEW\r\n"},
		{"empty at the end", "mqtt_username = ", "mqtt_username = NEW"},
		{"empty in quotes", "mqtt_username = \"\"", "mqtt_username = \"NEW\""},
		{"empty in back-ticks", "mqtt_username = ``", "mqtt_username = `NEW`"},
		{"empty with a comment", "mqtt_username = # c\n", "mqtt_username =NEW # c\n"},
		{"empty with a comment farther off", "mqtt_username =   ; c\n", "mqtt_username = NEW  ; c\n"},
		{"latin 1", "caf\xe9=\xff\nmqtt_username=OLD\n", "caf\xe9=\xff\nmqtt_username=NEW\n"},
	} {
		before := strings.ReplaceAll(c.before, "OLD", jwt)
		want := strings.NewReplacer("OLD", jwt, "NEW", renewed).Replace(c.after)
		d := ParseDocument([]byte(before))
		changed, err := d.SetToken(renewed)
		if err != nil || !changed || string(d.Bytes()) != want {
			t.Errorf("%s: got %v, %v\n%q, want\n%q", c.name, changed, err, d.Bytes(), want)
			continue
		}
		if token, err := d.Token(); err != nil || token != renewed {
			t.Errorf("%s: reads %q, %v", c.name, token, err)
		}
		if changed, err := d.SetToken(renewed); err != nil || changed {
			t.Errorf("%s: the same token again: %v, %v", c.name, changed, err)
		}
	}
}

func TestTokensThatAreNotWritten(t *testing.T) {
	src := []byte("mqtt_username = " + jwt + "\n")
	for _, token := range []string{
		"", "=", "a b", " a", "a\n", "a\nmqtt_password = b", "a\r", "a\x00", "a#b", "a;b", "a\"", "'a'", "`a`", "a\\", "%(x)s", "$x",
		"ä", "\xff", "a,b", "[a]", "=a", "a=b", strings.Repeat("a", maxToken+1),
	} {
		d := ParseDocument(src)
		if changed, err := d.SetToken(token); changed || !errors.Is(err, ErrToken) || !bytes.Equal(d.Bytes(), src) {
			t.Errorf("%.20q: got %v, %v", token, changed, err)
		} else if len(token) > 6 && strings.Contains(err.Error(), token) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	for _, token := range []string{"a", "a.b.c", "a-b_c~d+e/f==", renewed} {
		if changed, err := ParseDocument(src).SetToken(token); err != nil || !changed {
			t.Errorf("%q: got %v, %v", token, changed, err)
		}
	}
}

func TestDocumentsThatAreNotEdited(t *testing.T) {
	for _, c := range []struct {
		src  string
		want error
	}{
		{"", ErrNoToken},
		{"[mqtt]\nusername = x\n", ErrNoToken},
		{"mqtt_username = " + jwt + "\nmqtt_username = b\n", ErrEdit}, // b would be used once the other is no JWT
		{strings.Repeat("a = "+strings.Repeat("b", 1000)+"\n", 75) + "mqtt_username = " + jwt, ErrTooLarge},
	} {
		d := ParseDocument([]byte(c.src))
		token := strings.Repeat("x", 7000)
		if changed, err := d.SetToken(token); changed || !errors.Is(err, c.want) || string(d.Bytes()) != c.src {
			t.Errorf("%.30q: got %v, %v, want %v", c.src, changed, err, c.want)
		}
	}
}

// TestAnEditThatChangesMoreIsCaught gives the comparison what no edit makes.
func TestAnEditThatChangesMoreIsCaught(t *testing.T) {
	before := "[a]\nmqtt_username = " + jwt + "\npassword = p\n[b]\npassword = q\n"
	good := strings.Replace(before, jwt, renewed, 1)
	d := ParseDocument([]byte(before))
	if _, err := d.onlyTokenChanged([]byte(good), []int{1}, renewed); err != nil {
		t.Errorf("the edit itself: %v", err)
	}
	for name, result := range map[string]string{
		"nothing changed":     before,
		"another token":       strings.Replace(before, jwt, otherJWT, 1),
		"a value changed":     strings.Replace(good, "= p", "= x", 1),
		"a key changed":       strings.Replace(good, "password", "passwort", 1),
		"a section changed":   strings.Replace(good, "[b]", "[c]", 1),
		"a section went away": strings.Replace(good, "[b]", "# b", 1),
		"a line too many":     good + "x = y\n",
		"a line too few":      strings.Replace(good, "[b]\n", "", 1),
		"a zero byte":         good[:len(good)-1] + "\x00",
		"nothing":             "",
	} {
		if after, err := d.onlyTokenChanged([]byte(result), []int{1}, renewed); !errors.Is(err, ErrEdit) || after != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// documents draws INI files, most of them with a token.
func documents() *rapid.Generator[string] {
	ws := rapid.SampledFrom([]string{"", "", " ", "\t", "  "})
	word := rapid.StringOf(rapid.RuneFrom([]rune("abXYZ019_-. ,/\\$%(){}'\"#;=:[]äß\u00a0")))
	key := rapid.SampledFrom([]string{"mqtt_username", "mqtt_username", "MQTT_USERNAME", "mqttUsername", "mqtt-username",
		"mqtt_password", "export mqtt_username", "cpu_id", "a", "-", "\"mqtt_username\"", "`k`"})
	value := rapid.OneOf(word, rapid.SampledFrom([]string{"", jwt, otherJWT, "`" + jwt + "`", "\"\"\"" + jwt + "\"\"\""}),
		rapid.Map(word, func(s string) string { return "'" + s + "'" }),
		rapid.Map(word, func(s string) string { return `"` + s + `"` }))
	comment := rapid.SampledFrom([]string{"", "", " # c", "\t; c ' \" = x", "#c", ";c"})
	entry := rapid.Custom(func(t *rapid.T) string {
		return ws.Draw(t, "indent") + key.Draw(t, "key") + ws.Draw(t, "before") + rapid.SampledFrom([]string{"=", ":"}).Draw(t, "delimiter") +
			ws.Draw(t, "after") + value.Draw(t, "value") + comment.Draw(t, "comment") + ws.Draw(t, "trailing")
	})
	line := rapid.OneOf(entry, entry, word,
		rapid.SampledFrom([]string{"", "[a]", " [b] ; c", "[DEFAULT]", "[]", "[x", "# mqtt_username = " + jwt, "; x", "word", "=", "`", `"x`}))
	end := rapid.SampledFrom([]string{"\n", "\n", "\r\n"})
	return rapid.Custom(func(t *rapid.T) string {
		text := rapid.SampledFrom([]string{"", "", "\xef\xbb\xbf"}).Draw(t, "bom")
		for _, l := range rapid.SliceOfN(line, 0, 8).Draw(t, "lines") {
			text += l + end.Draw(t, "end")
		}
		if rapid.Bool().Draw(t, "cut") {
			text = strings.TrimRight(text, "\r\n")
		}
		return text
	})
}

// holds checks everything that is promised of an edit.
func holds(t interface{ Fatalf(string, ...any) }, src []byte, token string) {
	d := ParseDocument(src)
	if !bytes.Equal(d.Bytes(), src) {
		t.Fatalf("reading changed %q to %q", src, d.Bytes())
	}
	if _, err := parseText(src); err != nil {
		if errors.Is(err, ErrSyntax) {
			t.Fatalf("ini.v1 reads it differently: %v\n%q", err, src)
		}
		return
	}
	lines, several, lerr := d.tokenLines()
	old := ""
	if lerr == nil {
		old = d.lines[lines[0]].token()
	}
	changed, err := d.SetToken(token)
	if err != nil {
		if overshadowed := several != nil && !looksLikeJWT(token); errors.Is(err, ErrEdit) && !overshadowed || errors.Is(err, ErrSyntax) {
			t.Fatalf("not edited: %v\n%q", err, src)
		}
		if !bytes.Equal(d.Bytes(), src) {
			t.Fatalf("changed beside the error %v", err)
		}
		return
	}
	after := d.Bytes()
	if changed == (old == token) {
		t.Fatalf("changed is %v, from %q to %q", changed, old, token)
	}
	got, err := parseIdentity(after)
	if err != nil || got.Token != token {
		t.Fatalf("set %q, got %q, %v\n%q", token, got.Token, err, after)
	}
	// Every other byte: take the token out of the lines that held it.
	was, is := ParseDocument(src), ParseDocument(after)
	if len(was.lines) != len(is.lines) || !bytes.Equal(was.bom, is.bom) {
		t.Fatalf("%d lines became %d", len(was.lines), len(is.lines))
	}
	edited := map[int]bool{}
	for _, i := range lines {
		edited[i] = true
	}
	for i := range was.lines {
		a, b := was.lines[i], is.lines[i]
		if !edited[i] {
			if !bytes.Equal(a.text, b.text) {
				t.Fatalf("line %d changed from %q to %q", i+1, a.text, b.text)
			}
			continue
		}
		without := func(l line) (string, string) {
			start, end := l.span()
			return string(l.text[:start]), string(l.text[end:])
		}
		if a.value() == "" {
			if head, tail := without(b); head+tail != string(a.text) {
				t.Fatalf("more than the token came into %q: %q", a.text, b.text)
			}
			continue
		}
		ah, at := without(a)
		bh, bt := without(b)
		if ah != bh || at != bt {
			t.Fatalf("more than the token changed from %q to %q", a.text, b.text)
		}
	}
}

func TestEveryOtherByteStays(t *testing.T) {
	tokens := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._~+/-]{1,40}={0,2}`), rapid.Just(jwt), rapid.Just(renewed))
	rapid.Check(t, func(t *rapid.T) {
		holds(t, []byte(documents().Draw(t, "file")), tokens.Draw(t, "token"))
	})
}

// sameAsINI compares with ini.v1 on the text as it is, where that reads it and
// has no value of several lines.
func sameAsINI(t interface{ Fatalf(string, ...any) }, src []byte) {
	if bytes.ContainsAny(src, "`\x00") || bytes.Contains(src, []byte(`"""`)) {
		return
	}
	if bytes.HasPrefix(src, []byte("\xfe\xff")) || bytes.HasPrefix(src, []byte("\xff\xfe")) {
		return // the mark of UTF-16, without the zeros that would follow
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		IgnoreInlineComment: true, IgnoreContinuation: true, SkipUnrecognizableLines: true, PreserveSurroundedQuote: true,
	}, src)
	if err != nil {
		return
	}
	theirs := map[string]string{}
	for _, s := range file.Sections() {
		for _, k := range s.Keys() {
			theirs[k.Name()] = k.Value()
		}
	}
	if len(file.Sections()) > 1 {
		return // we end a section's name at its first ]: agree compares those
	}
	for _, l := range ParseDocument(src).lines {
		if l.kind == entry && l.key != "-" && l.key[0] != '#' {
			if _, ok := theirs[l.key]; !ok {
				t.Fatalf("ini.v1 does not see %q\n%q", l.key, src)
			}
		}
	}
	for _, name := range file.Section("").KeyStrings() {
		last := -1
		d := ParseDocument(src)
		for i, l := range d.lines {
			if l.kind == entry && l.key == name {
				last = i
			}
		}
		if last >= 0 && d.lines[last].raw() != theirs[name] {
			t.Fatalf("%q: ini.v1 reads %q, we %q\n%q", name, theirs[name], d.lines[last].raw(), src)
		}
	}
}

func TestEditorSeesWhatINIReadersSee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { sameAsINI(t, []byte(documents().Draw(t, "file"))) })
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte("\xef\xbb\xbf[a]\r\nmqtt_username = \""+jwt+"\" ; x\r\nb"), renewed)
	f.Add([]byte("mqtt_username=# c\n`x`=`y`\nmqtt_username:``"), "t")
	f.Add([]byte("mqtt_username = # c"), "a==")
	f.Fuzz(func(t *testing.T, src []byte, token string) {
		sameAsINI(t, src)
		holds(t, src, token)
	})
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(Render()))
	f.Add([]byte("[bridge]\nnotify=0")) // refused, and so not kept
	f.Add([]byte("[command.a]\nrun=\"\\\"a\" 'b' # c\n[ota]\nwindow=Mon-Fri 00:00-24:00"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r := reader{config: Default(), seen: map[string]place{}, files: []string{"f"}}
		r.text("f", src)
		r.crossCheck()
		for _, fault := range r.faults {
			if fault.File != "f" || fault.Line < 1 || fault.Problem == "" || strings.ContainsAny(fault.Error(), "\n\x00") {
				t.Fatalf("%#v", fault)
			}
		}
		// Whatever was taken can be printed and is then taken again.
		for i := range r.config.Modules {
			again(t, scope{config: &r.config, module: &r.config.Modules[i]})
		}
		for i := range r.config.Commands {
			again(t, scope{config: &r.config, command: &r.config.Commands[i]})
		}
		for i := range r.config.UploadTypes {
			again(t, scope{config: &r.config, upload: &r.config.UploadTypes[i]})
		}
		for i := range r.config.Collect {
			again(t, scope{config: &r.config, collect: &r.config.Collect[i]})
		}
		again(t, scope{config: &r.config})
	})
}

func again(t *testing.T, s scope) {
	for _, row := range table {
		if strings.HasPrefix(row.Section, moduleSection) != (s.module != nil) ||
			strings.HasPrefix(row.Section, commandSection) != (s.command != nil) ||
			strings.HasPrefix(row.Section, uploadSection) != (s.upload != nil) ||
			strings.HasPrefix(row.Section, collectSection) != (s.collect != nil) {
			continue
		}
		v := row.at(s)
		text := v.text()
		if err := v.parse(text); err != nil || v.text() != text {
			t.Fatalf("%s.%s: %q is read as %q, %v", row.Section, row.Key, text, v.text(), err)
		}
	}
}
