#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# The privileged installer under its path unit: signed packages are installed, all others are refused, no death starts a
# second hook, and the agent's own package is updated by itself. Requests are written as the daemon writes them.
. /srv/lib.sh
requests=/var/lib/spoke-zone-agent/install
results=/var/lib/spoke-zone-installer/results
conf=/etc/spoke-zone-agent/install.conf
old=$(dpkg-deb -f /srv/agent.deb Version | sed 's/-1$//')
new=$(dpkg-deb -f /srv/next.deb Version | sed 's/-1$//')

check "installs" install_deb
check "the path unit is enabled" systemctl is-enabled --quiet spoke-zone-install.path
check "and watches" systemctl is-active --quiet spoke-zone-install.path
check "systemd-analyze verify is silent" silent systemd-analyze verify --man=no /usr/lib/systemd/system/spoke-zone-install.{path,service}
check "the journal has no complaint about the units" refuse grep -E 'spoke-zone-install\.[a-z]+:[0-9]+:' <(journal)
for part in install guard; do score spoke-zone-$part.service 1.8; done

# A key of the test's own, and a package in two versions.
mkdir -p /tmp/made && cd /tmp/made || exit 1
cat >test.key <<'KEY'
untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABTLLrulWA4USnHAUCfMKQIdh8xh6B1HQvqn3ldS7jmzo3zMNtNZcpkkCXmQpZFZvk4pNZawltXdO6i6S7E+VVYhD8En/VFl4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
KEY
cat >/etc/spoke-zone-agent/keys/test.pub <<'KEY'
untrusted comment: minisign public key
RWQFMsuu6VYDhUkCXmQpZFZvk4pNZawltXdO6i6S7E+VVYhD8En/VFl4
KEY
package() { # package NAME VERSION [POSTINST]
	mkdir -p $1/DEBIAN $1/usr/share/$1
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: a test\n' $1 $2 >$1/DEBIAN/control
	echo $2 >$1/usr/share/$1/version
	[ $# -lt 3 ] || { printf '#!/bin/sh\n%s\n' "$3" >$1/DEBIAN/postinst && chmod 755 $1/DEBIAN/postinst; }
	dpkg-deb --root-owner-group -b $1 $1-$2.deb >/dev/null
}
package screen 1.0 && package screen 1.1
dpkg -i screen-1.0.deb >/dev/null
cat >$conf <<'CONF'
[module.screen]
hook = dpkg
[module.slow]
hook = dpkg
[module.agent]
hook = dpkg
CONF

sign() { spoke-zone-agent ota sign --key test.key --module $1 --version $2 --counter $3 $4; }
seq=0
# ask VERB MODULE VERSION FILE NOTES: leaves a request and waits for the answer, which answer then holds.
ask() {
	seq=$((seq + 1))
	local uptime nonce key
	read -r uptime _ </proc/uptime
	nonce=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	key=$(printf '%s-%08d-%s-1' $2 $seq $1)
	[ -z "$4" ] || install -D -m 0600 $4 /var/lib/spoke-zone-agent/ota/payload
	cat >/var/lib/spoke-zone-agent/install.next <<-JSON
		{"api":1,"nonce":"$nonce","verb":"$1","seq":$seq,"module":"$2","id":"17","from":"1.0","to":"$3","notes":"$5","payload":"ota/payload",
		"attempt":1,"reason":"test","boot":"","asked":${uptime/./}0000000}
	JSON
	mkdir -p $requests
	mv /var/lib/spoke-zone-agent/install.next $requests/$nonce.json
	answer=$results/$key.json
}
answered() { [ -e $answer ] && grep -qE "$1" $answer; }
version_of() { dpkg-query -W -f '${Version}' $1; }

line=$(sign screen 1.1 7 screen-1.1.deb)
ask install screen 1.1 screen-1.1.deb "${line% sig=*}"
await 20 "an unsigned package is refused" answered '"kind":"refused","code":30.*the release is not signed'
other=$(($(od -An -tu1 -j300 -N1 screen-1.1.deb) ^ 1)) # than the byte that is there
cp screen-1.1.deb tampered.deb && printf %b "\\x$(printf %x "$other")" | dd of=tampered.deb bs=1 seek=300 conv=notrunc status=none
ask install screen 1.1 tampered.deb "$line"
await 20 "a tampered package is refused" answered '"kind":"refused","code":30.*its SHA-256 is'
ask install screen 1.1 screen-1.1.deb "$(sign other 1.1 7 screen-1.1.deb)"
await 20 "a package signed for another module is refused" answered '"kind":"refused","code":30.*for module other, not screen'
check "nothing was installed" same "$(version_of screen)" 1.0
ask check screen 1.1 screen-1.1.deb "$line"
await 20 "a signed package passes the check" answered '"kind":"ran","code":0'
ask install screen 1.1 screen-1.1.deb "$line"
await 30 "a signed package is installed" answered '"kind":"ran","code":0'
check "it is there" same "$(version_of screen)" 1.1
seq=$((seq - 1))
ask commit screen 1.1 screen-1.1.deb "$line"
await 20 "it is made permanent" answered '"kind":"ran","code":0'
ask install screen 1.1 screen-1.1.deb "$(sign screen 1.1 6 screen-1.1.deb)"
await 20 "an older release is refused afterwards" answered '"code":33.*its counter is 6, and 7 was installed'
check "requests are gone" same "$(ls -A $requests)" ""
await 5 "the installer has ended" has ActiveState '^inactive$' spoke-zone-install.service
check "without failing" refuse systemctl is-failed --quiet spoke-zone-install.service
check "the path unit still watches" has ActiveState '^active$' spoke-zone-install.path

# Whoever dies, the hook is run once.
package slow 1.0 'echo ran >>/var/tmp/slow; while [ ! -e /var/tmp/go ]; do sleep 0.1; done'
ask install slow 1.0 slow-1.0.deb "$(sign slow 1.0 1 slow-1.0.deb)"
await 20 "a slow hook runs" test -e /var/tmp/slow
hook_unit() { systemctl list-units --no-legend --plain 'spoke-ota-*' | awk '{ print $1 }'; }
check "in a unit of its own" test -n "$(hook_unit)"
check "which has no network" has PrivateNetwork '^yes$' "$(hook_unit)"
systemctl kill -s KILL spoke-zone-install.service
kill -9 "$(pid)"
await 20 "the installer that was killed is started again" has NRestarts '^[1-9]' spoke-zone-install.service
check "and has no answer yet" refuse test -e $answer
touch /var/tmp/go
await 20 "the hook's result is there" answered '"kind":"ran","code":0'
check "it ran once" same "$(wc -l </var/tmp/slow)" 1

# The agent's own package.
before=$(pid)
ask install agent $new /srv/next.deb "$(sign agent $new 1 /srv/next.deb)"
await 60 "the agent updates itself from $old" answered '"kind":"ran","code":0'
check "the new version is installed" same "$(version_of spoke-zone-agent)" $new-1
await 20 "the daemon is a new process" differ "$before" "$(pid)"
check "the path unit still watches" has ActiveState '^active$' spoke-zone-install.path

# A policy with a fault, or that others could have changed, is none.
printf 'nonsense\n' >>$conf
ask install screen 1.1 screen-1.1.deb "$line"
await 20 "with a fault in install.conf nothing is installed" answered '"kind":"refused","code":12.*install.conf:7: '
sed -i '$d' $conf
chmod 0666 $conf
ask install screen 1.1 screen-1.1.deb "$line"
await 20 "nor with one that others can write" answered "\"code\":12.*not root's alone"
chmod 0644 $conf
chmod 0777 /usr/lib/spoke-zone-agent/hooks/dpkg
ask install screen 1.1 screen-1.1.deb "$line"
await 20 "nor by a hook that others can write" answered "\"kind\":\"none\".*lets others write"
check "no network for the installer" has PrivateNetwork '^yes$' spoke-zone-install.service
