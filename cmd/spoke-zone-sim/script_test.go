package main

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){name: main})
}

func TestScripts(t *testing.T) {
	s := start(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv(urlVariable, s.Admin)
			for name, url := range s.Clouds {
				env.Setenv(strings.ReplaceAll(name, "-", "_"), url)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"form": form, "ask": ask},
	})
}

// form posts form data, NAME=VALUE..., to a URL and prints the answer.
func form(ts *testscript.TestScript, neg bool, args []string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		ts.Check(w.WriteField(name, value))
	}
	ts.Check(w.Close())
	exchange(ts, neg, "POST", args[0], w.FormDataContentType(), &b)
}

// ask posts a text of JSON to a URL and prints the answer.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	exchange(ts, neg, "POST", args[0], "application/json", strings.NewReader(args[1]))
}

// exchange prints status, headers of a rate limit, and body.
func exchange(ts *testscript.TestScript, neg bool, method, where, typ string, body io.Reader) {
	_, err := url.Parse(where)
	ts.Check(err)
	r, err := http.NewRequestWithContext(context.Background(), method, where, body)
	ts.Check(err)
	r.Header.Set("Content-Type", typ)
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	out := ts.Stdout()
	io.WriteString(out, resp.Status+"\n")
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "X-Ratelimit-") {
			io.WriteString(out, name+": "+values[0]+"\n")
		}
	}
	out.Write(append(text, '\n'))
	if bad := resp.StatusCode >= 400; bad != neg {
		ts.Fatalf("%s %s: %s: %s", method, where, resp.Status, text)
	}
}
