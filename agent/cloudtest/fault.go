package cloudtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault names one thing that the Cloud can do wrong, or differently from
// its default where the vendor's documents leave the truth open.
type Fault string

// The faults of answers to API requests. Their Switch may be limited to some
// operations; see Operations.
const (
	Unreachable     Fault = "unreachable"
	Latency         Fault = "latency"
	CaptivePortal   Fault = "captive-portal"
	TooManyRequests Fault = "too-many-requests"
	ServerError     Fault = "server-error"
	HTMLError       Fault = "html-error"
	LostAnswer      Fault = "lost-answer"
	TruncatedJSON   Fault = "truncated-json"
	WrongTypes      Fault = "wrong-types"
	StringIDs       Fault = "string-ids"
	NoDate          Fault = "no-date"
	WrongDate       Fault = "wrong-date"
)

// The faults of the token's renewal.
const (
	LoginRefused      Fault = "login-refused"
	LoginWithoutToken Fault = "login-without-token"
	LoginSameToken    Fault = "login-same-token"
	RevokeRenewed     Fault = "revoke-renewed"
	UnlimitedGrace    Fault = "unlimited-grace"
)

// The faults of OTA files and of data files.
const (
	OddFields             Fault = "odd-fields"
	ShuffledList          Fault = "shuffled-list"
	NoRange               Fault = "no-range"
	WrongRange            Fault = "wrong-range"
	NoETag                Fault = "no-etag"
	WeakETag              Fault = "weak-etag"
	NoLastModified        Fault = "no-last-modified"
	NoLength              Fault = "no-length"
	RedirectFiles         Fault = "redirect-files"
	SlowBody              Fault = "slow-body"
	CutBody               Fault = "cut-body"
	WithdrawnDownloadable Fault = "withdrawn-downloadable"
	CutUpload             Fault = "cut-upload"
	NoSecondPut           Fault = "no-second-put"
)

// The faults of the broker.
const (
	RefuseConnect Fault = "refuse-connect"
	BadUserCode   Fault = "bad-user-code"
	KickConnect   Fault = "kick-connect"
	Silent        Fault = "silent"
	RefuseFilters Fault = "refuse-filters"
	Forbidden     Fault = "forbidden"
	KeepExpired   Fault = "keep-expired"
)

// FaultInfo describes a Fault for people: flags, the admin API and the manual
// are made of it.
type FaultInfo struct {
	Name    Fault
	Doc     string
	Arg     string // what the argument is, empty for none
	Default string // the argument when none is given
	check   func(arg string) error
}

// Faults is the table of all faults.
var Faults = []FaultInfo{
	{Unreachable, "cut connections, HTTP and MQTT, instead of answering", "", "", nil},
	{Latency, "wait before answering", "duration", "1s", isDuration},
	{CaptivePortal, "answer like the portal of a Wi-Fi network: a redirect, or its page with status 200", "redirect or page", "redirect", oneOf("redirect", "page")},
	{TooManyRequests, "answer 429; with Retry-After when a duration is given", "duration or none", "none", isDurationOrNone},
	{ServerError, "answer with a 5xx status and no useful body", "status", "503", isStatus},
	{HTMLError, "answer with a status and a page of HTML", "status", "502", isStatus},
	{LostAnswer, "do what was asked and cut the connection instead of answering", "", "", nil},
	{TruncatedJSON, "send half of a JSON answer", "", "", nil},
	{WrongTypes, "send JSON whose values have other types", "", "", nil},
	{StringIDs, "send ids as strings", "", "", nil},
	{NoDate, "leave the Date header out", "", "", nil},
	{WrongDate, "send a Date that is off, with tokens judged by the true time", "duration", "24h", isDuration},
	{LoginRefused, "refuse POST /loginDevice whatever the token", "status", "401", isStatus},
	{LoginWithoutToken, "answer POST /loginDevice with 200 and no token, always", "", "", nil},
	{LoginSameToken, "answer POST /loginDevice with 201 and the token that was sent", "", "", nil},
	{RevokeRenewed, "refuse a token once it has been renewed", "", "", nil},
	{UnlimitedGrace, "renew a token however long ago it expired", "", "", nil},
	{OddFields, "list OTA files with isActive as 0 or 1, null fields and dates without a time", "", "", nil},
	{ShuffledList, "list OTA files in an order of no meaning", "", "", nil},
	{NoRange, "ignore the Range of a download", "", "", nil},
	{WrongRange, "answer a Range with a part that starts elsewhere", "bytes", "1", isSize},
	{NoETag, "send OTA files without an ETag", "", "", nil},
	{WeakETag, "send OTA files with a weak ETag", "", "", nil},
	{NoLastModified, "send OTA files without Last-Modified", "", "", nil},
	{NoLength, "send OTA files without Content-Length", "", "", nil},
	{RedirectFiles, "redirect downloads of OTA files to another host", "", "", nil},
	{SlowBody, "send OTA files slowly", "bytes per second", "65536", isSize},
	{CutBody, "cut the connection after so many bytes of an OTA file", "bytes", "65536", isSize},
	{WithdrawnDownloadable, "let withdrawn OTA files be downloaded", "", "", nil},
	{CutUpload, "cut the connection after so many bytes of an upload", "bytes", "0", isSize},
	{NoSecondPut, "refuse content for a data file that has some", "", "", nil},
	{RefuseConnect, "refuse CONNECT with a code", "3, 4 or 5", "5", oneOf("3", "4", "5")},
	{BadUserCode, "refuse a bad token with code 4 instead of 5", "", "", nil},
	{KickConnect, "close an MQTT connection right after CONNACK", "", "", nil},
	{Silent, "fall silent after CONNACK, as if the line were cut: half-open", "", "", nil},
	{RefuseFilters, "refuse every SUBSCRIBE with 0x80", "", "", nil},
	{Forbidden, "ignore forbidden topics, or disconnect who uses them; default: SUBACK 0x80, PUBLISH acknowledged and dropped", "ignore or disconnect", "disconnect", oneOf("ignore", "disconnect")},
	{KeepExpired, "keep MQTT sessions past the expiry of their token", "", "", nil},
}

