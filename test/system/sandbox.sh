#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# What the unit's sandbox lets through, tried from inside: a unit with the same settings runs a shell that tries.
. /srv/lib.sh

check "installs" install_deb
check "systemd-analyze verify is silent" silent systemd-analyze verify --man=no /usr/lib/systemd/system/$unit
check "the journal has no complaint about the unit" refuse grep -E "$unit:[0-9]+:" <(journal)
score $unit 1.6
start_cloud
lead_to_cloud
provision
await 15 "is online" online

# The process itself.
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
	check "$set is empty" grep -qE "^$set:\s+0+$" "/proc/$(pid)/status"
done
check "no new privileges" grep -qE '^NoNewPrivs:\s+1$' "/proc/$(pid)/status"
check "system calls are filtered" grep -qE '^Seccomp:\s+2$' "/proc/$(pid)/status"
check "the process has confined itself by Landlock" grep -q 'writing is confined.*landlock=[2-9]' <(journal)
check "even a root with all capabilities cannot write /usr in its mounts" refuse nsenter -t "$(pid)" -m touch /usr/bin/x
check "nor the settings" refuse nsenter -t "$(pid)" -m touch /etc/spoke-zone-agent/agent.conf
check "nor units in /run" refuse nsenter -t "$(pid)" -m touch /run/systemd/system/x.service
check "it can write the vendor's directory there" nsenter -t "$(pid)" -m touch $identity

# A shell with the unit's settings.
printf 'secret\n' >/var/tmp/daemons-secret
chown daemon /var/tmp/daemons-secret
chmod 0600 /var/tmp/daemons-secret
mkdir -p /home/someone /opt
printf 'secret\n' >/home/someone/key
touch /tmp/outside
setpriv --reuid=daemon --regid=daemon --clear-groups sleep 300 &
other=$!
sed -E -e 's#^ExecStart=.*#ExecStart=/bin/bash /srv/probe#; s#^Type=.*#Type=oneshot#' \
	-e '/^(ExecReload|Restart|RestartSec|RestartPreventExitStatus|WatchdogSec|NotifyAccess|WantedBy)/d' \
	-e 's#^(StateDirectory|RuntimeDirectory)=.*#\1=probe#' \
	/usr/lib/systemd/system/$unit >/run/systemd/system/probe.service
mkdir -p /run/systemd/system/probe.service.d
printf '[Service]\nBindReadOnlyPaths=/run/probe.sh:/srv/probe\nEnvironment=OTHER=%s\nStandardOutput=truncate:/var/log/probe\nStandardError=null\n' $other \
	>/run/systemd/system/probe.service.d/probe.conf
cat >/run/probe.sh <<'PROBE'
no() { # no WHAT COMMAND...: it must fail
	local what=$1
	shift
	if "$@" >/dev/null; then echo "open: $what"; else echo "shut: $what"; fi
}
yes() {
	local what=$1
	shift
	if "$@" >/dev/null; then echo "open: $what"; else echo "shut: $what"; fi
}
for dir in / /boot /etc /etc/spoke-zone-agent /etc/systemd/system /home /opt /root /run /run/systemd /run/systemd/system /run/lock /srv /usr/bin /var /var/lib /var/log /var/tmp/.. \
	/dev /proc/sys/kernel /sys /sys/fs/cgroup; do
	no "write $dir" touch "$dir/x"
