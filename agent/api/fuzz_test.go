package api

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzOTAFiles(f *testing.F) {
	for _, s := range []string{
		`[]`, `[{"id":7,"module":"display","version":"1.3.0","isActive":true,"createdDate":"2026-01-01"}]`,
		`[{"id":"..","module":"m","version":"1"},null,7,[[]],{"id":1e9}]`, `{"errors":[]}`, `<html>`, `[{"id":"\u0000"}]`, `[1`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		files, err := decodeOTAFiles(body)
		if (files == nil) != (err != nil) || len(files) > maxElements {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for i, file := range files {
			if file.Err != nil {
				if file.Active {
					t.Errorf("element %d is bad and active", i)
				}
				continue
			}
			if checkID(file.ID) != nil || file.Module == "" || file.Version == "" || len(file.Notes) > 3*maxText {
				t.Errorf("element %d: %+v", i, file)
			}
		}
	})
}

func FuzzLogin(f *testing.F) {
	f.Add(200, []byte(`{"status":"ok"}`))
	f.Add(201, []byte(`{"token":"h.p.s"}`))
	f.Add(201, []byte(`{"token":["h.p.s"]}`))
	f.Add(200, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got, err := decodeLogin(status, body)
		if got != "" && (err != nil || checkToken(got) != nil || !visible(got)) {
			t.Errorf("adopted %q with %v", got, err)
		}
		if status == 201 && got == "" && err == nil {
			t.Error("201 without a token passed")
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"errors":[{"type":"invalid-field","message":"m","details":{}}]}`), "secret")
	f.Add([]byte(token), "x")
	f.Add([]byte("a\x1b[0m\u202e\xff"), "")
	f.Fuzz(func(t *testing.T, body []byte, secret string) {
		types, message := decodeErrorBody(body, []string{secret, token})
		for _, text := range append(types, message) {
			if len(text) > maxMessage || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("not a harmless line: %q", text)
			}
			if strings.Contains(text, token) || strings.Contains(text, "eyJhbGci") {
				t.Errorf("repeats a token: %q", text)
			}
			if len(secret) >= 8 && visible(secret) && !strings.Contains(redacted, secret) && strings.Contains(text, secret) && !strings.Contains(strings.ReplaceAll(string(body), secret, ""), secret[:2]) {
				t.Errorf("repeats the secret %q: %q", secret, text)
			}
		}
	})
}