// brokerFaults happen to MQTT connections, which are no operations.
var brokerFaults = []Fault{RefuseConnect, BadUserCode, KickConnect, Silent, RefuseFilters, Forbidden, KeepExpired}

// Operations are the names by which a Switch can be limited to some requests.
var Operations = []string{"login", "device", "ota-list", "ota-file", "data-create", "data-put", "files", "v1"}

type rule struct {
	Switch
	seen int // for every
}

// Set turns a fault on or off. It returns an error for an unknown fault, a bad
// argument or an unknown operation.
func (c *Cloud) Set(name Fault, s Switch) error {
	i := slices.IndexFunc(Faults, func(f FaultInfo) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("fault %q: there is none of that name", name)
	}
	info := Faults[i]
	switch {
	case s.arg == "":
		s.arg = info.Default
	case info.check == nil:
		return fmt.Errorf("fault %s: takes no argument, got %q", name, s.arg)
	}
	if info.check != nil {
		if err := info.check(s.arg); err != nil {
			return fmt.Errorf("fault %s: argument %q: want %s", name, s.arg, info.Arg)
		}
	}
	if len(s.ops) > 0 && slices.Contains(brokerFaults, name) {
		return fmt.Errorf("fault %s: cannot be limited to operations", name)
	}
	for _, op := range s.ops {
		if !slices.Contains(Operations, op) {
			return fmt.Errorf("fault %s: operation %q: want %s", name, op, strings.Join(Operations, ", "))
		}
	}
	c.mu.Lock()
	c.faults[name] = &rule{Switch: s}
	c.mu.Unlock()
	switch {
	case name == Unreachable && s.certain() && len(s.ops) == 0:
		c.Drop()
		c.dropHTTP()
	case name == Silent && s.certain():
		c.mute()
	case name == KeepExpired:
		c.each(c.watchExpiry)
	}
	return nil
}

// MustSet is Set for tests, in which a bad switch is a mistake: it panics.
func (c *Cloud) MustSet(name Fault, s Switch) {
	if err := c.Set(name, s); err != nil {
		panic("cloudtest: " + err.Error())
	}
}

// Switches returns the position of every fault that is not off.
func (c *Cloud) Switches() map[Fault]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	on := map[Fault]string{}
	for name, r := range c.faults {
		if s := r.String(); s != "off" {
			on[name] = s
		}
	}
	return on
}

// hit decides whether the fault happens to this operation, and with what
// argument. It counts, so it is asked once for each chance.
func (c *Cloud) hit(name Fault, op string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roll(name, op)
}

func (c *Cloud) roll(name Fault, op string) (string, bool) {
	r := c.faults[name]
	if r == nil || len(r.ops) > 0 && !slices.Contains(r.ops, op) {
		return "", false
	}
	switch {
	case r.times < 0:
	case r.times > 0:
		r.times--
	case r.every > 0:
		if r.seen++; r.seen%r.every != 0 {
			return "", false
		}
	case r.share > 0:
		if c.rand.Float64() >= r.share {
			return "", false
		}
	default:
		return "", false
	}
	return r.arg, true
}

func isDuration(s string) error { _, err := time.ParseDuration(s); return err }

func isDurationOrNone(s string) error {
	if s == "none" {
		return nil
	}
	return isDuration(s)
}

func isSize(s string) error { _, err := strconv.ParseUint(s, 10, 62); return err }

func isStatus(s string) error {
	n, err := strconv.Atoi(s)
	if err == nil && (n < 400 || n > 599 || http.StatusText(n) == "") {
		err = strconv.ErrRange
	}
	return err
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return strconv.ErrSyntax
		}
		return nil
	}
}
