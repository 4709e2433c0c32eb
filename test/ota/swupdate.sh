#!/bin/bash
# SWUpdate with signed .swu files that write files into one of two directories, and U-Boot's environment in two files,
# through the hook. A start of the machine is what the boot script of docs/hooks.md does.
# shellcheck source=test/ota/lib.sh disable=SC2015 # bad counts, whichever of the two failed
. /srv/ota/lib.sh
set +u
mkdir -p /data/a /data/b /made $conf && cd /made || exit 1

truncate -s 16k /data/env.0 /data/env.1
printf '/data/env.0 0x0 0x4000\n/data/env.1 0x0 0x4000\n' >/etc/fw_env.config
echo 'copy=a' >/etc/u-boot-initial-env
fw_setenv ustate 0 2>/dev/null
echo 'gateway 1.0' >/etc/hwrevision
authority() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 36500 -subj "/CN=$1" -addext extendedKeyUsage=emailProtection 2>/dev/null
}
swu() { # swu VERSION SIGNER FILE [HARDWARE]
	echo "application $1" >app
	head -c 30000000 /dev/urandom >data
	sum() { sha256sum "$1" | cut -d ' ' -f 1; }
	copy() {
		printf '%s: { files: (\n' "$1"
		printf '{ filename = "data"; path = "/data/%s/data"; sha256 = "%s"; },\n' "$2" "$(sum data)"
		printf '{ filename = "app"; path = "/data/%s/app"; sha256 = "%s"; properties = { atomic-install = "true"; }; } ); };\n' "$2" "$(sum app)"
	}
	{
		printf 'software = { version = "%s"; hardware-compatibility: [ "%s" ];\nstable = {\n' "$1" "${4:-1.0}"
		copy copy1 a
		copy copy2 b
		printf '}; }\n'
	} >sw-description
	openssl cms -sign -in sw-description -out sw-description.sig -signer "$2.pem" -inkey "$2.key" -outform DER -nosmimecap -binary
	printf '%s\n' sw-description sw-description.sig data app | cpio -o -H crc 2>/dev/null >"$3"
	sum data >"$3.sum"
}
running() { cat /run/copy; }
version() { cat "/data/$(running)/app"; }
machine_starts() {
	local other=a
	[ "$(fw_printenv -n copy)" = a ] && other=b
	case $(fw_printenv -n ustate) in
	1) fw_setenv copy $other && fw_setenv ustate 2 ;;
	2 | 3) fw_setenv copy $other && fw_setenv ustate 0 ;;
	esac
	fw_printenv -n copy >/run/copy
	boot=$((boot + 1))
}

authority maker
authority stranger
swu 2.0 maker good.swu
swu 3.0 maker next.swu
swu 4.0 stranger stranger.swu
swu 5.0 maker other-hardware.swu 9.9
cp good.swu damaged.swu
printf 'XXXX' | dd of=damaged.swu bs=1 seek=20000000 conv=notrunc status=none
cat >/etc/swupdate.cfg <<'CONF'
globals: { public-key-file = "/made/maker.pem"; bootloader = "uboot"; };
CONF
printf 'RUNNING="cat /run/copy"\nROOT_A=a\nROOT_B=b\nKEY=/made/maker.pem\n' >$conf/display.conf
echo 'application 1.0' >/data/a/app
machine_starts

for bad in stranger damaged other-hardware; do
	begin swupdate display /made/$bad.swu
	want 30 check "refuses $bad.swu"
done
begin swupdate display /made/good.swu
want 0 info "tells what it can"
want 0 check "takes the signed file"
check "and changed nothing" same 0 "$(fw_printenv -n ustate)"
want 22 probe "the previous version runs"
want 10 install "writes the other copy"
want 21 probe "it is staged"
machine_starts
check "the machine started copy b" same "b application 2.0" "$(running) $(version)"
want 20 probe "the new version runs"
want 0 verify "it is the copy that was written"
want 0 commit "it stays"
machine_starts
check "and stays after another start" same "application 2.0" "$(version)"

begin swupdate display /made/next.swu
want 10 install "the next one goes to copy a"
machine_starts
check "it runs" same "a application 3.0" "$(running) $(version)"
want 10 rollback "it is taken back"
machine_starts
check "copy b runs again" same "b application 2.0" "$(running) $(version)"
want 22 probe "the previous version runs"
want 0 rollback "once more, as after a cut"

begin swupdate display /made/next.swu
want 10 install "staged"
want 0 rollback "taken back before it was started"
machine_starts
check "copy b runs" same "b application 2.0" "$(running) $(version)"
want 10 install "staged again"
machine_starts
machine_starts # nobody committed: the boot script goes back
want 40 verify "notices that the boot script fell back"
want 0 rollback "nothing is left to do"
want 22 probe "the previous version runs"

bad=0 seen=()
for n in $(seq "$kills"); do
	begin swupdate display /made/next.swu
	rm -rf /data/a/*
	cut_off install 400
	verb probe
	first=$code
	[ $code = 22 ] || [ $code = 23 ] && { verb install; verb probe; }
	seen+=("$first")
	machine_starts
	verb probe
	[ $code = 20 ] && [ "$(version) $(sha256sum </data/a/data | cut -d ' ' -f 1)" = "application 3.0 $(cat next.swu.sum)" ] ||
		{ bad=$((bad + 1)); row FAIL "killed after $cut_at ms: probe said $first, then $code; $(version)"; }
	verb rollback
	machine_starts
	verb probe
	[ $code = 22 ] && [ "$(running) $(version)" = "b application 2.0" ] || { bad=$((bad + 1)); row FAIL "killed after $cut_at ms: no way back ($code)"; }
done
check "killed $n times while SWUpdate installed (first answers: $(printf '%s\n' "${seen[@]}" | sort | uniq -c | awk '{ printf "%s x %s, ", $1, $2 }' | sed 's/, $//')): $bad bad ends" test $bad = 0
