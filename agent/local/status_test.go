package local

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"time"
)

// fill sets every field below v to something that is not zero.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 19, 30, 0, 987654321, time.FixedZone("", 3600))))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("text")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(7)
	case v.CanFloat():
		v.SetFloat(1.5)
	}
}

// TestStatusIsStable keeps the names and forms that programs rely on. A change
// of the golden file that is more than an addition needs another Schema.
func TestStatusIsStable(t *testing.T) {
	var s Status
	fill(reflect.ValueOf(&s).Elem())
	s.tidy()
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/status.json", append(got, '\n'))
}

func TestTheLeastStatus(t *testing.T) {
	var s Status
	s.tidy()
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/status-least.json", append(got, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant %s\n%s", got, name, want)
	}
}

func TestTimesFitTheWire(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   time.Time
		want string
	}{
		{"another zone", time.Date(2026, 11, 22, 19, 30, 0, 999, time.FixedZone("", 3600)), "2026-11-22T18:30:00Z"},
		{"year 100000", time.Date(100000, 1, 1, 0, 0, 0, 0, time.UTC), "9999-12-31T23:59:59Z"},
		{"the last exp there is", time.Unix(1<<62, 0), "9999-12-31T23:59:59Z"},
		{"before Christ", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), "0001-01-01T00:00:01Z"},
		{"unknown", time.Time{}, "0001-01-01T00:00:00Z"},
		{"end of 9999 elsewhere", time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), "9999-12-31T23:59:59Z"},
	} {
		b, err := wireTime(tt.in).MarshalText()
		if err != nil || string(b) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, b, err, tt.want)
		}
	}
}

func TestStatusTellsNoToken(t *testing.T) {
	s := Status{Token: Token{LastError: `login with "eyJhbGciOiJIUzI1NiJ9.e30.s3cret": 401`}}
	line, err := jsonLine(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Status
	if err := json.Unmarshal(line, &back); err != nil || back.Token.LastError != `login with "[redacted]": 401` {
		t.Errorf("got %q, %v", back.Token.LastError, err)
	}
}
