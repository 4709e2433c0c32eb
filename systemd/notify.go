// Package systemd tells the service manager how the agent is doing. The unit
// files lie beside it.
//
// Outside systemd, where NOTIFY_SOCKET is not set, the notifications do
// nothing.
package systemd

import (
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready reports that startup, or a reload, is complete. It means configured
// and running, not online: that is what Statusf is for.
func Ready() { notify(daemon.SdNotifyReady) }

// Reloading reports that the settings are being read again; Ready ends it. The
// time beside it is what Type=notify-reload asks for (sd_notify(3)).
func Reloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// Stopping reports that shutdown has begun.
func Stopping() { notify(daemon.SdNotifyStopping) }

// notify ignores the error: nobody else could be told, and a deaf service
// manager acts by itself when the watchdog falls silent.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// private are the variables that belong to this process alone.
var private = []string{
	"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "INVOCATION_ID", "MAINPID", "SYSTEMD_EXEC_PID",
}

// StripEnv returns env, a list of KEY=VALUE as from os.Environ, without what a
// child must not inherit: a child that speaks to NOTIFY_SOCKET is refused with
// a warning, one that believes in WATCHDOG_USEC pings for us, and the
// credentials are none of its business. env itself is not changed.
func StripEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(private, key) || strings.HasPrefix(key, "WATCHDOG_") || strings.HasPrefix(key, "LISTEN_")
	})
}
