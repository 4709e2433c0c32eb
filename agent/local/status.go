package local

import (
	"regexp"
	"time"
)

// Schema is the version of the shape of Status. Fields may be added under the
// same number; none is renamed or changes its meaning.
const Schema = 1

// DeviceAccount is the name of the device's own Spoke.Zone account.
const DeviceAccount = "device"

// Status is what the agent says of itself to everybody: GET /v1/status and
// `spoke-zone-agent status --json`. It holds no secret. Times are RFC 3339 in
// UTC and absent when unknown; sizes are bytes.
type Status struct {
	Schema   int       `json:"schema"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started,omitzero"`
	Settings Settings  `json:"settings"`
	Identity Identity  `json:"identity"`
	Token    Token     `json:"token"`
	MQTT     MQTT      `json:"mqtt"`
	Outbox   Outbox    `json:"outbox"`

	Commands    Commands    `json:"commands"`
	Diagnostics Diagnostics `json:"diagnostics"`
	Location    Location    `json:"location"`
	Bridge      *Bridge     `json:"bridge,omitempty"` // if the settings name its file

	OTA      []Module  `json:"ota"`
	Upload   Upload    `json:"upload"`
	Clock    Clock     `json:"clock"`
	Sandbox  Sandbox   `json:"sandbox"`
	Accounts []Account `json:"accounts"`
	Problems []string  `json:"problems"` // sentences for the person at the gateway, worst first
}

// Settings tells which settings are in force.
type Settings struct {
	File       string    `json:"file"`
	Generation int       `json:"generation"` // counts up with each change of the settings in force
	Loads      int       `json:"loads"`      // counts up each time the file was read, whether it was usable or not
	Loaded     time.Time `json:"loaded,omitzero"`
	Pending    bool      `json:"pending,omitempty"` // the newest reading is good, and its generation is about to start
	Error      string    `json:"error,omitempty"`   // why the newest reading is not in force; one fault a line
}

// Identity tells which device this is.
type Identity struct {
	State    string `json:"state"` // provisioned or unprovisioned
	DeviceID string `json:"device_id,omitempty"`
	Source   string `json:"source,omitempty"` // where DeviceID comes from: settings, identity_file, token, state
	File     string `json:"file,omitempty"`   // the identity file
	Error    string `json:"error,omitempty"`
	// Sources are the places where cpu_id and uuid are looked for, in the order
	// in which they count. Their values are not told.
	Sources []Source `json:"sources,omitempty"`
	// Advice is a sentence on what to do about cpu_id and uuid, while the cloud
	// refuses them or they are unknown.
	Advice string `json:"advice,omitempty"`
}

// Source is one place where cpu_id or uuid may stand.
type Source struct {
	Key   string `json:"key"`   // cpu_id or uuid
	Name  string `json:"name"`  // settings, identity_file, state (what that file said once), or a file of the system
	State string `json:"state"` // used, same (as the one used), differs, or absent
}

// Token tells how the device's token is, never the token.
type Token struct {
	State           string    `json:"state"`          // none, valid, renewing, stale, expired or refused
	Since           time.Time `json:"since,omitzero"` // when State began, as far as this process knows
	Subject         string    `json:"subject,omitempty"`
	Tail            string    `json:"tail,omitempty"` // its last 6 characters
	Issued          time.Time `json:"issued,omitzero"`
	Expires         time.Time `json:"expires,omitzero"`
	WindowOpens     time.Time `json:"window_opens,omitzero"` // from then on the cloud renews it
	RenewAt         time.Time `json:"renew_at,omitzero"`
	PointOfNoReturn time.Time `json:"point_of_no_return,omitzero"` // after this the cloud renews it no more
	Spent           float64   `json:"spent,omitempty"`             // of the way from WindowOpens to PointOfNoReturn, 0 to 1
	LastRenewal     time.Time `json:"last_renewal,omitzero"`
	Renewals        int       `json:"renewals"`
	Attempts        int       `json:"attempts"`          // to renew it, since the start
	Attempt         int       `json:"attempt,omitempty"` // failures in a row of the renewal under way
	NextTry         time.Time `json:"next_try,omitzero"`
	LastError       string    `json:"last_error,omitempty"`
	LastErrorAt     time.Time `json:"last_error_at,omitzero"`
	Refusal         int       `json:"refusal,omitempty"` // HTTP status with which the cloud refused the last login
	Reason          string    `json:"reason,omitempty"`  // why it is in this state, in a sentence
	Stored          Stored    `json:"stored"`
}

// Stored tells which files hold the newest token.
type Stored struct {
	State        bool   `json:"state"`         // the agent's state directory
	IdentityFile bool   `json:"identity_file"` // the vendor's file
	Error        string `json:"error,omitempty"`
}

// MQTT tells how the session with the broker is.
type MQTT struct {
	State          string    `json:"state"` // offline, connecting, online or refused
	Since          time.Time `json:"since,omitzero"`
	Broker         string    `json:"broker"`
	ClientID       string    `json:"client_id,omitempty"`
	Attempt        int       `json:"attempt,omitempty"`
	NextTry        time.Time `json:"next_try,omitzero"`
	Connects       int       `json:"connects"`
	Refusals       int       `json:"refusals"`
	RefusedFilters []string  `json:"refused_filters,omitempty"`
	Error          string    `json:"error,omitempty"`
	Cause          string    `json:"cause,omitempty"`       // the kind of Error, for programs
	Held           string    `json:"held,omitempty"`        // why the newest token is not in use on the connection, which has the one before
	Takeovers      int       `json:"takeovers"`             // connections that gave way to the next without a break
	Gap            float64   `json:"gap,omitempty"`         // for how many seconds nothing could be sent at the last change of connections
	BreakFirst     bool      `json:"break_first,omitempty"` // the broker accepts no second connection of the client
}

