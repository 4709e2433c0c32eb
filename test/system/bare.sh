#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# The package where dpkg has none of Debian's helpers, as on the vendor's Yocto images, and in other roots.
. /srv/lib.sh

for helper in deb-systemd-helper deb-systemd-invoke; do mv /usr/bin/$helper /usr/bin/$helper.hidden; done
check "installs without deb-systemd-helper" install_deb
works
start_cloud
lead_to_cloud
provision
await 15 "is online" online
before=$(pid) kept=$(token)
check "is upgraded" install_deb /srv/next.deb
new_process() { differ "$before" "$(pid)" && differ 0 "$(pid)"; }
await 10 "is restarted" new_process
await 15 "is online" online
check "with the same token" same "$kept" "$(token)"
systemctl disable -q --now $units
check "is upgraded while disabled" install_deb
sleep 1
stays disabled
systemctl mask -q $units
check "is upgraded while masked" install_deb /srv/next.deb
stays masked
systemctl unmask -q $units
systemctl enable -q --now $units
for time in 1 2; do
	check "is removed" dpkg -r spoke-zone-agent
	check "is stopped" same "$(active)" inactive
	check "its links are gone" same "$(find /etc/systemd -name '*spoke*')" ""
	[ $time = 2 ] && break
	check "is installed again" install_deb
	works
done
check "is purged" dpkg -P spoke-zone-agent
check "state is gone" refuse test -e /var/lib/spoke-zone-agent
check "the token file is as it was" same "$kept" "$(token)"

# As opkg does it: its scripts get other words than dpkg's.
opkg_install() { # opkg_install WORDS-OF-PREINST
	tar -xzf /srv/agent.ipk -C /tmp/ipk && tar -xzf /tmp/ipk/control.tar.gz -C /tmp/ipk && /tmp/ipk/preinst "$@" &&
		tar -xzf /tmp/ipk/data.tar.gz -C / && /tmp/ipk/postinst configure
}
mkdir -p /tmp/ipk
check "opkg: is installed" opkg_install install
works "opkg: "
before=$(pid)
check "opkg: is upgraded" opkg_install upgrade 0.0.9
await 10 "opkg: is restarted" new_process
systemctl disable -q --now $units
check "opkg: is upgraded while disabled" opkg_install upgrade 0.0.9
stays disabled "opkg: "
check "opkg: is removed" /tmp/ipk/prerm remove
tar -tzf /tmp/ipk/data.tar.gz | sed 's#^\.##' | grep -v '/$' | xargs rm -f
check "opkg: and the rest of it" /tmp/ipk/postrm remove
check "opkg: no link is left" same "$(find /etc/systemd -name '*spoke*')" ""
rm -rf /etc/spoke-zone /etc/spoke-zone-agent /var/lib/spoke-zone-* /var/spool/spoke-zone-agent /usr/share/doc/spoke-zone-agent
mkdir -p /run/offline/run /run/offline/etc
touch /run/offline/etc/{passwd,group,shadow,gshadow}
tar -xzf /tmp/ipk/data.tar.gz -C /run/offline
for script in "preinst install" "postinst configure"; do check "opkg: $script in another root" env IPKG_OFFLINE_ROOT=/run/offline /tmp/ipk/$script; done # two words
check "opkg: is enabled there" test -L "/run/offline/etc/systemd/system/multi-user.target.wants/$unit"
check "opkg: the vendor's directory is there" test -d /run/offline/etc/spoke-zone
check "opkg: neither is here" same "$(find /etc/systemd -name '*spoke*'; ls /run/spoke-zone-agent.upgraded 2>/dev/null)" ""
forget_accounts() {
	userdel spoke-zone-agent 2>/dev/null
	groupdel spoke-zone 2>/dev/null
}
forget_accounts

# Without what makes accounts, and where the vendor's directory is a link to what is not mounted yet.
told() { "$@" 2>&1 | tee $said.install && return "${PIPESTATUS[0]}"; }
ln -s /rw_data/vendor /etc/spoke-zone
for hidden in /usr/bin/systemd-sysusers "/usr/sbin/useradd /usr/sbin/groupadd"; do
	for helper in $hidden; do mv $helper $helper.hidden; done
	check "without $hidden: is installed" told install_deb
	works "without $hidden: "
	case $hidden in
	*sysusers) check "its account and its group are there" eval 'getent passwd spoke-zone-agent && getent group spoke-zone' ;;
	*) check "it says that there is no account" grep -q 'no account was added' $said.install ;;
	esac
	check "a link in the place of the vendor's directory is left alone" same "$(readlink /etc/spoke-zone)$(ls -d /rw_data 2>/dev/null)" /rw_data/vendor
	check "is purged" dpkg -P spoke-zone-agent
	check "so is it then" same "$(readlink /etc/spoke-zone)" /rw_data/vendor
	forget_accounts
