#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# The service from its installation on: what it tells systemd, what kills and hangs do to it, and a gateway's daily work.
. /srv/lib.sh

check "apt installs it on a clean system" apt-get install -y -q --no-install-recommends /srv/agent.deb
command -v spoke-zone-agent >/dev/null || exit 1 # nothing below can be
check "is enabled" systemctl is-enabled --quiet $unit
await 10 "is active without an identity" systemctl is-active --quiet $unit
await 10 "status says unprovisioned" says '"identity":{"state":"unprovisioned"'
await 10 "systemctl status says what is missing" has StatusText '^waiting for a token: .*no such file'
check "made no identity file" refuse test -e $identity
check "the group and the user are there" getent group spoke-zone
check "the drop box is there, for everybody" same "$(owner $spool/log)" 1777:root:root

start_cloud --module display
lead_to_cloud
provision 0640 1h
await 15 "comes online by itself once provisioned" online
await 10 "systemctl status says online" has StatusText '^online, token until '
before=$(token)
check "renews on demand" spoke-zone-agent renew
await 5 "writes the new token to the vendor's file, under ProtectSystem=strict" token_is_not "$before"
check "and says so" says '"identity_file":true'
check "keeps owner and mode" same "$(owner $identity)" 640:root:root

check "stops" systemctl stop $unit
start=$EPOCHREALTIME
check "starts" systemctl start $unit
figure "systemctl start to READY: $(seconds "$start") s (1 s is asked for)"
await 15 "is online again" online
figure "systemctl start to online: $(seconds "$start") s (2 s are asked for)"
check "its process alone may notify systemd" has NotifyAccess '^main$'
check "told systemd in its own name" refuse journal_says 'reception only permitted'
figure "memory in use: $(awk '/VmRSS/ { print $2 }' "/proc/$(pid)/status") KiB"

# Settings
before=$(pid) generation=$(value generation)
printf '[log]\nlevel = debug\n' >/etc/spoke-zone-agent/agent.conf.d/60-level.conf
check "reloads" systemctl reload $unit
check "puts a new generation in force" differ "$generation" "$(value generation)"
check "in the same process" same "$before" "$(pid)"
await 10 "online in the new generation" online
generation=$(value generation)
printf '[log]\nlevle = info\n' >/etc/spoke-zone-agent/agent.conf.d/70-bad.conf
check "reload of bad settings fails" refuse systemctl reload $unit
check "keeps the generation before" same "$generation" "$(value generation)"
check "status names the file, the line and the key" says '/etc/spoke-zone-agent/agent.conf.d/70-bad.conf:2:log.levle'
check "so does the journal" journal_says 70-bad.conf:2
check "stays online through that" online
check "does not start with bad settings" refuse systemctl restart $unit
await 5 "says so by its exit status" has ExecMainStatus '^78$'
sleep 6
check "is not started again for nothing" has ActiveState '^failed$'
rm /etc/spoke-zone-agent/agent.conf.d/[67]0-*.conf
systemctl reset-failed $unit
check "starts with good ones" systemctl start $unit
await 15 "and is online" online

# Kills and hangs
start=$EPOCHREALTIME before=$(pid) issued=$(value issued)
kill -9 "$before"
await 20 "is restarted after kill -9" has NRestarts '^1$'
await 20 "answers after kill -9" answers
check "in a new process" differ "$before" "$(pid)"
await 20 "is online after kill -9" online
figure "kill -9 to online: $(seconds "$start") s (5 s of it RestartSec)"
check "with the same or a newer token" refuse test "$(value issued)" '<' "$issued"
short_times WatchdogSec=4s
check "starts with a watchdog of 4 s" systemctl restart $unit
sleep 7
check "keeps it fed" has NRestarts '^0$'
start=$EPOCHREALTIME before=$(pid)
kill -STOP "$before"
await 45 "is killed by the watchdog when it hangs" journal_says 'Watchdog timeout'
await 45 "is restarted" has NRestarts '^1$'
await 20 "is online after the hang" online
figure "SIGSTOP to online: $(seconds "$start") s (WatchdogSec=4s, and up to 20 s of TimeoutStopSec)"
rm -r $drop_ins
systemctl daemon-reload
systemctl restart $unit
await 15 "is online with its own watchdog" online

# Tokens
cat "$(factory -60s)" >$identity # expired, and in the cloud's grace
before=$(token)
await 30 "replaces an expired token that somebody wrote by its own" token_is_not "$before"
check "keeps owner and mode again" same "$(owner $identity)" 640:root:root
await 15 "is online with it" online
check "no file is left beside it" same "$(ls -A /etc/spoke-zone)" spoke-zone.conf

# A gateway that was off for too long, whose vendor lets a group read the file
systemctl stop $unit
rm -rf /var/lib/spoke-zone-agent
chown root:adm $identity
cat "$(factory -60s)" >$identity
before=$(token)
check "starts with an expired token and no state" systemctl start $unit
await 30 "renews it by itself, in a file of a group that is not root's" token_is_not "$before"
await 15 "is online with the new one" online
check "keeps group and mode" same "$(owner $identity)" 640:root:adm

