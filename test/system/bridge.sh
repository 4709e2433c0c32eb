#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# Debian's Mosquitto as the bridge of docs/bridge.md: the units and drop-in that the package ships, set up as written there.
. /srv/lib.sh
examples=/usr/share/doc/spoke-zone-agent/examples
file=/etc/mosquitto/spoke-zone/bridge.conf

install_deb >/dev/null
start_cloud --module display
lead_to_cloud
provision 0600 1h
await 15 "the agent is online" online

install -d -m 2750 -o root -g mosquitto /etc/mosquitto/spoke-zone
install -d $drop_ins
cp $examples/bridge.conf $drop_ins/
cp $examples/mosquitto-bridge.path $examples/mosquitto-bridge.service /etc/systemd/system/
cat >/etc/mosquitto/mosquitto.conf <<'CONF'
persistence true
persistence_location /var/lib/mosquitto/
listener 1883 127.0.0.1
allow_anonymous true
include_dir /etc/mosquitto/spoke-zone
CONF
printf '[bridge]\nfile  = %s\ngroup = mosquitto\n' $file >/etc/spoke-zone-agent/agent.conf.d/60-bridge.conf
systemctl daemon-reload
check "Mosquitto starts" systemctl restart mosquitto
check "its path unit is enabled" systemctl enable --now mosquitto-bridge.path
before=$(property MainPID mosquitto.service)
check "the agent starts with the drop-in" systemctl restart $unit
await 20 "writes the bridge's file" test -s $file
check "for Mosquitto alone" same "$(owner $file)" 640:root:mosquitto
check "with the token" grep -qF "$(token)" $file
restarted() { systemctl is-active --quiet mosquitto && differ "$1" "$(property MainPID mosquitto.service)"; }
await 20 "systemd restarts Mosquitto for it" restarted "$before"

reaches_the_cloud() { mosquitto_pub -h 127.0.0.1 -q 1 -t mon/door -m "$1" && sim events | grep '/mon/door"' | grep -qE "\"size\":${#1}[,}]"; }
hears_the_cloud() { # a local program subscribes, and then the cloud speaks
	mosquitto_sub -h 127.0.0.1 -q 1 -t 'ctrl/#' -C 1 -W 5 >/tmp/heard &
	local listener=$!
	sleep 0.5 # for its SUBACK; one that came too late is tried again
	sim publish --command light "$1" && wait $listener && grep -qx "$1" /tmp/heard
}
await 20 "a local program's message reaches the cloud" reaches_the_cloud open
await 20 "the cloud's reaches a local program" hears_the_cloud on

before=$(property MainPID mosquitto.service) old=$(token)
check "a new token" spoke-zone-agent renew
await 20 "is in the bridge's file" refuse grep -qF "$old" $file
await 20 "systemd restarts Mosquitto with it" restarted "$before"
await 20 "a local program's message reaches the cloud again" reaches_the_cloud closed
await 20 "and the cloud's a local program" hears_the_cloud off
check "status shows the bridge" says '"bridge":{"file":"'$file'"'

before=$(property MainPID mosquitto.service)
echo 'prefix = rack/' >>/etc/spoke-zone-agent/agent.conf.d/60-bridge.conf
check "a reload by systemctl" systemctl reload $unit
await 20 "writes the changed settings" grep -q 'rack/' $file
await 20 "and Mosquitto is restarted" restarted "$before"