// Module tells how the software of one module of the model is.
type Module struct {
	Module    string    `json:"module"`
	Policy    string    `json:"policy"` // notify, fetch or install
	Phase     string    `json:"phase"`
	Since     time.Time `json:"since,omitzero"` // when Phase began
	Installed string    `json:"installed,omitempty"`
	Offered   string    `json:"offered,omitempty"`
	File      string    `json:"file,omitempty"`  // the verified payload, once it is there
	Bytes     int64     `json:"bytes,omitempty"` // on disk so far
	Total     int64     `json:"total,omitempty"` // 0 if unknown
	Rate      int64     `json:"rate,omitempty"`  // bytes per second
	SHA256    string    `json:"sha256,omitempty"`
	LastCheck time.Time `json:"last_check,omitzero"`
	NextCheck time.Time `json:"next_check,omitzero"`
	NextTry   time.Time `json:"next_try,omitzero"` // of a download that waits
	Error     string    `json:"error,omitempty"`
	Reason    string    `json:"reason,omitempty"` // why it is in this phase, if that is no error

	Percent  int    `json:"percent,omitempty"`  // of what the hook does
	Step     string `json:"step,omitempty"`     // of it, in the hook's words
	Waits    string `json:"waits,omitempty"`    // why what is fetched is not installed yet
	Approved string `json:"approved,omitempty"` // a person's word to install it: approved, or now
	Outcome  string `json:"outcome,omitempty"`  // of the update before
	Denied   string `json:"denied,omitempty"`   // why the newest release is passed over
	Refused  string `json:"refused,omitempty"`  // releases of the cloud whose names are unsafe, and why
}

// Upload tells how the data files are.
type Upload struct {
	State       string    `json:"state,omitempty"` // idle, sending or waiting
	Since       time.Time `json:"since,omitzero"`  // when State began
	Queued      int       `json:"queued"`
	QueuedBytes int64     `json:"queued_bytes"`
	InFlight    string    `json:"in_flight,omitempty"` // name of the file being sent
	Sent        int64     `json:"sent"`
	Quarantined int64     `json:"quarantined"`
	Dropped     int64     `json:"dropped"`
	NextTry     time.Time `json:"next_try,omitzero"`
	Error       string    `json:"error,omitempty"`

	Types []UploadType `json:"types,omitempty"` // most important first
	Spent bool         `json:"spent,omitempty"` // the month's bytes keep files waiting

	Collect []Collected `json:"collect,omitempty"` // in the order of the settings
}

// Collected tells of the log files that one section of the settings names.
type Collected struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Files       int    `json:"files"`        // that are followed
	BytesBehind int64  `json:"bytes_behind"` // that are in no data file yet
	DataFiles   int64  `json:"data_files"`   // made since the start
	Truncated   int64  `json:"truncated"`    // files that were found shortened, or other than they were
	BytesLost   int64  `json:"bytes_lost"`   // seen, and gone before they were read
	Error       string `json:"error,omitempty"`
}

// UploadType tells how the data files of one type are.
type UploadType struct {
	Type        string `json:"type"`
	Queued      int    `json:"queued"`
	QueuedBytes int64  `json:"queued_bytes"`
	Dropped     int64  `json:"dropped"` // for want of room, or too old
}

// Clock tells what the agent takes for the time.
type Clock struct {
	ServerOffset float64 `json:"server_offset"` // seconds that the cloud is ahead of the system clock
	Source       string  `json:"source"`        // server, system or floor
}

// Sandbox tells what holds the process itself to the directories that it writes
// in, beside the sandbox of the service.
type Sandbox struct {
	Landlock int    `json:"landlock"`          // the version of the kernel's Landlock; 0: nothing does
	Missing  string `json:"missing,omitempty"` // why nothing does
}

// jwt matches a JSON Web Token anywhere in the text of an error (RFC 7519).
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_=+/-]{6,}(\.[A-Za-z0-9_=+/-]*)*`)

func scrub(b []byte) []byte { return jwt.ReplaceAll(b, []byte("[redacted]")) }

// tidy makes s fit for the wire: every time in UTC, in whole seconds, and in
// the years that RFC 3339 can write, for a token may claim to expire in the
// year 292277026596.
func (s *Status) tidy() {
	s.Schema = Schema
	for _, t := range []*time.Time{
		&s.Started, &s.Settings.Loaded,
		&s.Token.Since, &s.Token.Issued, &s.Token.Expires, &s.Token.WindowOpens, &s.Token.RenewAt, &s.Token.PointOfNoReturn,
		&s.Token.LastRenewal, &s.Token.NextTry, &s.Token.LastErrorAt,
		&s.MQTT.Since, &s.MQTT.NextTry, &s.Outbox.Oldest, &s.Upload.Since, &s.Upload.NextTry,
	} {
		*t = wireTime(*t)
	}
	s.tidyTelemetry()
	modules := make([]Module, 0, len(s.OTA)) // never null, and not the caller's
	for _, m := range s.OTA {
		modules = append(modules, m.tidy())
	}
	s.OTA = modules
	accounts := make([]Account, 0, len(s.Accounts))
	for _, a := range s.Accounts {
		accounts = append(accounts, a.tidy())
	}
	s.Accounts = accounts
	if s.Problems == nil {
		s.Problems = []string{}
	}
}

func (m Module) tidy() Module {
	m.Since, m.NextTry = wireTime(m.Since), wireTime(m.NextTry)
	m.LastCheck, m.NextCheck = wireTime(m.LastCheck), wireTime(m.NextCheck)
	return m
}

var (
	firstTime = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC) // the zero time means unknown
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func wireTime(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t.UTC().Truncate(time.Second)
}
