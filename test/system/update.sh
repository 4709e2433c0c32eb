#!/bin/bash
# shellcheck source=test/system/lib.sh disable=SC2119,SC2154 # unit and others are of lib.sh
# The agent's own package updates itself through itself, stays once it has proven itself, and is taken back when it is ill.
. /srv/lib.sh
package=spoke-zone-agent
installed() { dpkg-query -W -f '${db:Status-Status} ${db:Status-Eflag} ${Version}' $package; }
is_installed() { same "installed ok $1" "$(installed)"; }
same_pid() { [ "$(pid)" = "$1" ]; }
undamaged() { same "" "$(dpkg --verify $package | grep -v ' c ')"; }
next=9.0.1-1 ill=9.0.2-1 dead=9.0.3-1

# renumbered VERSION [PROGRAM]: a package of another build of the agent under that number, or with another program, in the
# place of the hook, too.
renumbered() {
	rm -rf /tmp/renumbered
	dpkg-deb -R /srv/next.deb /tmp/renumbered
	sed -i "s/^Version: .*/Version: $1/" /tmp/renumbered/DEBIAN/control
	if [ $# -gt 1 ]; then
		for program in bin/spoke-zone-agent lib/spoke-zone-agent/hooks/dpkg; do install -m 0755 "$2" /tmp/renumbered/usr/$program; done
		: >/tmp/renumbered/usr/lib/spoke-zone-agent/hooks/lib.sh
	fi
	dpkg-deb -Zgzip --root-owner-group -b /tmp/renumbered /tmp/renumbered.deb >/dev/null
}

check "the package is installed" install_deb
start_cloud --module $package
lead_to_cloud
provision
cat >/etc/spoke-zone-agent/agent.conf.d/60-update.conf <<CONF
[ota]
check_interval = 5s
verify_time = 5s
[module.$package]
version_command = dpkg-query -W -f \${Version} $package
policy = install
CONF
printf '[module.%s]\nhook = dpkg\nrequire = digest\n' $package >/etc/spoke-zone-agent/install.conf
cat >/etc/spoke-zone-agent/hooks.d/$package.conf <<CONF
PACKAGE=$package
UNITS=$unit
HEALTH='! dpkg -s $package | grep -qxF "Version: $ill"'
CONF
short_times
check "the service restarts with the settings" systemctl restart $unit
await 30 "the session is up" online
first=$(installed) before=$(pid)
renumbered $next

check "the next version is offered" offer /tmp/renumbered.deb $package $next
await 120 "the agent has installed its own next version" is_installed $next
await 60 "and proven it" outcome "$next.*COMMITTED"
check "the service is another process" refuse same_pid "$before"
check "nothing of the package is damaged" undamaged
check "what was installed is kept for the way back" test -s /var/lib/spoke-zone-installer/keep/$package/$package.deb

renumbered $ill
check "an ill version is offered" offer /tmp/renumbered.deb $package $ill
await 180 "it is undone" outcome "$ill.*FAILED"
check "the version before is back" is_installed $next
await 30 "and runs" online

# A version that does not start cannot undo itself: the guard does, by the copy of the program that installed it.
state=/var/lib/spoke-zone-installer guard=spoke-zone-guard
check "the guard's timer is enabled" systemctl is-enabled --quiet $guard.timer
check "and active" systemctl is-active --quiet $guard.timer
check "nothing is left to prove" same "" "$(ls -A $state/unproven)"
mkdir -p /etc/systemd/system/$guard.{timer,service}.d
printf '[Timer]\nOnCalendar=*:*:0/5\nAccuracySec=1s\n' >/etc/systemd/system/$guard.timer.d/test.conf
printf '[Service]\nExecStart=\nExecStart=%s/guard/spoke-zone-agent install-run --guard --after 20s\n' $state >/etc/systemd/system/$guard.service.d/test.conf
systemctl daemon-reload
check "the guard's timer starts anew" systemctl restart $guard.timer
printf '#!/bin/sh\nexit 1\n' >/tmp/dead
renumbered $dead /tmp/dead
check "a version whose program does not start, nor its hook, is offered" offer /tmp/renumbered.deb $package $dead
await 60 "it is installed" is_installed $dead
await 20 "and does not run" refuse systemctl is-active --quiet $unit
await 120 "the guard brings the version before back" is_installed $next
await 60 "which runs" online
await 60 "the update has failed, and the status says why" outcome "$dead.*FAILED.*undonewithouttheagent"
check "nothing of the package is damaged" undamaged
await 20 "nothing is left to prove" same "" "$(ls -A $state/unproven)"
check "the guard had no fault" refuse systemctl is-failed --quiet $guard.service
figure "from $first to $next, and from $ill back"
