package conf

import (
	"slices"
	"strings"
	"time"
)

// A Setting is one key of agent.conf as its manual describes it.
type Setting struct {
	Section string // module.KEY and command.NAME stand for any number of sections
	Key     string
	Default string // as one would write it; empty: see Doc
	Allowed string // which values, in a few words
	Doc     string // what it is for, in a sentence

	at func(scope) value
}

// A scope is where a setting's value lives: the Config, and inside it the
// module or the command whose section is being read.
type scope struct {
	config  *Config
	module  *Module
	command *Command
	upload  *UploadType
	collect *Collect

	install *Install
	rule    *InstallRule
}

const (
	moduleSection  = "module."
	commandSection = "command."
	uploadSection  = "upload."
	collectSection = "collect."

	secondsToMonth = "1s to 30d"
)

// template reports a setting whose section may be there many times.
func (s Setting) template() bool {
	return strings.Contains(s.Section, ".")
}

// Settings returns every setting in the order of the manual.
func Settings() []Setting { return slices.Clone(table) }

const (
	second = time.Second
	month  = 30 * 24 * time.Hour
)

// table drives parsing, the defaults, the shipped agent.conf and the manual.
var table = []Setting{
	{"paths", "identity", "/etc/spoke-zone/spoke-zone.conf", "an absolute path",
		"The vendor's file that holds the device token as mqtt_username.",
		func(s scope) value { return pathValue{p: &s.config.Paths.Identity} }},
	{"paths", "state", "/var/lib/spoke-zone-agent", "an absolute path",
		"What the agent must not lose; move it where the root file system is read-only.",
		func(s scope) value { return pathValue{p: &s.config.Paths.State} }},
	{"paths", "run", "/run/spoke-zone-agent", "an absolute path",
		"Where the socket of the local API is made.",
		func(s scope) value { return pathValue{p: &s.config.Paths.Run} }},
	{"paths", "spool", "/var/spool/spoke-zone-agent", "an absolute path",
		"Where local programs drop data files for upload.",
		func(s scope) value { return pathValue{p: &s.config.Paths.Spool} }},
	{"paths", "accounts", "/etc/spoke-zone-agent/accounts.d", "an absolute path",
		"Further cloud accounts, one file each.",
		func(s scope) value { return pathValue{p: &s.config.Paths.Accounts} }},
	{"paths", "commands", "/etc/spoke-zone-agent/commands.d", "an absolute path",
		"Programs that commands from the cloud run, one file each.",
		func(s scope) value { return pathValue{p: &s.config.Paths.Commands} }},

	{"identity", "cpu_id", "", "up to 256 printable characters",
		"The id of the device's CPU; if empty the identity file's, else the SoC's serial number.",
		func(s scope) value { return textValue{&s.config.Identity.CPUID, 256} }},
	{"identity", "uuid", "", "up to 256 printable characters",
		"The UUID that the device was made with in the cloud; if empty the identity file's.",
		func(s scope) value { return textValue{&s.config.Identity.UUID, 256} }},
	{"identity", "device_id", "", "a whole number above 0",
		"The device's number in the cloud; if empty the identity file's, else the token's.",
		func(s scope) value { return checked{textValue{&s.config.Identity.DeviceID, 20}, checkDeviceID} }},
	{"identity", "claim_device_id", "", "names separated by spaces or commas",
		"Token claims to try for the device's id before the usual ones: the cloud does not document their names.",
		func(s scope) value { return listValue{&s.config.Identity.ClaimDeviceID, checkClaim} }},
	{"identity", "claim_prefix", "", "names separated by spaces or commas",
		"Token claims to try for the topic prefix before the usual ones.",
		func(s scope) value { return listValue{&s.config.Identity.ClaimPrefix, checkClaim} }},

	{"cloud", "url", "https://api.spoke.zone", "https://HOST[:PORT][/PATH]; http:// to a loopback address",
		"The HTTP API.",
		func(s scope) value { return baseURL{&s.config.Cloud.URL} }},
	{"cloud", "ca_file", "", "an absolute path, or empty for the system's roots",
		"PEM certificates that the cloud's and the broker's must lead to.",
		func(s scope) value { return pathValue{p: &s.config.Cloud.CAFile, optional: true} }},
	{"cloud", "timeout", "30s", "1s to 10m",
		"How long one request may take; a payload only has to make progress.",
		func(s scope) value { return durationValue{&s.config.Cloud.Timeout, second, 10 * time.Minute} }},

	{"token", "renew_before", "12h", secondsToMonth,
		"How long before its expiry a token is renewed: the server does it only then.",
		func(s scope) value { return durationValue{&s.config.Token.RenewBefore, second, month} }},
	{"token", "grace", "12h", "0s to 30d",
		"How long after its expiry the server still renews a token.",
		func(s scope) value { return durationValue{&s.config.Token.Grace, 0, month} }},
	{"token", "spread", "5m", "0s to renew_before",
		"How far the renewals of a fleet are spread inside the window: not far, since a gateway that waits may be switched off meanwhile.",
		func(s scope) value { return durationValue{&s.config.Token.Spread, 0, month} }},

	{"mqtt", "broker", "mqtts://io.spoke.zone:8883", "mqtts://HOST[:PORT]; mqtt:// to a loopback address",
		"The message broker.",
		func(s scope) value { return brokerURL{&s.config.MQTT.Broker} }},
	{"mqtt", "client_id", "", "up to 128 printable characters",
		"The name of the session; if empty spoke-zone-agent-<device id>.",
		func(s scope) value { return textValue{&s.config.MQTT.ClientID, 128} }},
	{"mqtt", "topic_base", "", "a topic without wildcards and without a slash at either end",
		"What all topics begin with; if empty the token's prefix, else mrs/d/<device id>.",
		func(s scope) value { return checked{textValue{&s.config.MQTT.TopicBase, 512}, checkTopicBase} }},
	{"mqtt", "keep_alive", "20s", "5s to 20m, whole seconds",
		"The longest silence towards the broker; a longer one saves power and finds a dead link later.",
		func(s scope) value {
			return wholeSeconds{durationValue{&s.config.MQTT.KeepAlive, 5 * second, 20 * time.Minute}}
		}},
	{"mqtt", "session", "persistent", "persistent or clean",
		"Whether the broker keeps subscriptions and commands for the device while it is offline.",
		func(s scope) value { return wordValue{&s.config.MQTT.Session, []string{"persistent", "clean"}} }},
	{"mqtt", "extra_subscriptions", "", "topic filters separated by spaces or commas",
		"Filters to subscribe to beside those under the base; the broker may refuse them.",
		func(s scope) value { return listValue{&s.config.MQTT.Extra, checkFilter} }},

	{"outbox", "max_bytes", "16MiB", "64KiB to 1TiB",
		"The most that may wait on disk for the broker.",
		func(s scope) value { return sizeValue{p: &s.config.Outbox.MaxBytes, min: 64 << 10} }},
	{"outbox", "max_age", "7d", "1m to 30d",
		"How old a message may grow there before it is dropped.",
		func(s scope) value { return durationValue{&s.config.Outbox.MaxAge, time.Minute, month} }},

	{"telemetry", "versions_interval", "60s", secondsToMonth,
		"How often the software versions are published.",
		func(s scope) value { return durationValue{&s.config.Telemetry.VersionsInterval, second, month} }},
	{"telemetry", "location_interval", "15s", secondsToMonth,
		"How often the location is published.",
		func(s scope) value { return durationValue{&s.config.Telemetry.LocationInterval, second, month} }},
	{"telemetry", "location_source", "auto", "auto, off, gpsd, gpsd:HOST:PORT, gpsd:/SOCKET, or nmea:/dev/NAME@BAUD",
		"Where the location comes from; auto asks gpsd, or else the kernel's first GNSS receiver.",
		func(s scope) value {
			return checked{textValue{&s.config.Telemetry.LocationSource, 256}, checkLocationSource}
		}},
	{"telemetry", "location_distance", "0", "0 to 100000 metres",
		"How far the device must have moved for a location to be published; at rest it is published once an hour.",
		func(s scope) value { return numberValue{&s.config.Telemetry.LocationDistance, 0, 100000} }},

	{"ota", "check_interval", "6h", secondsToMonth,
		"How often the cloud is asked for updates.",
		func(s scope) value { return durationValue{&s.config.OTA.CheckInterval, second, month} }},
	{"ota", "window", "", "times such as 01:00-05:00, with days as in Sat,Sun 00:00-06:00",
		"When updates may be installed, in local time; if empty always.",
		func(s scope) value { return checked{textValue{&s.config.OTA.Window, 256}, checkWindow} }},
	{"ota", "rate_limit", "", "1KiB to 1TiB a second, or empty for none",
		"How fast an update may be fetched.",
		func(s scope) value { return sizeValue{p: &s.config.OTA.RateLimit, min: 1 << 10, optional: true} }},
	{"ota", "monthly_limit", "", "1MiB to 1TiB, or empty for none",
		"How much updates may take of the link in a calendar month of the cloud's time.",
		func(s scope) value { return sizeValue{p: &s.config.OTA.Monthly, min: 1 << 20, optional: true} }},
	{"ota", "order", "", "names of modules separated by spaces or commas",
		"Which modules are installed before the others, one at a time; the rest follow in the order of their sections.",
		func(s scope) value { return listValue{&s.config.OTA.Order, checkModuleKey} }},
	{"ota", "inhibit_dir", "/run/spoke-zone/inhibit", "an absolute path, or empty",
		"While a file is in this directory nothing is installed; its first line may say why.",
		func(s scope) value { return pathValue{p: &s.config.OTA.InhibitDir, optional: true} }},
	{"ota", "inhibit_command", "", "a program and its arguments, without a shell",
		"Nothing is installed unless it ends with status 0 within 10 s; what it prints says why.",
		func(s scope) value { return argvValue{&s.config.OTA.Inhibit} }},
	{"ota", "verify_deadline", "30m", "1m to 1d",
		"How long a new version may take to prove itself before it is undone.",
		func(s scope) value { return durationValue{&s.config.OTA.VerifyWithin, time.Minute, 24 * time.Hour} }},
	{"ota", "verify_time", "5m", "1s to 1h",
		"How long a new version must have worked, token and session included, before it is made permanent.",
		func(s scope) value { return durationValue{&s.config.OTA.VerifyTime, second, time.Hour} }},
	{"ota", "offline_commit", "wait", "rollback, wait or commit",
		"What becomes of a new version while nothing of the cloud is heard: undone at the deadline, undone after three deadlines or starts, or kept.",
		func(s scope) value {
			return wordValue{&s.config.OTA.OfflineCommit, []string{"rollback", "wait", "commit"}}
		}},

	{"module.KEY", "version_command", "", "a program and its arguments, without a shell",
		"Prints the module's installed version; or use version_file.",
		func(s scope) value { return argvValue{&s.module.VersionCommand} }},
	{"module.KEY", "version_file", "", "an absolute path",
		"Holds the module's installed version in its first line.",
		func(s scope) value { return pathValue{p: &s.module.VersionFile, optional: true} }},
	{"module.KEY", "policy", "notify", "notify, fetch or install",
		"What is done about an update that is found.",
		func(s scope) value { return wordValue{&s.module.Policy, []string{"notify", "fetch", "install"}} }},
	{"module.KEY", "allow_downgrade", "no", "yes or no",
		"Whether an older version that the cloud offers counts as an update.",
		func(s scope) value { return boolValue{&s.module.AllowDowngrade} }},

	{"upload", "max_file", "1MiB", "1KiB to 1TiB",
		"A larger file of lines is split into several data files.",
		func(s scope) value { return sizeValue{p: &s.config.Upload.MaxFile, min: 1 << 10} }},
	{"upload", "max_spool", "64MiB", "64KiB to 1TiB",
		"The most that data files may take on disk; beyond it the oldest of the least important type goes.",
		func(s scope) value { return sizeValue{p: &s.config.Upload.MaxSpool, min: 64 << 10} }},
	{"upload", "archive", "", "64KiB to 1TiB, or empty for none",
		"How much of what has arrived is kept in paths.state, in upload/archive.",
		func(s scope) value { return sizeValue{p: &s.config.Upload.Archive, min: 64 << 10, optional: true} }},
	{"upload", "rate_limit", "", "1KiB to 1TiB a second, or empty for none",
		"How fast data files may be sent.",
		func(s scope) value { return sizeValue{p: &s.config.Upload.RateLimit, min: 1 << 10, optional: true} }},
	{"upload", "monthly_limit", "", "1MiB to 1TiB, or empty for none",
		"How much data files may take of the link in a calendar month; the last tenth is for event and gps, the last three tenths for all but journal, dmesg and debug.",
		func(s scope) value { return sizeValue{p: &s.config.Upload.Monthly, min: 1 << 20, optional: true} }},

	{"upload.TYPE", "max_bytes", "", "1KiB to 1TiB, or empty for upload.max_spool",
		"The most that files of this type may take on disk.",
		func(s scope) value { return sizeValue{p: &s.upload.MaxBytes, min: 1 << 10, optional: true} }},
	{"upload.TYPE", "max_files", "10000", "1 to 10000",
		"How many of them may wait.",
		func(s scope) value { return numberValue{&s.upload.MaxFiles, 1, 10000} }},
	{"upload.TYPE", "max_age", "90d", "1m to 365d",
		"How old they may become there, once the time is known.",
		func(s scope) value { return durationValue{&s.upload.MaxAge, time.Minute, 365 * 24 * time.Hour} }},
	{"upload.TYPE", "gzip", "no", "yes or no",
		"Whether they are sent compressed, as NAME.gz.",
		func(s scope) value { return boolValue{&s.upload.Gzip} }},

	{"collect.NAME", "files", "", "absolute paths, with * ? and [] as in a shell, separated by spaces or commas",
		"Log files that other programs write and rotate: each line written to them is sent once, in data files.",
		func(s scope) value { return listValue{&s.collect.Files, checkPattern} }},
	{"collect.NAME", "type", "log", "a type of data files",
		"The type of these data files.",
		func(s scope) value { return wordValue{&s.collect.Type, dataFileTypes} }},
	{"collect.NAME", "module", "", "a module's key: " + moduleAllowed + ", or empty",
		"The module that they belong to.",
		func(s scope) value { return checked{textValue{&s.collect.Module, 64}, checkModuleKey} }},
	{"collect.NAME", "interval", "5m", "1s to 1d",
		"How long a line waits at the most before it is in a data file.",
		func(s scope) value { return durationValue{&s.collect.Every, second, 24 * time.Hour} }},
	{"collect.NAME", "size", "1MiB", "1KiB to 64MiB",
		"How many bytes of a log wait at the most, looked at once a minute; also the most that a data file holds, unless a single line is longer.",
		func(s scope) value { return boundedSize{sizeValue{p: &s.collect.Size, min: 1 << 10}, 64 << 20} }},

	{"diagnostics", "max_time", "14d", "10s to 14d",
		"How long a level of diagnostics stays in force where the cloud does not take it back.",
		func(s scope) value {
			return durationValue{&s.config.Diagnostics.MaxTime, 10 * second, 14 * 24 * time.Hour}
		}},
	{"diagnostics", "min_interval", "10s", "1s to 1h",
		"The shortest interval of diagnostics that the cloud may ask for.",
		func(s scope) value { return durationValue{&s.config.Diagnostics.MinInterval, second, time.Hour} }},
	{"diagnostics", "module", "", "a module's key: " + moduleAllowed,
		"The module that the gateway itself is in broadcasts of diagnostics; if empty the first one in these settings, else gateway.",
		func(s scope) value {
			return checked{textValue{&s.config.Diagnostics.Module, 64}, checkModuleKey}
		}},
	{"diagnostics", "record", "journal dmesg debug", "journal, dmesg and debug, separated by spaces or commas, or empty for none",
		"What is recorded and uploaded while the cloud has raised the level of diagnostics: the journal, the kernel's messages, the agent's own log.",
		func(s scope) value { return listValue{&s.config.Diagnostics.Record, checkRecorded} }},
	{"diagnostics", "journal_units", "", "names of units, * and ? in them, separated by spaces or commas, or empty for all",
		"Whose journal is recorded.",
		func(s scope) value { return listValue{&s.config.Diagnostics.JournalUnits, checkUnit} }},
	{"diagnostics", "history", "1h", "0s to 7d",
		"How much of the journal before the level was raised is recorded with it.",
		func(s scope) value { return durationValue{&s.config.Diagnostics.History, 0, 7 * 24 * time.Hour} }},
	{"diagnostics", "interval", "5m", "1s to 1d",
		"How often what was recorded is put into the queue of data files.",
		func(s scope) value { return durationValue{&s.config.Diagnostics.Interval, second, 24 * time.Hour} }},
	{"diagnostics", "max_file", "256KiB", "16KiB to 1TiB",
		"How large such a file may become; there may be several at a time.",
		func(s scope) value { return sizeValue{p: &s.config.Diagnostics.MaxFile, min: 16 << 10} }},
	{"diagnostics", "daily_limit", "16MiB", "64KiB to 1TiB",
		"How much of each type may be recorded in a day; the journal goes on from there the next day.",
		func(s scope) value { return sizeValue{p: &s.config.Diagnostics.DailyLimit, min: 64 << 10} }},

	{"command.NAME", "run", "", "a program and its arguments, without a shell",
		"What a message to ctrl/NAME runs, its payload on standard input; if empty the file NAME in paths.commands.",
		func(s scope) value { return argvValue{&s.command.Run} }},
	{"command.NAME", "timeout", "60s", "1s to 1d",
		"How long it may run.",
		func(s scope) value { return durationValue{&s.command.Timeout, second, 24 * time.Hour} }},
	{"command.NAME", "retained", "ignore", "ignore or run",
		"What is done with a message that the broker had kept, which may be old.",
		func(s scope) value { return wordValue{&s.command.Retained, []string{"ignore", "run"}} }},

	{"bridge", "file", "", "an absolute path, or empty for none",
		"Where the settings of a local Mosquitto's bridge to the cloud are kept current, the token among them.",
		func(s scope) value { return pathValue{p: &s.config.Bridge.File, optional: true} }},
	{"bridge", "group", "", "a group's name, or empty for none",
		"Who may read that file beside its owner: Mosquitto's group. The agent must be in it.",
		func(s scope) value { return checked{textValue{&s.config.Bridge.Group, 32}, checkGroup} }},
	{"bridge", "notify", "", "a program and its arguments, signal:PIDFILE:HUP, or reload:UNIT",
		"What is done after each change of the file, so that Mosquitto reads it.",
		func(s scope) value { return notifyValue{argvValue{&s.config.Bridge.Notify}} }},
	{"bridge", "prefix", "", "a topic without wildcards that ends in a slash, or empty",
		"What the bridged topics begin with on the local side, in place of the topic base.",
		func(s scope) value { return checked{textValue{&s.config.Bridge.Prefix, 128}, checkBridgePrefix} }},
	{"bridge", "publish", "mon/#", "topic filters separated by spaces or commas",
		"What local programs may send to the cloud, below the topic base.",
		func(s scope) value { return listValue{&s.config.Bridge.Publish, checkBridgeFilter} }},
	{"bridge", "subscribe", "ctrl/#", "topic filters separated by spaces or commas",
		"What local programs get of the cloud, below the topic base.",
		func(s scope) value { return listValue{&s.config.Bridge.Subscribe, checkBridgeFilter} }},

	{"local", "group", "spoke-zone", "a group's name, or empty for root alone",
		"Whose members may read tokens from the local API.",
		func(s scope) value { return checked{textValue{&s.config.Local.Group, 32}, checkGroup} }},

	{"log", "level", "info", "debug, info, warn or error",
		"How much is logged.",
		func(s scope) value { return levelValue{&s.config.Log.Level} }},
}
