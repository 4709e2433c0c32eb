package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCredentialNeverPrints(t *testing.T) {
	c := Credential{ClientID: "dev1", Username: "SECRET-TOKEN", Password: "SECRET-PASSWORD", Filters: []Filter{{Topic: "a/#", QoS: 1}}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T", "%10s"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", struct{ C Credential }{c})
		fmt.Fprintf(&out, verb+"\n", []Credential{c})
	}
	fmt.Fprintln(&out, c.String(), c.GoString())
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "cred", c, "ptr", &c)
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"c": c, "p": &c}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"SECRET", fmt.Sprintf("%x", "SECRET"), fmt.Sprintf("%d", []byte("SECRET"))} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("printed %s:\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "dev1") || !strings.Contains(out.String(), "a/#") {
		t.Errorf("client id or filter missing:\n%s", out.String())
	}
}

func TestCredentialCheck(t *testing.T) {
	long := strings.Repeat("x", maxField+1)
	for _, c := range []struct {
		cred  Credential
		clean bool
		want  string
	}{
		{Credential{ClientID: "a", Username: "u", Password: "p"}, false, ""},
		{Credential{ClientID: "a"}, false, ""},
		{Credential{}, true, ""},
		{Credential{ClientID: "a", Username: long[1:], Password: long[1:]}, false, ""},
		{Credential{ClientID: "a", Username: "u", Password: "\xff\x00"}, false, ""},
		{Credential{}, false, "needs a client id"},
		{Credential{ClientID: "a", Username: long}, false, "user name has 65536 bytes"},
		{Credential{ClientID: long}, false, "client id has 65536 bytes"},
		{Credential{ClientID: "a", Username: "u", Password: long}, false, "password has 65536 bytes"},
		{Credential{ClientID: "a", Password: "p"}, false, "without a user name"},
		{Credential{ClientID: "a", Username: "t\xff"}, false, "user name is not UTF-8"},
		{Credential{ClientID: "a", Username: "t\x00"}, false, "zero byte"},
		{Credential{ClientID: "a\x00"}, false, "zero byte"},
	} {
		err := c.cred.check(c.clean)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, errCredential) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("check(%.60v) = %v, want %q", c.cred, err, c.want)
		}
	}
}

func TestFilterCheck(t *testing.T) {
	for topic, want := range map[string]error{
		"a": nil, "#": nil, "+": nil, "a/#": nil, "+/a/+": nil, "/": nil, "a//b": nil, "$SYS/#": nil, "mrs/d/1/ctrl/#": nil,
		"": ErrTopic, "a#": ErrTopic, "#/a": ErrTopic, "a/#/b": ErrTopic, "a+": ErrTopic, "a/b+/c": ErrTopic, "++": ErrTopic,
		"a\x00": ErrTopic, "a\xff": ErrTopic, strings.Repeat("x", maxField+1): ErrTopic,
	} {
		if err := (Filter{Topic: topic, QoS: 1}).check(); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("check(%.40q) = %.80v, want %v", topic, err, want)
		}
	}
	if err := (Filter{Topic: "a", QoS: 2}).check(); !errors.Is(err, ErrQoS) {
		t.Errorf("QoS 2: %v", err)
	}
}
