# shellcheck shell=sh disable=SC2034
# What the shipped hooks share: the words of the contract (docs/hooks.md), notes that survive a power cut, the settings.
set -u
export LC_ALL=C

OK=0 OK_REBOOT=10 LATER=12 RETRY=13
ACTIVE=20 STAGED=21 PREVIOUS=22 DAMAGED=23 RUNNING=24
REJECT=30 NO_SPACE=31 WRONG_DEVICE=32 DOWNGRADE=33
UNCHANGED=40 CHANGED=41

file=${SPOKE_OTA_FILE-}
scratch=${SPOKE_OTA_STATE_DIR-}
keep=${SPOKE_OTA_KEEP_DIR-}

log() { printf '@log %s\n' "$*"; }
progress() { printf '@progress %s %s\n' "$1" "$2"; }

# end CODE [WORDS]: why goes to the log.
end() {
	code=$1
	shift
	[ $# -eq 0 ] || log "$*"
	exit "$code"
}

dry_run() { [ "${SPOKE_OTA_DRY_RUN:-0}" = 1 ]; }

need() {
	for program; do
		command -v "$program" >/dev/null || end $REJECT "$program is not installed"
	done
}

# put NAME VALUE: a note of this update, durable when put returns.
put() {
	printf '%s\n' "$2" >"$scratch/$1.tmp" && sync "$scratch/$1.tmp" && mv "$scratch/$1.tmp" "$scratch/$1" && sync "$scratch"
}
get() { cat "$scratch/$1" 2>/dev/null; }
noted() { [ -e "$scratch/$1" ]; }

# settings reads MODULE.conf, if it is there. It is run as root's shell would run it, so nobody else may write it.
settings() {
	case ${SPOKE_OTA_MODULE-} in
	'' | .* | *[/[:cntrl:]]*) end $REJECT "the module's key cannot be the name of a file" ;;
	esac
	conf=${SPOKE_OTA_CONF_DIR:-/etc/spoke-zone-agent/hooks.d}/$SPOKE_OTA_MODULE.conf
	[ -e "$conf" ] || return 0
	[ -z "$(find -L "$conf" -prune \( -perm -020 -o -perm -002 \))" ] || end $REJECT "$conf can be written by others than its owner"
	[ -n "$(find -L "$conf" -prune \( -user 0 -o -user "$(id -u)" \))" ] || end $REJECT "$conf does not belong to root"
	# shellcheck disable=SC1090
	. "$conf"
}

# show FILE: the last lines that a program said.
show() {
	tail -n 20 "$1" | while IFS= read -r line; do log "$line"; done
}

# untouched ends a rollback of which no note is there. Nothing was done if probe finds the previous version; if it finds another
# one, that was installed by an update which has ended, and its way back is gone.
untouched() {
	(probe)
	[ $? -eq $PREVIOUS ] && end $OK 'nothing was installed'
	end $UNCHANGED 'this update keeps nothing to go back to: offer the older release again'
}

# room_for BYTES DIRECTORY: ends with NO_SPACE if there is less.
room_for() {
	free=$(df -Pk "$2" | awk 'NR == 2 { print $4 }')
	[ $(($1 / 1024)) -lt "${free:-0}" ] && return
	echo "@need-bytes $1"
	end $NO_SPACE "$2 has $free KiB left, $(($1 / 1024)) are needed"
}

# within SECONDS COMMAND...: the command must succeed in that time.
within() {
	seconds=$1
	shift
	until "$@"; do
		[ "$seconds" -gt 0 ] || return 1
		seconds=$((seconds - 1))
		sleep 1
	done
}

# units_run UNIT...: each is active within half a minute, and still two seconds later, which a crash loop is not.
units_run() {
	for unit; do
		within 30 systemctl is-active --quiet "$unit" || end $CHANGED "$unit does not run"
	done
	[ $# -eq 0 ] || sleep 2
	for unit; do
		systemctl is-active --quiet "$unit" || end $CHANGED "$unit does not stay up"
	done
}

# healthy: the check of the module's own settings.
healthy() {
	[ -z "${HEALTH-}" ] || sh -c "$HEALTH" || end $CHANGED "HEALTH failed: $HEALTH"
}
