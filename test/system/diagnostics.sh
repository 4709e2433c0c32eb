#!/bin/bash
# shellcheck disable=SC1091,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# Diagnostics with a real journald: the level is raised by the cloud's broker, the journal arrives in excerpts that follow
# one another through restarts and kills, the level falls back when its time is over, and `diagnose` has no secret.
. /srv/lib.sh

lines=1500
files() { sim state | tr -d ' \t\n' | grep -oE '"id":[0-9]+,"device":[0-9]+,"type":"'"$1"'"[^}]*"puts":[1-9]' | grep -oE '^"id":[0-9]+' | cut -d: -f2; }
has_files() { [ "$(files "$1" | wc -l)" -ge "$2" ] || { sim state | tail -n 40; false; }; }
content() { # content ID: the data file
	exec 5<>/dev/tcp/127.0.0.1/9000
	printf 'GET /data-files/%s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$1" >&5
	sed '1,/^\r$/d' <&5
	exec 5>&-
}
arrived() { for id in $(files "$1"); do content "$id"; done; }
said_lines() { arrived journal | sed -nE 's/.* sh\[[0-9]+\]: line ([0-9]+) of the chatter$/\1/p'; }
all_arrived() { [ "$(said_lines | wc -l)" -ge $lines ] || { said_lines | tail -n 1; false; }; }
recorded() { grep -qE "\"type\":\"$1\",\"files\":[1-9]" <<<"$(status)" || { status; false; }; }

check "installs" install_deb
start_cloud
lead_to_cloud
printf '[diagnostics]\ninterval = 1s\njournal_units = chatter.service\n' >/etc/spoke-zone-agent/agent.conf.d/60-diagnostics.conf
provision
short_times
systemctl restart $unit
await 15 "is online" online

# A unit that talks while the level is raised and the agent comes and goes.
cat >/run/systemd/system/chatter.service <<UNIT
[Service]
ExecStart=/bin/sh -c 'for i in \$\$(seq $lines); do echo "line \$\$i of the chatter"; sleep 0.01; done'
UNIT
systemctl daemon-reload
check "a unit begins to talk" systemctl start chatter
check "nothing is recorded at level normal" refuse has_files journal 1
check "the cloud raises the level" sim publish --command diagnostics '{"level":"debug","debug_level":"debug"}'
await 15 "status says so" says '"level":"debug"'
await 20 "the first excerpt of the journal is at the cloud" has_files journal 1
check "restarts" systemctl restart $unit
await 15 "keeps the level" says '"level":"debug"'
count=$(files journal | wc -l)
await 30 "the next excerpt comes" has_files journal $((count + 1))
kill -9 "$(pid)"
await 20 "is up again after kill -9" answers
count=$(files journal | wc -l)
await 30 "and the next excerpt comes" has_files journal $((count + 1))
kill -9 "$(pid)"
await 60 "every line of the unit has arrived" all_arrived
figure "excerpts: $(files journal | wc -l) for $lines lines, through a restart and two kills"
check "each line once, in its order" same "$(said_lines | sha256sum)" "$(seq $lines | sha256sum)"
check "other units' lines are not in them" refuse grep -q 'spoke-zone-agent\[' <(arrived journal)
await 20 "status counts them" recorded journal
await 20 "the agent's own log arrives" has_files debug 1
check "with what the journal does not have" grep -q 'level=DEBUG' <(arrived debug)
secrets() { sed -n 's/.*mqtt_username *= *//p' $identity /tmp/factory/spoke-zone.conf; }
check "and without a token" refuse grep -qF "$(secrets)" <(arrived debug)
check "status has no error of diagnostics" refuse says 'arenotrecorded'

# The level falls back by itself.
printf '[diagnostics]\ninterval = 1s\nmax_time = 10s\n' >/etc/spoke-zone-agent/agent.conf.d/60-diagnostics.conf
check "takes a shorter time into its settings" systemctl reload $unit
await 30 "the level falls back when its time is over" says '"level":"normal"'
systemd-run -q --wait --unit=later echo "after the end of the chatter"
sleep 4
check "nothing is recorded any more" refuse grep -q 'after the end of the chatter' <(arrived journal)

# Whoever may not read the journal is told.
mkdir -p $drop_ins
cp /usr/share/doc/spoke-zone-agent/examples/unprivileged.conf $drop_ins/
sed -i 's/^SupplementaryGroups=.*//' $drop_ins/unprivileged.conf
rm /etc/spoke-zone-agent/agent.conf.d/60-diagnostics.conf
systemctl daemon-reload
systemctl restart $unit
await 15 "unprivileged, and in no group: is online" online
sim publish --command diagnostics '{"level":"debug"}' >/dev/null
await 15 "says that it may not read the journal" says 'notallowedtoreadthejournal'
check "why says it, too" grep -q 'not allowed to read the journal' <(spoke-zone-agent why commands)
cp /usr/share/doc/spoke-zone-agent/examples/unprivileged.conf $drop_ins/
systemctl daemon-reload
systemctl restart $unit
await 20 "in the group systemd-journal, it records" recorded journal
rm $drop_ins/unprivileged.conf
systemctl daemon-reload
systemctl restart $unit
await 15 "is online as root again" online

# The bundle.
check "diagnose writes an archive" spoke-zone-agent diagnose -o /tmp/support.tar.gz
tar -xzf /tmp/support.tar.gz -C /tmp
check "with the units' journal" grep -q 'spoke-zone-agent\[[0-9]*\]: ' /tmp/spoke-zone-support/journal.txt
check "and the status" grep -q '"level": "debug"' /tmp/spoke-zone-support/status.json
ids() { secrets; sed -nE 's/^(cpu_id|uuid) *= *//p' $identity; }
check "and no token, cpu_id or uuid" refuse grep -rqF "$(ids)" /tmp/spoke-zone-support
systemctl stop $unit
check "without the daemon, too" spoke-zone-agent diagnose -o /tmp/stopped.tar.gz
