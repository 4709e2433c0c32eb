# shellcheck shell=bash disable=SC2034,SC2086
# What the scripts that run inside the containers share. Each check prints a row: its result and its name.
set -u
unit=spoke-zone-agent.service
units="$unit spoke-zone-install.path spoke-zone-guard.timer" # that the package enables
identity=/etc/spoke-zone/spoke-zone.conf
drop_ins=/etc/systemd/system/$unit.d
spool=/var/spool/spoke-zone-agent
said=/tmp/said
export SPOKE_ZONE_SIM_URL=http://127.0.0.1:9000 DEBIAN_FRONTEND=noninteractive
cloud=

row() { printf '  %-8s %s\n' "$1" "$2"; }
seconds() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }'; }
figure() { row figure "$1"; }

# check WHAT COMMAND...: the command must succeed.
check() { await 0 "$@"; }

# await SECONDS WHAT COMMAND...: the command must succeed, within so many seconds on a machine of its own and four times as many elsewhere.
await() {
	local limit=$((4 * $1)) what=$2 start=$EPOCHREALTIME
	shift 2
	until "$@" >$said 2>&1 </dev/null; do
		if awk -v a="$start" -v b="$EPOCHREALTIME" -v l="$limit" 'BEGIN { exit b - a < l }'; then
			row FAIL "$what: $(tail -n 3 $said | tr '\n' ' ')"
			return
		fi
		sleep 0.1
	done
	row ok "$what"
}

refuse() { ! "$@"; }
same() { [ "$1" = "$2" ] || { echo "got \"$1\", want \"$2\""; false; }; }
differ() { [ "$1" != "$2" ] || { echo "both are \"$1\""; false; }; }
silent() { # silent COMMAND...: succeeds, and has nothing to say
	local status=0
	"$@" >$said.silent 2>&1 || status=$?
	cat $said.silent
	[ $status = 0 ] && [ ! -s $said.silent ]
}

# What systemd and the agent say.
property() { systemctl show -P "$1" "${2:-$unit}"; }
has() { [[ $(property "$1" "${3:-$unit}") =~ $2 ]] || { echo "$1 is $(property "$1" "${3:-$unit}")"; false; }; } # has PROPERTY PATTERN [UNIT]
pid() { property MainPID; }
status() { spoke-zone-agent status --json | tr -d ' \t\n'; }
says() { grep -qF -- "$1" <<<"$(status)" || { status; false; }; }
value() { status | grep -oE "\"$1\":\"?[^,\"}]*" | head -n 1 | sed 's/^[^:]*:"\?//'; }
token() { sed -n 's/^mqtt_username *= *//p' $identity; }
owner() { stat -c %a:%U:%G "$1"; }
journal() { journalctl -b --no-pager -q "$@"; }
journal_says() { grep -q -- "$1" <<<"$(journal -u $unit)" || { journal -u $unit -n 3; false; }; }
token_is_not() { differ "$1" "$(token)"; }
answers() { says "\"pid\":$(pid),"; }
online() { says '"mqtt":{"state":"online"'; }
short_times() { # no restart that the checks cause need wait 5 s
	mkdir -p $drop_ins
	printf '[Service]\nRestartSec=1s\n%s\n' "$@" >$drop_ins/00-test.conf
	systemctl daemon-reload
}

install_deb() { dpkg -i "${1:-/srv/agent.deb}"; }

# The states that the units have: one word if it is the same for all.
enabled() { systemctl is-enabled $units 2>/dev/null | sort -u | paste -sd ' '; }
active() { systemctl is-active $units | sort -u | paste -sd ' '; }
all_active() { same "$(active)" active; }
works() { # works [PREFIX]: as after an installation
	check "${1-}all units are enabled" same "$(enabled)" enabled
	await 10 "${1-}all units are active" all_active
}
stays() { # stays STATE [PREFIX]: as an administrator left them
	check "${2-}all units stay $1" same "$(enabled)" "$1"
	check "${2-}all units stay stopped" same "$(active)" inactive
}

# score UNIT MOST: the exposure that systemd-analyze sees.
score() {
	local told exposure
	told=$(systemd-analyze security --no-pager "$1" 2>/dev/null | tail -n 1)
	exposure=$(grep -oE '[0-9]+\.[0-9]+' <<<"$told" | head -n 1)
	figure "systemd-analyze security $1: ${exposure:-none} (at most $2)"
	check "exposure is at most $2" awk -v e="${exposure:-10}" -v m="$2" 'BEGIN { exit e > m }'
}

# start_cloud runs the simulator: TLS on loopback, ports that the next one has too.
start_cloud() {
	/srv/spoke-zone-sim serve --tls --ca-out /tmp/ca.pem --admin 127.0.0.1:9000 --http 127.0.0.1:8443 --mqtt 127.0.0.1:8883 \
		--files 127.0.0.2:8444 "$@" >/tmp/cloud.json 2>/tmp/cloud.err &
	cloud=$!
	await 10 "the simulated cloud is up (TLS on loopback)" test -s /tmp/cloud.json
}
sim() { /srv/spoke-zone-sim "$@"; }
# offer FILE MODULE VERSION: an update whose digest the notes name.
offer() {
	sim offer "$1" --module "$2" --version "$3" \
		--notes "ota1 sha256=$(sha256sum <"$1" | cut -d ' ' -f 1) size=$(stat -c %s "$1") module=$2 version=$3" >/dev/null
}
outcome() { grep -qE "\"outcome\":\"$1" <<<"$(status)" || { status | grep -oE '"ota":.*"upload"'; false; }; }
cloud_has() { sim state | grep -qE "$1"; }

# factory makes an identity file with a token that lives so long.
factory() { sim provision /tmp/factory --force --life "${1:-160h}" >/dev/null && echo /tmp/factory/spoke-zone.conf; }

# lead_to_cloud is the drop-in of agent.conf that names the simulator.
lead_to_cloud() {
	install -m 0644 /tmp/ca.pem /etc/spoke-zone-agent/ca.pem
	mkdir -p /etc/spoke-zone-agent/agent.conf.d
	cat >/etc/spoke-zone-agent/agent.conf.d/50-cloud.conf <<-'CONF'
		[cloud]
		url = https://127.0.0.1:8443
		ca_file = /etc/spoke-zone-agent/ca.pem
		[mqtt]
		broker = mqtts://127.0.0.1:8883
	CONF
}
provision() { install -D -m "${1:-0600}" "$(factory "${2:-160h}")" $identity; }

end() {
	[ -z "$cloud" ] || kill "$cloud"
	wait
}
trap end EXIT
ip link set lo up 2>/dev/null # systemd-nspawn has done it; the smallest roots have no ip