# Data files and releases
echo "door opened" >$spool/log/door.log
await 20 "takes a file out of the drop box" refuse test -e $spool/log/door.log
await 20 "the cloud has it, whole" cloud_has '"size": ?12'
setpriv --reuid=daemon --regid=daemon --clear-groups sh -c "umask 022; echo 'from a user' >$spool/txt/user.txt"
await 30 "takes another user's file" refuse test -e $spool/txt/user.txt
await 20 "the cloud has it" cloud_has 'user\.txt'
setpriv --reuid=daemon --regid=daemon --clear-groups sh -c "umask 077; echo 'in private' >$spool/txt/private.txt"
await 30 "leaves a file that it cannot read and says so" says 'txt/private.txtisnottaken:notreadable'
check "it is still there" test -e $spool/txt/private.txt
rm $spool/txt/private.txt
setpriv --reuid=daemon --regid=daemon --clear-groups ln -s /etc/shadow $spool/txt/link.txt
await 30 "leaves a link to /etc/shadow and says so" says 'txt/link.txtisnottaken:symboliclink'
rm $spool/txt/link.txt
echo "by hand" >/tmp/hand.log
check "upload takes a file that is handed over" spoke-zone-agent upload --type log /tmp/hand.log
await 20 "the cloud has the third" cloud_has 'hand\.log'
mkdir -p /var/lib/display
echo 1.0.0 >/var/lib/display/version
printf '[module.display]\nversion_file = /var/lib/display/version\npolicy = fetch\n' >/etc/spoke-zone-agent/agent.conf.d/60-display.conf
kept_whole() { [ "$(sha256sum <"$(status | grep -o '/var/lib/[^"]*/payload')" | cut -d' ' -f1)" = "$(value sha256)" ]; }
sim offer --module display --version 1.1.0 --size 3MiB >/tmp/offered
check "takes a module into its settings" systemctl reload $unit
await 30 "fetches a release and verifies it" says '"phase":"READY"'
check "what it keeps is what was offered" kept_whole

# Secrets
secrets() { sed -n 's/.*mqtt_username *= *//p' $identity /tmp/factory/spoke-zone.conf; }
check "no token in the journal" refuse grep -qF "$(secrets)" <(journal)
check "no token in a status" refuse grep -qF "$(secrets)" <(spoke-zone-agent status --json; systemctl status $unit)
check "an ordinary user gets no token" refuse setpriv --reuid=daemon --regid=daemon --clear-groups spoke-zone-agent token
check "a member of the group does" setpriv --reuid=daemon --regid=daemon --groups=spoke-zone spoke-zone-agent token

# A unit that is given the token
loads() { # loads NAME USER: what a unit of that user finds in the credential of that name
	systemd-run -q --wait --pipe -p User="$2" -p LoadCredential="$1:/run/spoke-zone-agent/credential.sock" \
		sh -c 'cat "$CREDENTIALS_DIRECTORY/'"$1"'"' </dev/null
}
given() { same "$(loads device daemon)" "$(spoke-zone-agent token)"; }
check "LoadCredential= gives a unit of any user the token" given
check "with nothing after it" same "$(loads device daemon | wc -c)" "$(spoke-zone-agent token | tr -d '\n' | wc -c)"
check "and the journal says to whom" journal_says 'run-.*\.service'
check "a credential that is no account's is empty" same "$(loads nobodys daemon)" ""
check "and the journal says why" journal_says 'there is no account'
app() { # app ACCOUNT: a program with the example's drop-in, for that account
	local unit=/run/systemd/system/app.service
	mkdir -p $unit.d
	sed "s/building/$1/" /usr/share/doc/spoke-zone-agent/examples/credential.conf >$unit.d/credential.conf
	printf '[Service]\nType=oneshot\nUser=daemon\nStandardOutput=truncate:/tmp/app\nExecStart=/bin/cat ${CREDENTIALS_DIRECTORY}/%s\n' "$1" >$unit
	systemctl daemon-reload
	systemctl start app.service
}
check "credential.conf gives a program the token" app device
check "which reads it as its own user" same "$(cat /tmp/app)" "$(spoke-zone-agent token)"
check "and does not start one without" refuse app nobodys
check "since its test fails" has ExecMainStatus '^0$' app.service
check "an ordinary user at that socket gets nothing" same \
	"$(setpriv --reuid=daemon --regid=daemon --clear-groups perl -MIO::Socket::UNIX -e \
		'my $s = IO::Socket::UNIX->new(Peer => "/run/spoke-zone-agent/credential.sock") or exit; print <$s>')" ""

start=$EPOCHREALTIME
check "stops" systemctl stop $unit
check "with success" has Result '^success$'
figure "systemctl stop: $(seconds "$start") s"
check "leaves no process behind" refuse grep -xs spoke-zone-agent /proc/[0-9]*/comm
