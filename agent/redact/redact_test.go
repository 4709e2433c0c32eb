package redact

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func TestTextHidesWhatLooksLikeASecret(t *testing.T) {
	const s = "Hunter2-is-secret"
	for _, line := range []string{
		"mqtt_username = " + s,
		"password=" + s,
		"client_secret: " + s,
		`{"access_token":"` + s + `","expires":5}`,
		`{"password":"a\"` + s + `"}`,
		`payload "{\"api_key\":\"` + s + `\"}"`,
		"run = /usr/bin/tool --password " + s + " --verbose",
		"run = /usr/bin/tool --api-key=" + s,
		"run = /usr/bin/tool -token '" + s + " and more'",
		"GET https://user:" + s + "@host/path",
		"mqtts://" + s + "@broker:8883",
		"Authorization: Bearer " + s,
		"x-access-token: " + s,
		"curl -H 'authorization: Basic " + s + "'",
		"https://host/path?access_token=" + s + "&page=2",
		"cpu_id = " + s,
		`cpu_id: "` + s + `", used`,
		"UUID=" + s,
		"Cookie: sid=" + s,
		"jwt eyJhbGciOiJIUzI1NiJ9." + s + "." + s,
		"-----BEGIN EC PRIVATE KEY-----\n" + s + "\n-----END EC PRIVATE KEY-----\nafter",
		"-----BEGIN PRIVATE KEY-----\n" + s,
		s + "\nmore of it\n-----END RSA PRIVATE KEY-----\nafter",
		"smtp_pass=" + s,
		"pass: " + s,
		"--wifi-psk " + s,
		`args ["/usr/bin/push","--password","` + s + `","-v"]`,
		`{"said":"[\"--api-key\", \"` + s + `\"]"}`,
	} {
		if got := Text(line); strings.Contains(got, s) || !strings.Contains(got, Mark) {
			t.Errorf("%q became %q", line, got)
		}
	}
}

func TestTextLeavesTheRest(t *testing.T) {
	for _, line := range []string{
		"Token      valid until 2026-11-30",
		`"token": {"state": "valid", "renewals": 3}`,
		"spoke-zone-agent: token: permission denied",
		"read https://docs.spoke.zone/access-tokens",
		"[cloud] url = https://api.spoke.zone",
		"data file queued type=journal file=journal-1.log bytes=17",
		"GET https://host:8443/a@b",
		"passed = 5, bypass=1, compass: north",
	} {
		if got := Text(line); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

func TestKnownValuesGoInEveryForm(t *testing.T) {
	var k Known
	const value = `pa"ss w/ö&rd`
	k.Add(value)
	k.Add("abc") // too short to look for
	k.Add("0a1b2c3d")
	for _, form := range []string{
		value, `pa\"ss w/ö\u0026rd`, `pa\"ss w/ö&rd`, `pa\"ss w/\u00f6&rd`, strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(value)), "="), url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString([]byte(value)), "0a1b2c3d",
	} {
		if got := k.Text("before " + form + " after"); got != "before "+Mark+" after" {
			t.Errorf("%q left %q", form, got)
		}
	}
	k.Add("first line\nsecond line\n")
	if got := k.Text("log: first line\nlog: second line\n"); got != "log: "+Mark+"\nlog: "+Mark+"\n" {
		t.Errorf("lines of a value left %q", got)
	}
	if got := k.Text("abc"); got != "abc" {
		t.Errorf("three letters are looked for: %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("password = x")
	f.Add(`{"token":"a\"b"}`)
	f.Add("-----BEGIN PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, s string) {
		// Whatever is around it, a token in full never passes.
		const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
		if got := Text(s + " " + jwt); strings.Contains(got, jwt) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestSettingsHideTheWholeValue(t *testing.T) {
	got := Settings("[a]\nurl = https://host\npassword = correct horse battery\n# api_key: an old one\nname = staple\n")
	want := "[a]\nurl = https://host\npassword = [redacted]\n# api_key: [redacted]\nname = staple\n"
	if got != want {
		t.Errorf("got %q", got)
	}
}
