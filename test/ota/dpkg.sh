#!/bin/bash
# The system's own dpkg with a package that has a service, through the hook, killed at random instants.
# shellcheck source=test/ota/lib.sh disable=SC2015 # bad counts, whichever of the two failed
. /srv/ota/lib.sh
set +u
mkdir -p /made $conf && cd /made || exit 1
pack() { # pack VERSION BYTES
	local tree=tree-$1
	mkdir -p "$tree/DEBIAN" "$tree/opt/demo" "$tree/usr/lib/systemd/system" "$tree/etc"
	head -c "$2" /dev/urandom >"$tree/opt/demo/large"
	for n in $(seq 60); do echo "$1.$n" >"$tree/opt/demo/$n"; done
	echo 'of the package' >"$tree/etc/demo.conf"
	echo /etc/demo.conf >"$tree/DEBIAN/conffiles"
	printf '[Service]\nExecStart=/bin/sleep infinity\nEnvironment=VERSION=%s\n' "$1" >"$tree/usr/lib/systemd/system/demo.service"
	printf 'Package: demo\nVersion: %s\nArchitecture: all\nMaintainer: Demo <demo@example.org>\nInstalled-Size: %s\nDescription: demo\n' "$1" $(($2 / 1024)) >"$tree/DEBIAN/control"
	printf '#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl restart demo.service\n' >"$tree/DEBIAN/postinst"
	printf '#!/bin/sh\nset -e\nsleep 0.1\n' >"$tree/DEBIAN/prerm"
	chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
	(cd "$tree" && find opt usr -type f -print0 | xargs -0 md5sum >DEBIAN/md5sums)
	dpkg-deb -Znone --root-owner-group -b "$tree" "demo_$1.deb" >/dev/null
}
is() { # is VERSION: every file of it, the service, and nothing beside
	[ "$(dpkg-query -W -f='${db:Status-Status} ${db:Status-Eflag} ${Version}' demo)" = "installed ok $1" ] &&
		diff -r "tree-$1/opt/demo" /opt/demo && [ "$(cat /etc/demo.conf)" = mine ] &&
		[ "$(systemctl show -P Environment demo.service)" = "VERSION=$1" ] && systemctl is-active demo.service
}
pack 1.0 5000000
pack 2.0 15000000
printf 'PACKAGE=demo\nUNITS=demo.service\n' >$conf/display.conf
check "demo 1.0 is installed by hand" dpkg -i demo_1.0.deb
echo mine >/etc/demo.conf
begin dpkg display /made/demo_2.0.deb
want 0 check "takes the package"
want 22 probe "the previous version is installed"
want 0 install "installs it"
want 20 probe "the new version is installed"
want 0 verify "all files and the service are right"
want 0 rollback "goes back to a package made of what was installed"
check "1.0 is back, whole, its conffile untouched" is 1.0

bad=0
declare -A met
verbs=(install install commit rollback)
for n in $(seq "$kills"); do
	begin dpkg display /made/demo_2.0.deb
	what=${verbs[n % 4]}
	[ "$what" = install ] || verb install
	[ "$what" = commit ] && most=60 || most=1400
	cut_off "$what" "$most"
	found=$(dpkg-query -W -f='${db:Status-Status} ${db:Status-Eflag} ${Version}' demo)
	met["$what: $found"]=$((${met["$what: $found"]:-0} + 1))
	if [ "$what" != rollback ]; then
		verb probe
		for _ in 1 2; do
			[ $code = 22 ] || [ $code = 23 ] || break
			verb install
			verb probe
		done
		verb verify
		[ $code = 0 ] && is 2.0 >/dev/null || { bad=$((bad + 1)); row FAIL "$what killed after $cut_at ms ($found): not on 2.0: $(tail -n 2 "$said")"; }
		[ "$what" = install ] || { verb commit; [ $code = 0 ] && cmp -s "$keep/demo.deb" demo_2.0.deb || { bad=$((bad + 1)); row FAIL "$what: not kept"; }; }
	fi
	verb rollback
	[ $code = 0 ] && is 1.0 >/dev/null || { bad=$((bad + 1)); row FAIL "$what killed after $cut_at ms ($found): not back on 1.0 ($code): $(tail -n 2 "$said")"; }
done
for found in "${!met[@]}"; do figure "${met[$found]} x cut in $found"; done
check "killed $n times in install, commit and rollback: $bad bad ends" test $bad = 0
