package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// maxAccounts bounds the accounts of one device.
const maxAccounts = 64

// An Account is one file of accounts.d: a cloud beside the device's own, and
// where its token is delivered.
type Account struct {
	Name         string // of the file, without .conf
	File         string
	Profile      string // which kind of cloud it is
	URL          string // without a slash at its end; empty: the profile's
	CAFile       string // PEM; empty: the system's roots
	Username     string
	Password     Secret
	ClientID     string
	ClientSecret Secret
	APIKey       Secret
	Scope        string
	TokenPath    string    // of the oauth2 profile's token call
	Send         string    // how requests carry the token; empty: in the profile's header
	ProbePath    string    // of a call that the account is known to be allowed
	RedirectURI  string    // that the client is registered with; empty: a loopback address
	Deliver      []Deliver // in the order of the file
}

// Equal reports whether a and b hold the same settings.
func (a Account) Equal(b Account) bool { return reflect.DeepEqual(a, b) }

// Deliver says how one local program gets the account's token.
type Deliver struct {
	ID     string
	File   string // an absolute path; empty: no file
	Format string // raw, json, env:NAME or ini:SECTION.KEY
	Mode   fs.FileMode
	Owner  string // name or number; empty: as the daemon
	Group  string
	Notify []string // argv, or one word signal:PIDFILE:NAME or reload:UNIT
}

const deliverSection = "deliver."

var (
	accountName = newForm(64, `^[a-z0-9][a-z0-9_-]*$`)
	profileName = newForm(64, `^[a-z0-9-]+$`)
	octalMode   = regexp.MustCompile(`^0?[0-7]{3}$`)
	sendWord    = regexp.MustCompile(`^(header|parameter|cookie)$`)
	signalWord  = regexp.MustCompile(`^signal:/[^:]+:(HUP|USR1|USR2|TERM|INT)$`)
	unitName    = newForm(255, `^[A-Za-z0-9:_.@\\-]+$`)
	callPath    = newForm(256, `^/[A-Za-z0-9_./-]*$`)
)

// LoadAccounts reads the files dir/*.conf in the order of their names. A file
// with a fault is left out and the others are not: one bad account never
// disturbs another. The error is a Faults with all that is wrong. No directory
// is no account.
func LoadAccounts(dir string) ([]Account, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var faults Faults
	if err != nil {
		return nil, append(faults, Fault{File: dir, Problem: cause(err)})
	}
	var all []Account
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".conf")
		if !ok || hidden(e.Name()) {
			continue
		}
		file := filepath.Join(dir, e.Name())
		if len(all) == maxAccounts {
			faults = append(faults, Fault{File: file, Problem: fmt.Sprintf("is one more than the %d accounts of a device", maxAccounts)})
			break
		}
		a, bad := readAccount(base, file)
		if faults = append(faults, bad...); len(bad) == 0 {
			all = append(all, a)
		}
	}
	if len(faults) > 0 {
		return all, faults
	}
	return all, nil
}

// readAccount reads one file.
func readAccount(name, file string) (Account, Faults) {
	r := accountReader{reader: reader{}, account: Account{Name: name, File: file}, seen: map[string]int{}}
	switch {
	case !accountName.MatchString(name):
		r.fault(place{file: file}, "", short(name)+" is no name of an account", "lowercase letters, digits, _ and -, at most 64, before .conf")
	case name == "device":
		r.fault(place{file: file}, "", "device is the name of the device's own account", "another name")
	}
	src, err := readFile(file)
	if err != nil {
		r.fault(place{file: file}, "", cause(err), "")
		return r.account, r.faults
	}
	r.read(src)
	if r.account.Profile == "" && len(r.faults) == 0 {
		r.fault(place{file: file}, "account.profile", "is missing", "the name of a profile, such as oauth2")
	}
	if r.account.literal() && len(r.faults) == 0 {
		if err := private(file); err != nil {
			r.fault(place{file: file}, "", "holds a secret and "+err.Error(), "mode 0600, owned by root")
		}
	}
	return r.account, r.faults
}

// literal reports whether the account's file itself holds a secret.
func (a *Account) literal() bool {
	return a.Password.value != "" || a.ClientSecret.value != "" || a.APIKey.value != ""
}

// An accountReader reads one file of accounts.d.
type accountReader struct {
	reader
	account Account
	seen    map[string]int // section.key: its line
}

func (r *accountReader) read(src []byte) {
	file := r.account.File
	if slices.Contains(src, 0) {
		r.fault(place{file: file}, "", "holds a zero byte", "text")
		return
	}
	d := ParseDocument(src)
	if len(d.lines) > maxLines {
		r.fault(place{file, maxLines + 1}, "", "has too many lines", fmt.Sprintf("at most %d", maxLines))
		return
	}
	for i, l := range d.lines {
		at := place{file, i + 1}
		switch l.kind {
		case header:
			r.section(at, l.section)
		case junk: // it may be half a secret: it is not repeated
			r.fault(at, "", "is no setting", "[section], or key = value")
		case entry:
			r.entry(at, l)
		}
	}
}

func (r *accountReader) section(at place, name string) {
	id, ok := strings.CutPrefix(name, deliverSection)
	switch {
	case name == "account":
	case !ok:
		r.fault(at, "["+name+"]", "is no section", "account, deliver.ID")
	case !accountName.MatchString(id):
		r.fault(at, "["+name+"]", short(id)+" is no name of a delivery", "lowercase letters, digits, _ and -, at most 64")
	case len(r.account.Deliver) >= maxAccounts:
		r.fault(at, "["+name+"]", "is one delivery too many", fmt.Sprintf("at most %d", maxAccounts))
	case r.deliver(id) == nil:
		r.account.Deliver = append(r.account.Deliver, Deliver{ID: id, Format: "raw", Mode: 0o640})
	}
}

func (r *accountReader) deliver(id string) *Deliver {
	i := slices.IndexFunc(r.account.Deliver, func(d Deliver) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return &r.account.Deliver[i]
}

func (r *accountReader) entry(at place, l line) {
	name := l.section + "." + l.key
	section, s := l.section, accountScope{account: &r.account}
	if id, ok := strings.CutPrefix(section, deliverSection); ok {
		section, s.deliver = "deliver.ID", r.deliver(id)
		if s.deliver == nil {
			return // its section is a fault already
		}
	} else if section != "account" {
		if section == "" {
			r.fault(at, l.key, "stands before any section", "[account]")
		}
		return
	}
	i := slices.IndexFunc(accountTable, func(row AccountSetting) bool { return row.Section == section && row.Key == l.key })
	if i < 0 {
		r.fault(at, name, "is no setting", strings.Join(accountKeys(section), ", "))
		return
	}
	if r.seen[name] > 0 {
		r.fault(at, name, fmt.Sprintf("is set on line %d already", r.seen[name]), "once")
		return
	}
	r.seen[name] = at.line
	v := accountTable[i].at(s)
	text := l.value()
	if _, ok := v.(lexed); ok {
		text = l.raw()
	}
	if err := v.parse(text); err != nil {
		r.fault(at, name, err.Error(), accountTable[i].Allowed)
	}
}

func accountKeys(section string) (keys []string) {
	for _, row := range accountTable {
		if row.Section == section {
			keys = append(keys, row.Key)
		}
	}
	return keys
}
