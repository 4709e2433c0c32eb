package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// An AccountSetting is one key of a file of accounts.d as its manual describes
// it.
type AccountSetting struct {
	Section string // account, or deliver.ID for any number of sections
	Key     string
	Default string // as one would write it; empty: see Doc
	Allowed string // which values, in a few words
	Doc     string // what it is for, in a sentence

	at func(accountScope) value
}

// An accountScope is where the value of a setting lives.
type accountScope struct {
	account *Account
	deliver *Deliver
}

// AccountSettings returns every setting of accounts.d in the order of the
// manual.
func AccountSettings() []AccountSetting { return slices.Clone(accountTable) }

var accountTable = slices.Concat([]AccountSetting{
	{"account", "profile", "", "beacon-tower, bace, placeos, beamery, spoke-zone-user or oauth2",
		"Which kind of cloud it is.",
		func(s accountScope) value {
			return checked{textValue{&s.account.Profile, 64}, matches(profileName, "no profile")}
		}},
	{"account", "url", "", "https://HOST[:PORT][/PATH]; http:// to a loopback address",
		"Where the cloud's calls begin; if empty the profile's own address.",
		func(s accountScope) value { return baseURL{&s.account.URL} }},
	{"account", "ca_file", "", "an absolute path",
		"Certificates in PEM that the cloud's server is judged by; if empty the system's.",
		func(s accountScope) value { return pathValue{p: &s.account.CAFile, optional: true} }},
	{"account", "username", "", "up to 256 printable characters",
		"The user that the account belongs to.",
		func(s accountScope) value { return textValue{&s.account.Username, 256} }},
	{"account", "client_id", "", "up to 256 printable characters",
		"The client that the cloud has registered.",
		func(s accountScope) value { return textValue{&s.account.ClientID, 256} }},
	{"account", "scope", "", "words separated by spaces",
		"What the token is asked to permit; less than that is reported.",
		func(s accountScope) value { return textValue{&s.account.Scope, 1024} }},
	{"account", "token_path", "", "/PATH",
		"The path of the token call of the oauth2 profile; if empty /oauth/token.",
		func(s accountScope) value {
			return checked{textValue{&s.account.TokenPath, 256}, matches(callPath, "no path")}
		}},
	{"account", "probe_path", "", "/PATH",
		"The path of a call that the account is allowed, by which a token is tried; if empty the profile's.",
		func(s accountScope) value {
			return checked{textValue{&s.account.ProbePath, 256}, matches(callPath, "no path")}
		}},
	{"account", "send", "header", "header, parameter or cookie",
		"How requests carry the token, where the cloud takes it in several ways, as placeos does.",
		func(s accountScope) value {
			return checked{textValue{&s.account.Send, 16}, matches(sendWord, "no way to send a token")}
		}},
	{"account", "redirect_uri", "", "a URL",
		"The address that the client was registered with, for login; if empty one on this machine.",
		func(s accountScope) value { return textValue{&s.account.RedirectURI, 1024} }},
},
	secretSettings("password", "The user's password", func(a *Account) *Secret { return &a.Password }),
	secretSettings("client_secret", "The client's secret", func(a *Account) *Secret { return &a.ClientSecret }),
	secretSettings("api_key", "A key that the cloud takes instead of a token", func(a *Account) *Secret { return &a.APIKey }),
	[]AccountSetting{
		{"deliver.ID", "file", "", "an absolute path",
			"The file that holds the token.",
			func(s accountScope) value { return pathValue{p: &s.deliver.File} }},
		{"deliver.ID", "format", "raw", "raw, json, env:NAME or ini:SECTION.KEY",
			"How the file holds it.",
			func(s accountScope) value { return checked{textValue{&s.deliver.Format, 300}, checkFormat} }},
		{"deliver.ID", "mode", "0640", "three octal digits after a 0",
			"The file's permissions.",
			func(s accountScope) value { return modeValue{&s.deliver.Mode} }},
		{"deliver.ID", "owner", "", "a user's name or number",
			"Whom the file belongs to; if empty the daemon's user.",
			func(s accountScope) value { return checked{textValue{&s.deliver.Owner, 64}, checkGroup} }},
		{"deliver.ID", "group", "", "a group's name or number",
			"The file's group; if empty the daemon's.",
			func(s accountScope) value { return checked{textValue{&s.deliver.Group, 64}, checkGroup} }},
		{"deliver.ID", "notify", "", "a program and its arguments, signal:PIDFILE:HUP or reload:UNIT",
			"What is told after the token has changed.",
			func(s accountScope) value { return notifyValue{argvValue{&s.deliver.Notify}} }},
	})

// secretSettings are the three ways to give one secret.
func secretSettings(key, doc string, at func(*Account) *Secret) []AccountSetting {
	one := "one of " + key + ", " + key + "_file and " + key + "_credential"
	row := func(suffix, doc string, source secretSource) AccountSetting {
		return AccountSetting{"account", key + suffix, "", one, doc,
			func(s accountScope) value { return secretValue{at(s.account), source} }}
	}
	return []AccountSetting{
		row("", doc+", where this file is root's alone.", inline),
		row("_file", doc+" in a file that is root's alone.", inFile),
		row("_credential", doc+" as the credential of that name of the daemon's unit (systemd.exec(5), LoadCredential=).", inCredential),
	}
}

// matches checks a text against a pattern.
func matches(pattern interface{ MatchString(string) bool }, what string) func(string) error {
	return func(s string) error {
		if !pattern.MatchString(s) {
			return fmt.Errorf("%s is %s", short(s), what)
		}
		return nil
	}
}

func checkFormat(s string) error {
	if !isFormat(s) {
		return fmt.Errorf("%s is no format", short(s))
	}
	return nil
}

type modeValue struct{ p *fs.FileMode }

func (v modeValue) text() string { return fmt.Sprintf("%04o", *v.p) }

func (v modeValue) parse(s string) error {
	if !octalMode.MatchString(s) {
		return fmt.Errorf("%s is no mode", short(s))
	}
	n, err := strconv.ParseUint(s, 8, 16)
	if err != nil {
		return fmt.Errorf("%s is no mode", short(s))
	}
	*v.p = fs.FileMode(n)
	return nil
}

type notifyValue struct{ argvValue }

func (v notifyValue) parse(s string) error {
	var argv []string
	if err := (argvValue{&argv}).parse(s); err != nil {
		return err
	}
	if err := checkNotify(argv); err != nil {
		return err
	}
	*v.p = argv
	return nil
}

func checkNotify(argv []string) error {
	if len(argv) == 0 {
		return nil
	}
	unit, reload := strings.CutPrefix(argv[0], "reload:")
	switch {
	case reload || strings.HasPrefix(argv[0], "signal:"):
		if len(argv) > 1 || !signalWord.MatchString(argv[0]) && !(reload && unitName.MatchString(unit)) {
			return fmt.Errorf("%s is not understood", short(argv[0]))
		}
	case !strings.HasPrefix(argv[0], "/"):
		return errors.New("the program is named without its full path")
	}
	return nil
}
