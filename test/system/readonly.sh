#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# A gateway whose / is read-only, by the read-only-root examples: its image is made, then it is booted twice with one
# /rw_data, which is all that stays. test/system/readonly calls it for each.
. /srv/lib.sh
examples=/usr/share/doc/spoke-zone-agent/examples
vendors=/rw_data/spoke-zone/spoke-zone.conf
spool=/rw_data/spoke-zone-agent/spool
# shellcheck disable=SC2034 # lib.sh's short_times has it
drop_ins=/run/systemd/system/$unit.d
state=/rw_data/spoke-zone-agent/state installer=/rw_data/spoke-zone-installer
kept=/rw_data/before # what the first boot leaves for the second to compare

image() {
	mkdir -p /rw_data
	check "image: the package is installed" install_deb
	sed -n '/^## Read-only root/,/^## First/p' /srv/install.md | awk '/^```/ { code = !code; next } code' | grep -v '^system' >/tmp/commands
	check "image: the page has commands" grep -q read-only-root.conf /tmp/commands
	check "image: they work" bash -eu /tmp/commands
	rm -rf /rw_data/*
	cp /srv/ca.pem /tmp/ca.pem
	lead_to_cloud
	sed -n 's/^#   //p' $examples/read-only-root.conf >/etc/spoke-zone-agent/agent.conf.d/40-paths.conf
	sed -n 's/^#   //p' $examples/read-only-root-install.conf >>/etc/spoke-zone-agent/install.conf
	cat >/etc/spoke-zone-agent/agent.conf.d/60-work.conf <<-'CONF'
		[ota]
		verify_time = 5s
		[module.app]
		version_file = /rw_data/app/version
		policy = install
		[module.display]
		version_file = /rw_data/display
		policy = fetch
	CONF
	printf '[module.app]\nhook = file\nrequire = digest\n' >>/etc/spoke-zone-agent/install.conf
	echo TARGET=/rw_data/app/version >/etc/spoke-zone-agent/hooks.d/app.conf
	echo '/srv/partition /rw_data none bind 0 0' >/etc/fstab
	: >/etc/machine-id
	rm -f /tmp/{ca.pem,commands}
}

refused() { # refused DIR: nothing can be made in it, because of the file system
	local why
	why=$(touch "$1/x" 2>&1) && echo "it was made" && return 1
	grep -q 'Read-only file system' <<<"$why" || { echo "$why" && false; }
}
read_only() {
	check "$boot: / is mounted read-only" grep -qE '^[^ ]+ / [^ ]+ ro[, ]' /proc/self/mounts
	for dir in / /etc /etc/spoke-zone /etc/spoke-zone-agent /etc/systemd/system /usr/bin; do check "$boot: nothing can be written in $dir" refused $dir; done
	check "$boot: /var is in memory, and new" eval '[ "$(stat -f -c %T /var)" = tmpfs ] && mkdir /var/seen'
	check "$boot: /rw_data can be written" touch /rw_data/x
	works "$boot: "
	check "$boot: the path unit watches /rw_data" has Paths "$state/install" spoke-zone-install.path
}
nothing_elsewhere() {
	check "$boot: nothing of it is in /var" same "$(find /var -path /var/tmp -prune -o -name '*spoke*' -print)" ""
	check "$boot: nobody met the read-only root" refuse grep -i 'read-only file system' <(journal)
}
module() { status | sed 's/{"module":/\n&/g' | grep -F "{\"module\":\"$1\","; }
ready() { module display | grep -F '"phase":"READY"'; }
downloads() { sim events | grep -c '"kind":"download"'; }
installed() { same "$(cat /rw_data/app/version)" $1; }
waits() { grep -qE "\"outbox\":\{[^}]*\"messages\":$1[,}]" <<<"$(status)" || { status | grep -oE '"outbox":[^}]*'; false; }; }
token_in_force_is_not() { local now && now=$(spoke-zone-agent token) && [ -n "$now" ] && differ "$1" "$now"; }
newer() { [ "$2" -gt "$1" ]; }
published() { sim events | grep '"kind":"publish"' | grep -oE "/note/[0-9]" | sort -u | wc -l; }
all_published() { same "$(published)" 3; }

first() {
	boot="first boot"
	read_only
	await 10 "waits for an identity" says '"identity":{"state":"unprovisioned"'
	mkdir -p /rw_data/app
	echo 1.0.0 | tee /rw_data/display >/rw_data/app/version
	install -D -m 0640 "$(factory 1h)" $vendors
	await 15 "comes online by itself once the file is in /rw_data" online
	before=$(token)
	check "renews" spoke-zone-agent renew
	await 5 "writes the new token there" token_is_not "$before"
	check "and says so" says '"identity_file":true'
	check "the link stays, and owner and mode" same "$(readlink $identity) $(owner $vendors)" "$vendors 640:root:root"
	check "the drop box is there, for everybody" same "$(owner $spool/log)" 1777:root:root
	setpriv --reuid=daemon --regid=daemon --clear-groups sh -c "umask 022; echo 'door opened' >$spool/log/door.log"
	before=$(pid) generation=$(value generation)
	mount -o remount,bind,rw / && printf '[log]\nlevel = debug\n' >/etc/spoke-zone-agent/agent.conf.d/70-level.conf && mount -o remount,bind,ro /
	check "reloads what was written while / could be" systemctl reload $unit
	check "in a new generation" newer "$generation" "$(value generation)"
	check "in the same process" same "$before" "$(pid)"
	check "/ is read-only again" refused /etc
	short_times
	issued=$(value issued)
	kill -9 "$before"
	await 20 "answers after kill -9" answers
	await 20 "is online" online
	check "with the same token" same "$issued" "$(value issued)"

	sim offer --module display --version 1.1.0 --size 256KiB >/dev/null
	echo 2.0.0 >/tmp/app && offer /tmp/app app 2.0.0
	spoke-zone-agent ota check >/dev/null
	await 30 "fetches a release" ready
	await 60 "the path unit has an update installed" outcome '2.0.0.*COMMITTED'
	check "it is there" installed 2.0.0
	check "no request is left" same "$(ls -A $state/install)" ""
	check "systemd-analyze verify is silent" silent systemd-analyze verify --man=no $unit spoke-zone-install.{path,service} spoke-zone-guard.service
	check "the guard's condition fails where nothing is unproven" systemctl start spoke-zone-guard.service
	check "it did not run" has ConditionResult '^no$' spoke-zone-guard.service
	echo 3.0.0 >/tmp/app && offer /tmp/app app 3.0.0
	spoke-zone-agent ota check >/dev/null
	await 30 "another one is installed" installed 3.0.0
	check "and its agent stops before it is proven" systemctl stop $unit
	check "the installer keeps a note of it" test -n "$(ls -A $installer/unproven)"
	mkdir -p /run/systemd/system/spoke-zone-guard.service.d
	printf '[Service]\nExecStart=\nExecStart=%s --after 1s\n' "$(systemctl show -P ExecStart spoke-zone-guard.service | sed 's/.*argv\[\]=\([^;]*\) ;.*/\1/')" \
		>/run/systemd/system/spoke-zone-guard.service.d/test.conf
	systemctl daemon-reload
	sleep 1
	check "the guard runs" systemctl start spoke-zone-guard.service
	check "by its copy in /rw_data, and undoes it" installed 2.0.0
	systemctl start $unit
	await 30 "the agent is told" outcome '3.0.0.*FAILED'
	await 15 "is online" online

	await 20 "the user's file was taken out of the drop box" refuse test -e $spool/log/door.log
	await 20 "and is in the cloud" cloud_has 'door\.log'

	sim fault unreachable=always >/dev/null
	for n in 1 2 3; do spoke-zone-agent publish note/$n "message $n" >/dev/null; done
	await 10 "without a network, three messages wait" waits 3
	check "none arrived" same "$(published)" 0
	nothing_elsewhere
	{ token && value issued && downloads; } >$kept
}

