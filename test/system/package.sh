#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# The package's life: upgraded while it works, rolled back, disabled, masked, removed, purged. dpkg gets no terminal.
. /srv/lib.sh
running() { spoke-zone-agent status --json | grep -q "\"version\": \"$1\""; }
old=$(dpkg-deb -f /srv/agent.deb Version | sed 's/-1$//')
new=$(dpkg-deb -f /srv/next.deb Version | sed 's/-1$//')

# What the status has of one module.
module() { status | sed 's/{"module":/\n&/g' | grep -F "{\"module\":\"$1\","; }
fetched() { module display | grep -oE '"bytes":[0-9]+' | head -n 1 | cut -d: -f2; }
installing() { module app | grep -F '"phase":"INSTALLING"'; }
hook() { systemctl list-units --no-legend --plain --state=active,activating 'spoke-ota-*' | awk '{ print $1 }'; }
# installer tells which invocation and which process the installer's unit and its hook's are.
installer() { for u in spoke-zone-install.service $(hook); do systemctl show -p Id,ActiveState,InvocationID,MainPID,NRestarts "$u"; done; }
vendors() { stat -c '%n %i %a %u:%g %y %z' $identity && stat -c '%n %i %a %u:%g' /etc/spoke-zone && md5sum $identity; }
vendors_as_before() { same "$(vendors)" "$vendors"; }

check "installs $old" install_deb
start_cloud --module display,app
lead_to_cloud
mkdir -p /var/lib/display /var/lib/app /var/tmp/sent
echo 1.0.0 | tee /var/lib/display/version >/var/lib/app/version
cat >/etc/spoke-zone-agent/agent.conf.d/60-work.conf <<'CONF'
[ota]
rate_limit = 128KiB
verify_time = 5s
[upload]
rate_limit = 64KiB
[module.display]
version_file = /var/lib/display/version
policy = fetch
[module.app]
version_file = /var/lib/app/version
policy = install
CONF
printf '[module.app]\nhook = file\nrequire = digest\n' >>/etc/spoke-zone-agent/install.conf
cat >/etc/spoke-zone-agent/hooks.d/app.conf <<'CONF'
TARGET=/var/lib/app/version
AFTER='echo ran >>/var/tmp/app; until [ -e /var/tmp/go ]; do sleep 0.1; done'
CONF
sed -i 's/^#level = info/level = debug/' /etc/spoke-zone-agent/agent.conf # a conffile that its owner changed
provision 0640
chown root:adm $identity
chmod 0750 /etc/spoke-zone
vendors=$(vendors)
systemctl reload $unit
await 15 "is online" online