done
rm /etc/spoke-zone
for helper in /usr/bin/systemd-sysusers /usr/sbin/useradd /usr/sbin/groupadd /usr/bin/deb-systemd-helper /usr/bin/deb-systemd-invoke; do mv $helper.hidden $helper; done

# Another root, by chroot: no systemd runs in it.
mkdir -p /run/upper /run/work /run/target
mount -t overlay -o lowerdir=/srv/target,upperdir=/run/upper,workdir=/run/work none /run/target
mount -t proc none /run/target/proc # as those who build images do
installed_in() {
	local root=$1
	check "$2: is enabled there" test -L "$root/etc/systemd/system/multi-user.target.wants/$unit"
	check "$2: has its accounts there" grep -q '^spoke-zone-agent:' "$root/etc/passwd"
	check "$2: has its drop box there" same "$(stat -c %a "$root$spool/log")" 1777
	check "$2: has the vendor's directory there" test -d "$root/etc/spoke-zone"
	check "$2: made no identity file" refuse test -e "$root$identity"
	check "$2: left this system alone" refuse ls -d /etc/systemd/system/multi-user.target.wants/$unit $spool /var/lib/spoke-zone-agent /usr/bin/spoke-zone-agent
	check "$2: and its accounts" refuse grep -q '^spoke-zone' /etc/passwd /etc/group
	check "$2: started nothing" refuse grep -xs spoke-zone-agent /proc/[0-9]*/comm
}
check "dpkg --root: installs" dpkg --root=/run/target -i /srv/agent.deb
installed_in /run/target "dpkg --root"
mkdir -p /run/target/etc/spoke-zone
echo "mqtt_username = x" >/run/target$identity
check "dpkg --root: is upgraded" dpkg --root=/run/target -i /srv/next.deb
check "dpkg --root: is purged" dpkg --root=/run/target -P spoke-zone-agent
check "dpkg --root: state is gone" refuse test -e /run/target/var/spool/spoke-zone-agent
check "dpkg --root: the token file is not" grep -qx 'mqtt_username = x' /run/target$identity
umount /run/target/proc /run/target

# An image builder: scripts run outside of the root, with DPKG_ROOT.
image() { DPKG_ROOT='' dpkg --root=/run/image --force-script-chrootless "$@"; }
for dir in run etc/systemd/system var/lib/dpkg/info var/lib/dpkg/updates usr; do mkdir -p /run/image/$dir; done
touch /run/image/var/lib/dpkg/status /run/image/etc/passwd /run/image/etc/group /run/image/etc/shadow /run/image/etc/gshadow
for helpers in "with helpers" "without helpers"; do
	if [ "$helpers" = "without helpers" ]; then
		for helper in deb-systemd-helper deb-systemd-invoke; do mv /usr/bin/$helper /usr/bin/$helper.hidden; done
	fi
	check "DPKG_ROOT $helpers: installs" image -i /srv/agent.deb
	installed_in /run/image "DPKG_ROOT $helpers"
	echo "mqtt_username = x" >/run/image$identity
	check "DPKG_ROOT $helpers: is upgraded" image -i /srv/next.deb
	check "DPKG_ROOT $helpers: is removed" image -r spoke-zone-agent
	check "DPKG_ROOT $helpers: is installed again" image -i /srv/agent.deb
	check "DPKG_ROOT $helpers: is enabled there again" test -L "/run/image/etc/systemd/system/multi-user.target.wants/$unit"
	check "DPKG_ROOT $helpers: leaves no note" same "$(ls -A /run/image/run)" ""
	check "DPKG_ROOT $helpers: is purged" image -P spoke-zone-agent
	check "DPKG_ROOT $helpers: state and links are gone" same "$(find /run/image/etc/systemd /run/image/var/spool /run/image/var/lib/systemd -name '*spoke*' 2>/dev/null)" ""
	check "DPKG_ROOT $helpers: the token file is not" grep -qx 'mqtt_username = x' /run/image$identity
	rm -r /run/image/etc/spoke-zone
	for file in passwd group shadow gshadow; do : >/run/image/etc/$file; done
done