second() {
	boot="second boot"
	read_only
	check "the token is that of the first" same "$(token && value issued)" "$(head -n 2 $kept)"
	check "the three messages wait" waits 3
	check "the release is at hand" ready
	check "the updates of the first are known" outcome '3.0.0.*FAILED'
	sim fault unreachable=off >/dev/null
	await 30 "is online" online
	check "with that token" same "$(value issued)" "$(sed -n 2p $kept)"
	await 10 "the messages arrive" all_published
	nothing_elsewhere
	spoke-zone-agent ota check >/dev/null
	sleep 1
	check "nothing is fetched again" same "$(downloads)" "$(sed -n 3p $kept)"
	check "nor installed again" installed 2.0.0

	# The other way to a file that can be written, and a file that cannot. The agent has a better token than the one it finds.
	check "/etc/spoke-zone is a mount from /rw_data" mount --bind /rw_data/spoke-zone /etc/spoke-zone
	for way in rw ro; do
		cat "$(factory 1h)" >$identity
		before=$(token)
		mount -o remount,bind,$way /etc/spoke-zone
		systemctl restart $unit
		await 15 "mounted $way: is online" online
		[ $way = ro ] || await 10 "mounted $way: writes its token there" token_is_not "$before"
	done
	check "the file is no link, and as it was" eval '[ ! -L $identity ] && same "$(token)" "$before"'
	check "the token in force is better" token_in_force_is_not "$before"
	await 10 "and the status says why it is not in the file" says 'read-onlyfilesystem'
}

if [ "$(cat /proc/1/comm)" != systemd ]; then
	image
elif [ -e $kept ]; then
	second
else
	first
fi