# A hook at work, which lasts until it may end, 8 MiB on their way down, for a minute, and 2 MiB on their way up, for half of one.
echo 2.0.0 >/tmp/app
check "an update is offered" offer /tmp/app app 2.0.0
spoke-zone-agent ota check >/dev/null
await 30 "its hook is at work" test -s /var/tmp/app
head -c 2M /dev/urandom >/var/tmp/sent/large.txt
for n in 1 2 3 4 5; do echo "before $n" >/var/tmp/sent/before-$n.log; done
install -m 0644 /var/tmp/sent/large.txt $spool/txt
await 20 "a large data file is on its way" says '"in_flight":"large.txt"'
install -m 0644 /var/tmp/sent/before-*.log $spool/log
sim offer --module display --version 1.1.0 --size 8MiB >/tmp/offered
spoke-zone-agent ota check >/dev/null
all_under_way() {
	at=$(fetched)
	[ "${at:-0}" -gt 300000 ] && [ "$at" -lt 8000000 ] && says '"in_flight":"large.txt"' && installing && [ -n "$(hook)" ]
}
await 20 "hook, fetch and upload are under way at one moment" all_under_way
printf '[ota]\nrate_limit =\n[upload]\nrate_limit =\n' >/etc/spoke-zone-agent/agent.conf.d/70-fast.conf # for the next process
before=$(pid) kept=$(token) installer=$(installer)
check "is upgraded to $new, without a question" install_deb /srv/next.deb
for n in 1 2 3 4 5; do echo "after $n" >/var/tmp/sent/after-$n.log; done
install -m 0644 /var/tmp/sent/after-*.log $spool/log
await 10 "the new version runs" running "$new"
check "in a new process" differ "$before" "$(pid)"
await 15 "is online" online
check "with the same token" same "$kept" "$(token)"
check "the vendor's file and directory were not touched" vendors_as_before
check "the owner's settings are as they were" grep -q '^level = debug' /etc/spoke-zone-agent/agent.conf
check "the installer and its hook are what they were, and at work" same "$(installer)" "$installer"
check "the new version knows of it" installing
touch /var/tmp/go
await 60 "the update comes to its end" outcome '2.0.0.*COMMITTED'
check "its hook ran once" same "$(wc -l </var/tmp/app)" 1
check "what it installed is there" same "$(cat /var/lib/app/version)" 2.0.0
ready() { module display | grep -F '"phase":"READY"'; }
await 60 "the release comes to its end" ready
check "it is what was offered" same "$(grep -o '"sha256":"[^"]*' /tmp/offered)" "$(module display | grep -o '"sha256":"[^"]*')"
# The bytes that were there before the upgrade are not fetched again.
resumed() { sim events | grep '"kind":"download"' | grep -oE '"offset":[0-9]+' | cut -d: -f2 | awk -v at="$at" '$1 >= at { found = 1 } END { exit !found }'; }
check "from where it was, $at bytes, not from its start" resumed
expected() { (cd /var/tmp/sent && for f in *; do echo "\"puts\":1,\"name\":\"$f\",\"size\":$(stat -c %s "$f"),\"sha256\":\"$(sha256sum <"$f" | cut -d ' ' -f 1)\""; done | sort); }
arrived() { sim state | tr -d ' \t\n' | grep -oE '"puts":[^{]*"sha256":"[^"]*"' | sort; }
all_arrived() { same "$(arrived)" "$(expected)"; }
await 60 "the large file and ten small ones arrived once each, whole" all_arrived
sends() { sim events | grep -E '"kind":"request".*"op":"data-put".*"path":"/api/v2/data-files/'"$1/" | grep -oE '"status":[0-9]+' | tr '\n' ' '; }
large=$(sim state | tr -d ' \t\n' | grep -oE '"id":[0-9]+,[^{]*"name":"large' | grep -oE '^"id":[0-9]+' | cut -d: -f2)
check "the large file's first sending was cut, its second was not" same "$(sends "$large")" '"status":400 "status":200 '

check "is rolled back to $old, without a question" install_deb
await 10 "the old version runs" running "$old"
await 15 "is online" online
check "with the same token" same "$kept" "$(token)"
check "keeps the release it has" says '"phase":"READY"'

# What an administrator decided
works
left() { # left STATE: as it was decided, through an upgrade, and a removal and an installation
	check "is upgraded while $1" install_deb /srv/next.deb
	stays "$1"
	check "is removed" dpkg -r spoke-zone-agent
	check "is installed again" install_deb
	stays "$1"
}
systemctl disable -q --now $units
left disabled
systemctl mask -q $units
left masked
systemctl unmask -q $units
systemctl enable -q --now $units
await 15 "is online when it may again" online
check "the vendor's file and directory were not touched" vendors_as_before

# The end
spoke_zone_files() { find /etc /var /usr /run -xdev -path /usr/share/doc -prune -o \( -name '*spoke-zone*' -o -name '*spoke_zone*' \) -print | sort; }
check "is removed" dpkg -r spoke-zone-agent
check "is stopped" same "$(active)" inactive
check "keeps its state" test -d /var/lib/spoke-zone-agent/cred
check "keeps its settings" test -e /etc/spoke-zone-agent/agent.conf
check "the token file is there" same "$kept" "$(token)"
check "is installed again" install_deb
await 15 "and is online by itself" online
works
check "is removed again" dpkg -r spoke-zone-agent
mkdir -p $drop_ins # an administrator's
echo '[Service]' >$drop_ins/50-own.conf
check "is purged" dpkg -P spoke-zone-agent
check "state and drop box are gone" refuse ls /var/lib/spoke-zone-agent $spool
check "its settings are gone but the administrator's" same "$(find /etc/spoke-zone-agent -type f | sort | tr '\n' ' ')" \
	"$(printf '/etc/spoke-zone-agent/%s ' agent.conf.d/50-cloud.conf agent.conf.d/60-work.conf agent.conf.d/70-fast.conf ca.pem hooks.d/app.conf)"
check "links and deb-systemd-helper's notes are gone, but not the administrator's" same "$(find /etc/systemd /var/lib/systemd -name '*spoke*')" $drop_ins
check "the vendor's file and directory were not touched" vendors_as_before
rm -r /etc/spoke-zone /etc/spoke-zone-agent $drop_ins
check "installs on the purged system" install_deb
works

# The settings are the owner's, not the package's.
dpkg-deb -R /srv/next.deb /tmp/other
for name in agent install; do echo '# of the new version' >>/tmp/other/etc/spoke-zone-agent/$name.conf; done
dpkg-deb -Zgzip --root-owner-group -b /tmp/other /tmp/other.deb >/dev/null
sed -i 's/^#level = info/level = debug/' /etc/spoke-zone-agent/agent.conf
before=$(md5sum </etc/spoke-zone-agent/agent.conf)
check "without an answer, changed settings are replaced by no others" refuse install_deb /tmp/other.deb
check "they are as they were" same "$(md5sum </etc/spoke-zone-agent/agent.conf)" "$before"
check "is upgraded to one with other settings, keeping what is changed" dpkg --force-confdef --force-confold -i /tmp/other.deb
check "they are as they were" same "$(md5sum </etc/spoke-zone-agent/agent.conf)" "$before"
check "the new ones are beside them" grep -qx '# of the new version' /etc/spoke-zone-agent/agent.conf.dpkg-dist
check "a file that nobody changed is new" grep -qx '# of the new version' /etc/spoke-zone-agent/install.conf
check "purges in one step" dpkg -P spoke-zone-agent
check "an empty /etc/spoke-zone goes with it" refuse test -e /etc/spoke-zone
check "nothing is left of it" same "$(spoke_zone_files | tr '\n' ' ')" ""
