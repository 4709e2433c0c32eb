#!/bin/bash
# shellcheck disable=SC1091,SC2016,SC2086,SC2154,SC2317 # lib.sh, beside it in the container, has constants and calls functions
# Upgrades, removals and installations that dpkg calls off: whatever fails, the units are as their owner had them, with
# Debian's helpers and without.
. /srv/lib.sh
info=/var/lib/dpkg/info/spoke-zone-agent

# can_fail NAME SCRIPT: adds that it fails, once it has done its work, while /run/fail has NAME:ARGUMENT in it. A word that
# begins with kill: takes dpkg with it.
can_fail() {
	cat >>$2 <<-SH
		case " \$(cat /run/fail 2>/dev/null) " in
		*" $1:\$1 "*) exit 1 ;;
		*" kill:$1:\$1 "*) kill -9 \$PPID ;;
		esac
	SH
}

# The next version, each script of which can fail, with a file that another package has.
made=/tmp/made
mkdir -p $made/{squatter,next}/usr/share/squatter
small() { # small NAME FIELD: a package that declares something, and whose preinst fails if it declares anything
	mkdir -p $made/$1/DEBIAN
	printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: a test\n' $1 >$made/$1/DEBIAN/control
	[ $# -eq 1 ] || { echo "$2" >>$made/$1/DEBIAN/control && install -m 755 /usr/bin/false $made/$1/DEBIAN/preinst; }
	dpkg-deb -Znone --root-owner-group -b $made/$1 /tmp/$1.deb >/dev/null
}
echo 1 | tee $made/squatter/usr/share/squatter/file >$made/next/usr/share/squatter/file
small squatter
small rival "Conflicts: spoke-zone-agent
Replaces: spoke-zone-agent"
small breaker "Breaks: spoke-zone-agent"
dpkg-deb -R /srv/next.deb $made/next
for script in preinst prerm postrm postinst; do can_fail new-$script $made/next/DEBIAN/$script; done
dpkg-deb -Znone --root-owner-group -b $made/next /tmp/next.deb >/dev/null
rm -r $made/next/usr/share/squatter
dpkg-deb -Znone --root-owner-group -b $made/next /tmp/alone.deb >/dev/null
dpkg -i /tmp/squatter.deb >/dev/null

# The units as they are, and the process, which only a removal may end.
units_are() {
	for u in $units; do echo "$u $(systemctl is-enabled $u 2>&1) $(systemctl is-active $u)"; done
	systemctl list-jobs --no-legend
	[ -n "$removal" ] || pid
}
as_before() { same "$(units_are)" "$before"; }
ran() { grep -qE "[./]$1 \( $2" /tmp/dpkg || { grep -oE '[./](pre|post)(inst|rm) .*' /tmp/dpkg; false; }; }
undamaged() { same "$(dpkg-query -W -f '${db:Status-Status} ${db:Status-Eflag} ${Version}' spoke-zone-agent) $(dpkg --verify spoke-zone-agent)" "installed ok $installed "; }

# called_off NAME WORDS-TO-POSTINST FAILING COMMAND...: dpkg comes to those words when those scripts fail.
called_off() {
	local name="$helpers, $owner: $1" words=$2 fail=$3
	shift 3
	removal=""
	[[ $words != abort-remove* && $words != configure* ]] || removal=yes
	before=$(units_are)
	echo "$fail" >/run/fail
	check "$name: fails" refuse "$@"
	cp $said /tmp/dpkg
	rm /run/fail
	case $words in configure*) dpkg -D2 --configure spoke-zone-agent >/tmp/dpkg 2>&1 ;; esac
	check "$name: postinst $words" ran postinst "$words"
	await 10 "$name: the units are as they were" as_before
	check "$name: the package is as it was" undamaged
	check "$name: no note is left" refuse ls /run/spoke-zone-agent.{upgraded,stopped}
}

upgrade_and_removal() {
	called_off "its preinst fails" abort-upgrade "new-preinst:upgrade" dpkg -D2 -i /tmp/alone.deb
	called_off "prerm fails" abort-remove "old-prerm:remove" dpkg -D2 -r spoke-zone-agent
}

owners_words() { # how the owner has the units
	systemctl unmask -q $units
	systemctl enable -q --now $units
	case $1 in
	agent-disabled)
		systemctl disable -q --now $unit
		systemctl mask -q --now spoke-zone-install.path
		;;
	agent-enabled)
		systemctl disable -q spoke-zone-install.path # and it runs
		systemctl stop spoke-zone-guard.timer # and it is enabled
		;;
	esac
}

for helpers in "with helpers" "without helpers"; do
	if [ "$helpers" = "without helpers" ]; then
		for helper in deb-systemd-helper deb-systemd-invoke; do mv /usr/bin/$helper /usr/bin/$helper.hidden; done
	fi
	check "$helpers: installs" install_deb
	works "$helpers: "
	installed=$(dpkg-query -W -f '${Version}' spoke-zone-agent)
	for script in preinst prerm postrm postinst; do can_fail old-$script $info.$script; done
	owner="all enabled"
	upgrade_and_removal
	called_off "for a rival" "abort-remove in-favour rival" "" dpkg -D2 -i /tmp/rival.deb
	called_off "broken by another" "abort-deconfigure in-favour breaker" "" dpkg -D2 --auto-deconfigure -i /tmp/breaker.deb
	called_off "neither prerm can" abort-upgrade "old-prerm:upgrade new-prerm:failed-upgrade" dpkg -D2 -i /tmp/alone.deb
	called_off "a file is another's" abort-upgrade "" dpkg -D2 -i /tmp/next.deb
	called_off "neither postrm can" abort-upgrade "old-postrm:upgrade new-postrm:failed-upgrade" dpkg -D2 -i /tmp/alone.deb
	check "$helpers: the preinst before heard of it" ran preinst abort-upgrade
	called_off "removal, killed" configure "kill:old-prerm:remove" dpkg -r spoke-zone-agent
	for owner in agent-disabled agent-enabled; do
		owners_words $owner
		upgrade_and_removal
	done
	owners_words all-enabled

	# What dpkg says where the package depends on one that must go.
	removal="" before=$(units_are)
	check "$helpers: prerm deconfigure ... removing" $info.prerm deconfigure in-favour rival 1.0 removing base 1.0
	check "$helpers: postinst abort-deconfigure ... removing" $info.postinst abort-deconfigure in-favour rival 1.0 removing base 1.0
	check "$helpers: the units are as they were" as_before

	# An installation, over a package that was removed, and over none.
	for state in r P; do
		check "$helpers: dpkg -$state" dpkg -$state spoke-zone-agent
		removal=yes before=$(units_are)
		echo new-preinst:install >/run/fail
		check "$helpers: after dpkg -$state an installation fails" refuse dpkg -D2 -i /tmp/alone.deb
		cp $said /tmp/dpkg
		rm /run/fail
		check "$helpers: postrm abort-install" ran postrm abort-install
		check "$helpers: nothing came of it" as_before
		check "$helpers: no note is left" refuse ls /run/spoke-zone-agent.{upgraded,stopped}
	done
	check "$helpers: no link is left" same "$(find /etc/systemd /var/lib/systemd -name '*spoke*')" ""
done
