#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# The package's life: upgraded while it works, rolled back, disabled, masked, removed, purged. dpkg gets no terminal.
. /srv/lib.sh
running() { spoke-zone-agent status --json | grep -q "\"version\": \"$1\""; }
old=$(dpkg-deb -f /srv/agent.deb Version | sed 's/-1$//')
new=$(dpkg-deb -f /srv/next.deb Version | sed 's/-1$//')

check "installs $old" install_deb
start_cloud --module display
lead_to_cloud
mkdir -p /var/lib/display
echo 1.0.0 >/var/lib/display/version
printf '[module.display]\nversion_file = /var/lib/display/version\npolicy = fetch\n[ota]\nrate_limit = 1MiB\n' >/etc/spoke-zone-agent/agent.conf.d/60-display.conf
sed -i 's/^#level = info/level = debug/' /etc/spoke-zone-agent/agent.conf # a conffile that its owner changed
provision
systemctl reload $unit
await 15 "is online" online

# While it fetches 8 MiB at 1 MiB/s and uploads
sim offer --module display --version 1.1.0 --size 8MiB >/tmp/offered
spoke-zone-agent ota check >/dev/null
fetching() { [ "$(status | grep -oE '"bytes":[0-9]+,"total"' | grep -oE '[0-9]+')" -gt 1500000 ]; }
await 20 "is in the middle of a release" fetching
for n in 1 2 3 4 5; do echo "before $n" >$spool/log/before-$n.log; done
before=$(pid) kept=$(token)
check "is upgraded to $new, without a question" install_deb /srv/next.deb
for n in 1 2 3 4 5; do echo "after $n" >$spool/log/after-$n.log; done
await 10 "the new version runs" running "$new"
check "in a new process" differ "$before" "$(pid)"
check "with the same token" same "$kept" "$(token)"
check "the owner's settings are as they were" grep -q '^level = debug' /etc/spoke-zone-agent/agent.conf
await 15 "is online" online
await 60 "the release comes to its end" says '"phase":"READY"'
check "it is what was offered" same "$(grep -o '"sha256":"[^"]*' /tmp/offered)" "$(status | grep -o '"sha256":"[^"]*')"
resumed() { sim events | grep '"kind":"download"' | grep -oE '"offset":[0-9]+' | cut -d: -f2 | awk '$1 > 1000000 { found = 1 } END { exit !found }'; }
check "from where it was, not from its start" resumed
uploaded() { [ "$(sim state | grep -oE '(before|after)-[1-5]\.log' | sort | uniq -c | awk '$1 == 1' | wc -l)" = 10 ]; }
await 30 "each of 10 files dropped around the upgrade arrived once" uploaded

check "is rolled back to $old, without a question" install_deb
await 10 "the old version runs" running "$old"
await 15 "is online" online
check "with the same token" same "$kept" "$(token)"
check "keeps the release it has" says '"phase":"READY"'

# What an administrator decided
systemctl disable -q --now $unit
check "is upgraded while disabled" install_deb /srv/next.deb
check "stays disabled" refuse systemctl is-enabled --quiet $unit
check "stays stopped" refuse systemctl is-active --quiet $unit
systemctl mask -q $unit
check "is upgraded while masked" install_deb
check "stays masked" same "$(systemctl is-enabled $unit 2>/dev/null)" masked
check "stays stopped" refuse systemctl is-active --quiet $unit
systemctl unmask -q $unit
systemctl enable -q --now $unit
await 15 "is online when it may again" online

# The end
spoke_zone_files() { find /etc /var /usr /run -xdev -path /usr/share/doc -prune -o \( -name '*spoke-zone*' -o -name '*spoke_zone*' \) -print | sort; }
check "is removed" dpkg -r spoke-zone-agent
check "is stopped" refuse systemctl is-active --quiet $unit
check "keeps its state" test -d /var/lib/spoke-zone-agent/cred
check "keeps its settings" test -e /etc/spoke-zone-agent/agent.conf
check "the token file is there" same "$kept" "$(token)"
check "is installed again" install_deb
await 15 "and is online by itself" online
check "is removed again" dpkg -r spoke-zone-agent
before=$(md5sum $identity; owner $identity; owner /etc/spoke-zone)
check "is purged" dpkg -P spoke-zone-agent
check "state and drop box are gone" refuse ls /var/lib/spoke-zone-agent $spool
check "its settings are gone but the administrator's" same "$(find /etc/spoke-zone-agent -type f | sort | tr '\n' ' ')" \
	"/etc/spoke-zone-agent/agent.conf.d/50-cloud.conf /etc/spoke-zone-agent/agent.conf.d/60-display.conf /etc/spoke-zone-agent/ca.pem "
check "links and deb-systemd-helper's notes are gone" same "$(find /etc/systemd /var/lib/systemd -name '*spoke*')" ""
check "the token file is as it was" same "$before" "$(md5sum $identity; owner $identity; owner /etc/spoke-zone)"
rm -r /etc/spoke-zone /etc/spoke-zone-agent
check "installs on the purged system" install_deb
await 10 "is active" systemctl is-active --quiet $unit
check "purges in one step" dpkg -P spoke-zone-agent
check "an empty /etc/spoke-zone goes with it" refuse test -e /etc/spoke-zone
check "nothing is left of it" same "$(spoke_zone_files | tr '\n' ' ')" ""