done
no "write a sysctl" sh -c 'echo x >/proc/sys/kernel/domainname'
yes "write /etc/spoke-zone" touch /etc/spoke-zone/x
yes "write the drop box" touch /var/spool/spoke-zone-agent/log/x
yes "write its state" touch /var/lib/probe/x
yes "write its run directory" touch /run/probe/x
yes "write its own /tmp" touch /tmp/x
yes "read the journal" journalctl --lines=1 --output=cat
no "read the kernel's log" head -c 1 /dev/kmsg
yes "read the identity of the boot" cat /proc/sys/kernel/random/boot_id
rm -f /etc/spoke-zone/x /var/spool/spoke-zone-agent/log/x
no "see the /tmp of others" test -e /tmp/outside
no "read another user's file" cat /var/tmp/daemons-secret
no "read /home" cat /home/someone/key
no "read the journal's socket of PID 1" test -r /run/systemd/private
no "read another user's environment" cat "/proc/$OTHER/environ"
no "signal another user's process" kill -0 "$OTHER"
no "systemd-run" systemd-run touch /opt/escaped
no "systemctl start" systemctl start escape.service
no "ask D-Bus" busctl --system list
no "mount" mount -t tmpfs none /opt
no "unshare" unshare -U true
no "chown" chown daemon /tmp/x
no "make a device" mknod /tmp/null c 1 3
no "make a file setuid" chmod u+s /tmp/x
no "set the clock" date -s 2020-01-01
no "set the host's name" perl -e 'syscall(170, "x", 1) == 0 or exit 1'
no "raw sockets" perl -e 'socket(my $s, 2, 3, 1) or exit 1'
no "packet sockets" perl -e 'socket(my $s, 17, 3, 0) or exit 1'
no "bpf" perl -e 'syscall(321, 0, 0, 0) >= 0 or exit 1'
no "reboot" perl -e 'syscall(169, 0xfee1dead, 672274793, 0, 0) == 0 or exit 1'
no "memory that is written and run" perl -e 'my $p = syscall(9, 0, 4096, 7, 0x22, -1, 0); exit($p == -1)'
yes "TCP" perl -e 'socket(my $s, 2, 1, 0) or exit 1'
yes "netlink" perl -e 'socket(my $s, 16, 3, 0) or exit 1'
echo end
PROBE
cat >/run/systemd/system/escape.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/touch /opt/escaped
UNIT
systemctl daemon-reload
check "a shell with the unit's settings runs" systemctl start probe.service
check "and gets to its end" grep -qx end /var/log/probe
opens='read the journal|write /etc/spoke-zone|write the drop box|write its state|write its run directory|write its own /tmp|read the identity of the boot|TCP|netlink'
while IFS=: read -r result what; do
	[ "$result" = end ] && continue
	if [[ ${what# } =~ ^($opens)$ ]]; then
		check "inside, may$what" same "$result" open
	else
		check "inside, may not$what" same "$result" shut
	fi
done </var/log/probe
check "nothing escaped" refuse test -e /opt/escaped
kill $other

# The drop-ins of the examples.
examples=/usr/share/doc/spoke-zone-agent/examples
mkdir -p $drop_ins
cp $examples/unprivileged.conf $drop_ins/
check "unprivileged: verify is silent" silent systemd-analyze verify --man=no $unit
systemctl daemon-reload
score $unit 1.3
check "unprivileged: starts" systemctl restart $unit
await 15 "unprivileged: is online" online
check "unprivileged: is a user of its own" same "$(stat -c %U "/proc/$(pid)")" spoke-zone-agent
cat "$(factory 1h)" >$identity # worth less than the agent's own
before=$(token)
await 10 "unprivileged: writes the vendor's file" token_is_not "$before"
echo "door closed" >$spool/log/door.log
chmod 0644 $spool/log/door.log
await 20 "unprivileged: takes root's file out of the drop box" refuse test -e $spool/log/door.log
rm $drop_ins/unprivileged.conf
systemctl daemon-reload
check "goes back to uid 0" systemctl restart $unit
await 15 "is online with what its other user left" online
cat "$(factory 1h)" >$identity
before=$(token)
await 10 "writes the vendor's file, whose owner is now another" token_is_not "$before"
check "keeps owner and mode" same "$(owner $identity)" 660:root:spoke-zone-agent

# A receiver at a serial line: a pseudoterminal by the name of the example's device, of another owner, as udev's rules may have it.
cat >/tmp/receiver <<'PERL'
use Fcntl;
sysopen(my $m, "/dev/ptmx", O_RDWR | O_NOCTTY) or die $!;
my $n = pack "i", 0;
ioctl($m, 0x40045431, $n) && ioctl($m, 0x80045430, $n) or die $!; # TIOCSPTLCK, TIOCGPTN
my $line = "/dev/pts/" . unpack "i", $n;
chown((getpwnam "daemon")[2], (getgrnam "dialout")[2], $line) && chmod 0660, $line or die $!;
symlink $line, "/dev/ttymxc1" or die $!;
while (1) {
	syswrite $m, "\$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n";
	select undef, undef, undef, 0.2;
}
PERL
perl /tmp/receiver &
receiver=$!
await 10 "serial GNSS: a receiver reports" test -c /dev/ttymxc1
printf '[telemetry]\nlocation_source = nmea:/dev/ttymxc1@9600\n' >/etc/spoke-zone-agent/agent.conf.d/60-gnss.conf
check "serial GNSS: without its drop-in the agent restarts" systemctl restart $unit
await 20 "and has no such device" says 'ttymxc1:nosuchfile'
cp $examples/serial-gnss.conf $drop_ins/
check "serial GNSS: verify is silent" silent systemd-analyze verify --man=no $unit
systemctl daemon-reload
score $unit 1.8
check "serial GNSS: restarts" systemctl restart $unit
await 20 "serial GNSS: has a fix" says '"fix":true'
rm $drop_ins/serial-gnss.conf /etc/spoke-zone-agent/agent.conf.d/60-gnss.conf
kill $receiver
systemctl daemon-reload
systemctl restart $unit
