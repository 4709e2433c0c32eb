package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSecret bounds a secret, in bytes.
const maxSecret = 16 << 10

var credentialName = newForm(255, `^[A-Za-z0-9_.-]+$`)

// A Secret is where a password or a key is: in an account's own file, in a file
// that is root's alone, or among the credentials of the daemon's unit. It does
// not print what it holds.
type Secret struct {
	value      string
	File       string // an absolute path
	Credential string // a name
}

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s == Secret{} }

// String names the place alone.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "secret in " + s.File
	case s.Credential != "":
		return "credential " + s.Credential
	case s.value != "":
		return "secret in the account's file"
	}
	return "no secret"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON is String in JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Read returns the secret, "" if there is none. It is read anew each time, so
// that one that was replaced is used. credentials is the directory of the
// unit's credentials (systemd.exec(5), $CREDENTIALS_DIRECTORY), "" if the unit
// has none. A line's end behind the secret does not belong to it.
func (s Secret) Read(credentials string) (string, error) {
	path := s.File
	switch {
	case s.Credential != "" && credentials == "":
		return "", fmt.Errorf("credential %s: the unit has no credentials: LoadCredential=%s:PATH", s.Credential, s.Credential)
	case s.Credential != "": // its directory is the unit's alone
		path = filepath.Join(credentials, s.Credential)
	case s.File != "":
		if err := private(path); err != nil {
			return "", fmt.Errorf("%s %w", path, err)
		}
	default:
		return s.value, nil
	}
	data, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %s", path, cause(err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		return "", fmt.Errorf("%s is empty", path)
	case len(text) > maxSecret || !printable(text):
		return "", fmt.Errorf("%s holds what is no secret of one line", path)
	}
	return text, nil
}

// private is an error unless the file belongs to root or to us and nobody else
// may read it.
func private(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to the user %d", st.Uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("can be read by others: its mode is %04o", st.Mode&0o777)
	}
	return nil
}

type secretSource uint8

const (
	inline secretSource = iota
	inFile
	inCredential
)

// A secretValue is one of the three ways to give a secret.
type secretValue struct {
	p      *Secret
	source secretSource
}

func (v secretValue) text() string { return "" }

// parse repeats nothing of s, which may be the secret itself.
func (v secretValue) parse(s string) error {
	if s == "" {
		return nil // as if it were not there
	}
	if !v.p.IsZero() {
		return errors.New("is a second source of the same secret")
	}
	switch v.source {
	case inFile:
		if (pathValue{p: &v.p.File}).parse(s) != nil {
			return errors.New("is no absolute path")
		}
		return nil
	case inCredential:
		if !credentialName.MatchString(s) || strings.Trim(s, ".") == "" {
			return errors.New("is no name of a credential")
		}
		v.p.Credential = s
		return nil
	}
	if len(s) > maxSecret || !printable(s) {
		return errors.New("is no secret of one line")
	}
	v.p.value = s
	return nil
}
