package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
)

// What may be wrong with the identity file. Each error of ReadIdentity is one
// of these, behind the file's name and before the cause.
var (
	// ErrNoFile is also fs.ErrNotExist.
	ErrNoFile     error = kind{"no identity file", fs.ErrNotExist}
	ErrUnreadable       = errors.New("identity file cannot be read")
	ErrTooLarge         = errors.New("file is too large")
	ErrEmpty            = errors.New("identity file is empty")
	// ErrDamaged is a file of zeros, as a power cut leaves it, or one with
	// other bytes that are no text where it matters.
	ErrDamaged    = errors.New("identity file is damaged")
	ErrNoToken    = errors.New("identity file has no mqtt_username")
	ErrEmptyToken = errors.New("mqtt_username is empty")
	// ErrSeveralTokens is a warning: a token is used all the same.
	ErrSeveralTokens = errors.New("several different values of mqtt_username")
)

// kind is a sentinel that is also one of the standard library's.
type kind struct {
	text string
	is   error
}

func (k kind) Error() string { return k.text }
func (k kind) Unwrap() error { return k.is }

// An IdentityFile is what the vendor's file says about the device. It prints
// without its secrets.
type IdentityFile struct {
	Token    string // mqtt_username: never empty
	Password string
	CPUID    string
	UUID     string
	DeviceID string
	// Warning, if not nil, is ErrSeveralTokens and says which one Token is.
	Warning error
}

// String names what is there and shows the last characters of the token.
func (f IdentityFile) String() string {
	password := "none"
	if f.Password != "" {
		password = "set"
	}
	return fmt.Sprintf("token %s, password %s, cpu_id %q, uuid %q, device_id %q",
		redact(f.Token), password, f.CPUID, f.UUID, f.DeviceID)
}

// GoString keeps %#v from showing the secrets.
func (f IdentityFile) GoString() string { return "conf.IdentityFile{" + f.String() + "}" }

// LogValue keeps logs from showing the secrets.
func (f IdentityFile) LogValue() slog.Value { return slog.StringValue(f.String()) }

// MarshalJSON keeps what is sent elsewhere from showing the secrets.
func (f IdentityFile) MarshalJSON() ([]byte, error) {
	return []byte(strconv.Quote("redacted")), nil
}

func redact(token string) string {
	const tail = 6
	if len(token) < 4*tail {
		return "..."
	}
	return "..." + token[len(token)-tail:]
}

const tokenKey = "mqttusername"

// ReadIdentity reads the vendor's file at path. Keys may be in any section or
// in none, in any case, with or without - and _. If mqtt_username has several
// different values, the last that is shaped like a JSON Web Token is used, else
// the last, and Warning says so.
func ReadIdentity(path string) (IdentityFile, error) {
	src, err := readFile(path)
	if err != nil {
		return IdentityFile{}, fmt.Errorf("%s: %w", path, unreadable(err))
	}
	f, err := parseIdentity(src)
	if err != nil {
		return IdentityFile{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// unreadable turns the error of a system call into one of ours.
func unreadable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %v", ErrNoFile, cause(err))
	case errors.Is(err, ErrTooLarge):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreadable, err)
}

func parseIdentity(src []byte) (f IdentityFile, err error) {
	d, err := parseText(src)
	if err != nil {
		return f, err
	}
	lines, warning, err := d.tokenLines()
	if err != nil {
		return f, err
	}
	f.Token, f.Warning = d.lines[lines[0]].token(), warning
	if strings.ContainsFunc(f.Token, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return IdentityFile{}, fmt.Errorf("%w: mqtt_username in line %d holds control characters", ErrDamaged, lines[0]+1)
	}
	for name, p := range map[string]*string{
		"mqttpassword": &f.Password, "cpuid": &f.CPUID, "uuid": &f.UUID, "deviceid": &f.DeviceID,
	} {
		for _, i := range d.find(name) {
			if v := d.lines[i].value(); v != "" {
				*p = v
			}
		}
	}
	return f, nil
}

// parseText is ParseDocument for what must be text that ini.v1 reads alike.
func parseText(src []byte) (*Document, error) {
	if len(bytes.TrimSpace(bytes.TrimPrefix(src, utf8BOM))) == 0 {
		return nil, ErrEmpty
	}
	if n := bytes.Count(src, []byte{0}); n > 0 {
		return nil, fmt.Errorf("%w: %d of its %d bytes are zero", ErrDamaged, n, len(src))
	}
	d := ParseDocument(src)
	if len(d.lines) > maxLines {
		return nil, fmt.Errorf("%w: %d lines, more than %d", ErrTooLarge, len(d.lines), maxLines)
	}
	return d, d.agree()
}

// find returns the lines whose key is name, spelt as plainKey spells it.
func (d *Document) find(name string) (lines []int) {
	for i, l := range d.lines {
		if l.kind == entry && plainKey(l.key) == name {
			lines = append(lines, i)
		}
	}
	return lines
}

// plainKey makes MQTT_USERNAME, mqtt-username, mqttUsername and the shell's
// export mqtt_username one.
func plainKey(key string) string {
	key = strings.TrimPrefix(strings.ToLower(key), "export ")
	return strings.NewReplacer("-", "", "_", "").Replace(strings.TrimSpace(key))
}

func (l line) token() string { return strings.TrimSpace(l.value()) }

// tokenLines returns the lines that hold the token in use.
func (d *Document) tokenLines() (lines []int, warning, err error) {
	all := d.find(tokenKey)
	if len(all) == 0 {
		return nil, nil, ErrNoToken
	}
	used := -1
	for _, i := range all {
		token := d.lines[i].token()
		if token != "" && (used < 0 || looksLikeJWT(token) || !looksLikeJWT(d.lines[used].token())) {
			used = i
		}
	}
	if used < 0 {
		return all[len(all)-1:], nil, fmt.Errorf("%w in line %d", ErrEmptyToken, all[len(all)-1]+1)
	}
	for _, i := range all {
		switch d.lines[i].token() {
		case d.lines[used].token():
			lines = append(lines, i)
		case "":
		default:
			warning = fmt.Errorf("%w: the one in line %d is used", ErrSeveralTokens, used+1)
		}
	}
	return lines, warning, nil
}

// looksLikeJWT reports three parts of base64url between dots, of which the last
// may be empty.
func looksLikeJWT(s string) bool {
	parts := strings.Split(s, ".")
	return len(parts) == 3 && parts[0] != "" && parts[1] != "" &&
		!strings.ContainsFunc(strings.Join(parts, ""), func(r rune) bool {
			return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '=')
		})
}
