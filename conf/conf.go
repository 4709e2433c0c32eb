// Package conf reads the agent's settings and the vendor's identity file, tells
// when they change, and writes a renewed token back without disturbing a byte
// beside it.
package conf

import (
	"log/slog"
	"reflect"
	"time"
)

// A Config is every setting in force. It is not changed once Load has returned
// it: a change of the files makes another.
type Config struct {
	Paths       Paths
	Identity    Identity
	Cloud       Cloud
	Token       Token
	MQTT        MQTT
	Outbox      Outbox
	Telemetry   Telemetry
	OTA         OTA
	Modules     []Module // in the order of the files
	Upload      Upload
	UploadTypes []UploadType // in the order of the files
	Collect     []Collect    // in the order of the files
	Diagnostics Diagnostics
	Commands    []Command // in the order of the files
	Bridge      Bridge
	Local       Local
	Log         Log
}

// Paths are absolute names of files and directories.
type Paths struct {
	Identity string // the vendor's file that holds the device token
	State    string // what the agent must not lose
	Run      string // the socket of the local API
	Spool    string // where local programs drop data files
	Accounts string // one file for each further cloud account
	Commands string // one program for each command from the cloud
}

// Identity says which device this is. Each empty field has a source of its own,
// which the setting's Doc names.
type Identity struct {
	CPUID    string
	UUID     string
	DeviceID string
	// ClaimDeviceID and ClaimPrefix are names of token claims, tried in order
	// before those that the agent knows.
	ClaimDeviceID []string
	ClaimPrefix   []string
}

// Cloud says where the HTTP API is.
type Cloud struct {
	URL     string        // without a slash at its end
	CAFile  string        // PEM; empty: the system's roots
	Timeout time.Duration // for one request without its payload
}

// Token says when the device token is renewed.
type Token struct {
	RenewBefore time.Duration // before expiry
	Grace       time.Duration // after expiry
	Spread      time.Duration // of a fleet's renewals
}

// MQTT says how the broker is spoken to.
type MQTT struct {
	Broker    string        // mqtts://host:port or mqtt://host:port
	ClientID  string        // empty: from the device's id
	TopicBase string        // empty: from the token
	KeepAlive time.Duration // of the protocol, whole seconds
	Session   string        // persistent or clean
	Extra     []string      // topic filters beside those under the base
}

// Outbox bounds the messages that wait for the broker.
type Outbox struct {
	MaxBytes int64
	MaxAge   time.Duration
}

// Telemetry says what the agent publishes about the device.
type Telemetry struct {
	VersionsInterval time.Duration
	LocationInterval time.Duration
	LocationSource   string // auto, gpsd, gpsd:ADDRESS, off, or nmea:DEVICE@BAUD
	LocationDistance int    // metres from the last one published; 0: publish each interval
}

// OTA says when updates are looked for, fetched, installed and kept.
type OTA struct {
	CheckInterval time.Duration
	Window        string // when to install; empty: at any time
	RateLimit     int64  // bytes a second; 0: none
	Monthly       int64  // bytes a month; 0: no limit
	Order         []string
	InhibitDir    string
	Inhibit       []string // argv
	VerifyWithin  time.Duration
	VerifyTime    time.Duration
	OfflineCommit string // rollback, wait or commit
}

// A Module is one part of the device that has a version of its own.
type Module struct {
	Key            string   // as the cloud knows it
	VersionCommand []string // argv that prints the version; or VersionFile
	VersionFile    string
	Policy         string // notify, fetch or install
	AllowDowngrade bool
}

// Upload bounds data files.
type Upload struct {
	MaxFile  int64 // bytes of one data file
	MaxSpool int64 // bytes of all that wait

	Archive   int64 // bytes of what has arrived; 0: none is kept
	RateLimit int64 // bytes a second; 0: none
	Monthly   int64 // bytes a month; 0: no limit
}

// An UploadType bounds the data files of one type.
type UploadType struct {
	Type     string
	MaxBytes int64 // 0: as many as the spool may have
	MaxFiles int
	MaxAge   time.Duration
	Gzip     bool
}

// UploadType returns the bounds of a type, which need not be in the files.
func (c Config) UploadType(typ string) UploadType {
	for _, t := range c.UploadTypes {
		if t.Type == typ {
			return t
		}
	}
	t := UploadType{Type: typ}
	setDefaults(uploadSection+"TYPE", scope{upload: &t})
	return t
}

// A Collect names log files whose lines become data files.
type Collect struct {
	Name   string
	Files  []string // patterns of absolute paths
	Type   string
	Module string // key; may be empty
	Every  time.Duration
	Size   int64 // bytes
}

// Diagnostics bounds what the cloud may ask for.
type Diagnostics struct {
	MaxTime     time.Duration // that a level is in force
	MinInterval time.Duration // between two broadcasts
	Module      string        // that the gateway itself reports as; empty: the first of Modules

	Record       []string // types of data files, while the level is not normal
	JournalUnits []string // whose journal; empty: all
	History      time.Duration
	Interval     time.Duration // between two excerpts
	MaxFile      int64         // bytes of one
	DailyLimit   int64         // bytes of a type
}

// A Command is what a message under the topic ctrl/Name runs.
type Command struct {
	Name     string
	Run      []string // argv; empty: the program of that name in Paths.Commands
	Timeout  time.Duration
	Retained string // ignore or run: what a retained message gets
}

// A Bridge is what a local Mosquitto needs to speak for the device.
type Bridge struct {
	File      string   // the include file to keep; empty: none
	Group     string   // that may read it beside its owner; empty: none
	Notify    []string // argv, or one word signal:PIDFILE:NAME or reload:UNIT
	Prefix    string   // of the topics on the local side
	Publish   []string
	Subscribe []string
}

// Local says who may use the local API.
type Local struct {
	Group string // whose members may read tokens; empty: root alone
}

// Log says how much is logged.
type Log struct {
	Level slog.Level
}

// Default returns the Config of an empty file.
func Default() Config {
	var c Config
	for _, s := range table {
		if s.template() {
			continue
		}
		if err := s.at(scope{config: &c}).parse(s.Default); err != nil {
			panic("conf: default of " + s.Section + "." + s.Key + ": " + err.Error())
		}
	}
	return c
}

// Equal reports whether c and d hold the same settings.
func (c Config) Equal(d Config) bool { return reflect.DeepEqual(c, d) }
