package cloudtest

import (
	"slices"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// A Fault names one thing that the Cloud can do wrong, or differently from
// its default where the vendor's documents leave the truth open.
type Fault = host.Fault

// FaultInfo describes a Fault for people.
type FaultInfo = host.FaultInfo

// A Switch says when a Fault happens. The zero value is off.
type Switch = host.Switch

// Off and Always are the plain positions of a Switch.
var (
	Off    = host.Off
	Always = host.Always
)

// Times makes a fault happen the next n times.
func Times(n int) Switch { return host.Times(n) }

// Every makes a fault happen each n-th time.
func Every(n int) Switch { return host.Every(n) }

// Share makes a fault happen with probability p.
func Share(p float64) Switch { return host.Share(p) }

// ParseSwitch reads WHEN[@ARGUMENT][:OPERATION,...], as host.ParseSwitch does.
func ParseSwitch(text string) (Switch, error) { return host.ParseSwitch(text) }

// The faults of answers to API requests. Their Switch may be limited to some
// operations; see Operations.
const (
	Unreachable           = host.Unreachable
	Latency               = host.Latency
	CaptivePortal         = host.CaptivePortal
	TooManyRequests       = host.TooManyRequests
	ServerError           = host.ServerError
	HTMLError             = host.HTMLError
	LostAnswer            = host.LostAnswer
	TruncatedJSON         = host.TruncatedJSON
	WrongTypes            = host.WrongTypes
	StringIDs       Fault = "string-ids"
	NoDate                = host.NoDate
	WrongDate             = host.WrongDate
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

// Faults is the table of all faults: those of every cloud, then its own.
var Faults = append(slices.Clone(host.Common), []FaultInfo{
	host.Info(StringIDs, "send ids as strings", "", "", nil),
	host.Info(LoginRefused, "refuse POST /loginDevice whatever the token", "status", "401", host.IsStatus),
	host.Info(LoginWithoutToken, "answer POST /loginDevice with 200 and no token, always", "", "", nil),
	host.Info(LoginSameToken, "answer POST /loginDevice with 201 and the token that was sent", "", "", nil),
	host.Info(RevokeRenewed, "refuse a token once it has been renewed", "", "", nil),
	host.Info(UnlimitedGrace, "renew a token however long ago it expired", "", "", nil),
	host.Info(OddFields, "list OTA files with isActive as 0 or 1, null fields and dates without a time", "", "", nil),
	host.Info(ShuffledList, "list OTA files in an order of no meaning", "", "", nil),
	host.Info(NoRange, "ignore the Range of a download", "", "", nil),
	host.Info(WrongRange, "answer a Range with a part that starts elsewhere", "bytes", "1", host.IsSize),
	host.Info(NoETag, "send OTA files without an ETag", "", "", nil),
	host.Info(WeakETag, "send OTA files with a weak ETag", "", "", nil),
	host.Info(NoLastModified, "send OTA files without Last-Modified", "", "", nil),
	host.Info(NoLength, "send OTA files without Content-Length", "", "", nil),
	host.Info(RedirectFiles, "redirect downloads of OTA files to another host", "", "", nil),
	host.Info(SlowBody, "send OTA files slowly", "bytes per second", "65536", host.IsSize),
	host.Info(CutBody, "cut the connection after so many bytes of an OTA file", "bytes", "65536", host.IsSize),
	host.Info(WithdrawnDownloadable, "let withdrawn OTA files be downloaded", "", "", nil),
	host.Info(CutUpload, "cut the connection after so many bytes of an upload", "bytes", "0", host.IsSize),
	host.Info(NoSecondPut, "refuse content for a data file that has some", "", "", nil),
	host.Info(RefuseConnect, "refuse CONNECT with a code", "3, 4 or 5", "5", host.OneOf("3", "4", "5")),
	host.Info(BadUserCode, "refuse a bad token with code 4 instead of 5", "", "", nil),
	host.Info(KickConnect, "close an MQTT connection right after CONNACK", "", "", nil),
	host.Info(Silent, "fall silent after CONNACK, as if the line were cut: half-open", "", "", nil),
	host.Info(RefuseFilters, "refuse every SUBSCRIBE with 0x80", "", "", nil),
	host.Info(Forbidden, "ignore forbidden topics, or disconnect who uses them; default: SUBACK 0x80, PUBLISH acknowledged and dropped", "ignore or disconnect", "disconnect", host.OneOf("ignore", "disconnect")),
	host.Info(KeepExpired, "keep MQTT sessions past the expiry of their token", "", "", nil),
}...)

// brokerFaults happen to MQTT connections, which are no operations.
var brokerFaults = []Fault{RefuseConnect, BadUserCode, KickConnect, Silent, RefuseFilters, Forbidden, KeepExpired}

// Operations are the names by which a Switch can be limited to some requests.
var Operations = []string{"login", "device", "ota-list", "ota-file", "data-create", "data-put", "files", "v1", "user-login", "secrets"}

// Set turns a fault on or off. It returns an error for an unknown fault, a bad
// argument or an unknown operation.
func (c *Cloud) Set(name Fault, s Switch) error {
	if err := c.faults.Set(name, s); err != nil {
		return err
	}
	switch {
	case name == Unreachable && s.Certain() && !s.Limited():
		c.Drop()
		c.serving.Drop()
	case name == Silent && s.Certain():
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
func (c *Cloud) Switches() map[Fault]string { return c.faults.Switches() }

// hit decides whether the fault happens to this operation, and with what
// argument. It counts, so it is asked once for each chance.
func (c *Cloud) hit(name Fault, op string) (string, bool) { return c.faults.Roll(name, op) }
