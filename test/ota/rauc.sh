#!/bin/bash
# RAUC with its D-Bus service, signed bundles and two slots on loop devices, through the hook. A start of the machine is a
# start of the service with the slot that the bootloader's backend names.
# shellcheck source=test/ota/lib.sh disable=SC2015 # bad counts, whichever of the two failed
. /srv/ota/lib.sh
set +u
for n in $(seq 0 31); do [ -b /dev/loop"$n" ] || mknod /dev/loop"$n" b 7 "$n"; done
[ -c /dev/loop-control ] || mknod /dev/loop-control c 10 237
mkdir -p /etc/rauc /data /made && cd /made || exit 1

truncate -s 64M /data/a.img /data/b.img
A=$(losetup -f --show /data/a.img) && B=$(losetup -f --show /data/b.img) || { row "NOT RUN" "RAUC: no loop devices here"; exit 0; }
detach() {
	systemctl stop rauc
	losetup -d "$A" "$B"
}
trap 'detach; end' EXIT

authority() { openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 36500 -subj "/CN=$1" 2>/dev/null; }
bundle() { # bundle VERSION COMPATIBLE SIGNER
	mkdir -p "src$1"
	[ -e "src$1/root.img" ] || { truncate -s 48M "src$1/root.img" && mkfs.ext4 -q "src$1/root.img" && head -c 44000000 /dev/urandom |
		dd of="src$1/root.img" bs=1M seek=3 conv=notrunc status=none; }
	printf '[update]\ncompatible=%s\nversion=%s\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=root.img\n' "$2" "$1" >"src$1/manifest.raucm"
	rm -f "$4"
	rauc --cert="$3.pem" --key="$3.key" --keyring="$3.pem" bundle "src$1" "$4" >bundle.log 2>&1 || cat bundle.log
}
cat >/usr/local/bin/boot-backend <<'BACKEND'
#!/bin/sh
cd /data || exit 1
case $1 in
get-primary) cat primary 2>/dev/null || echo A ;;
set-primary) echo "$2" >primary ;;
get-state) cat "state.$2" 2>/dev/null || echo good ;;
set-state) echo "$3" >"state.$2" ;;
esac
BACKEND
chmod 755 /usr/local/bin/boot-backend
cat >/etc/rauc/system.conf <<CONF
[system]
compatible=gateway
bootloader=custom
statusfile=/data/rauc.status
mountprefix=/run/rauc
[keyring]
path=/made/maker.pem
[handlers]
bootloader-custom-backend=/usr/local/bin/boot-backend
[slot.rootfs.0]
device=$A
type=raw
bootname=A
[slot.rootfs.1]
device=$B
type=raw
bootname=B
CONF
start() { # start SLOT
	mkdir -p /etc/systemd/system/rauc.service.d
	printf '[Service]\nExecStart=\nExecStart=/usr/bin/rauc --mount=/run/rauc service --override-boot-slot=%s\n' "$1" >/etc/systemd/system/rauc.service.d/slot.conf
	systemctl daemon-reload
	systemctl restart rauc
	boot=$((boot + 1))
}
machine_starts() { start "$(cat /data/primary 2>/dev/null || echo A)"; }
slot() { rauc status --output-format=shell | sed -n "s/^RAUC_SYSTEM_BOOTED_BOOTNAME='\(.*\)'/\1/p"; }
written() { cmp -n 50331648 "src$2/root.img" "$1"; }

authority maker
authority stranger
bundle 2 gateway maker good.raucb
bundle 3 toaster maker toaster.raucb
bundle 4 gateway stranger stranger.raucb
bundle 5 gateway maker five.raucb
cp good.raucb damaged.raucb
printf 'XXXX' | dd of=damaged.raucb bs=1 seek=20000000 conv=notrunc status=none
start A
check "RAUC $(rauc --version | cut -d ' ' -f 2) answers on D-Bus with two slots on loop devices" busctl get-property de.pengutronix.rauc / de.pengutronix.rauc.Installer Operation

for bad in stranger damaged; do
	begin rauc display /made/$bad.raucb
	want 30 check "refuses a bundle whose signature does not fit: $bad"
	want 30 install "and does not install it"
done
begin rauc display /made/toaster.raucb
want 32 check "refuses a bundle for another device"

begin rauc display /made/good.raucb
want 0 info "tells what it can"
want 0 check "takes the signed bundle"
want 22 probe "the previous version runs"
want 10 install "writes the other slot"
cp "$said" said && check "progress is told" grep '^@progress 100 ' said
want 21 probe "it is staged"
check "the slot holds the image" written "$B" 2
machine_starts
check "the machine started slot B" same B "$(slot)"
want 20 probe "the new version runs"
want 0 verify "it is the booted slot that RAUC wrote"
want 0 commit "it is marked good"
check "the bootloader knows" same good "$(cat /data/state.B)"

begin rauc display /made/five.raucb
want 10 install "the next one goes to slot A"
machine_starts
want 20 probe "it runs"
want 10 rollback "it is taken back"
want 10 rollback "once more, as after a cut"
check "slot A is marked bad" same bad "$(cat /data/state.A)"
machine_starts
check "slot B runs again" same B "$(slot)"
want 22 probe "the previous version runs"
check "and is untouched" written "$B" 2

begin rauc display /made/five.raucb
want 10 install "staged"
want 0 rollback "taken back before it was started"
machine_starts
check "slot B runs" same B "$(slot)"
want 10 install "staged again"
start B # the bootloader gave slot A up
want 40 verify "notices that the bootloader fell back"
want 0 rollback "makes the running slot the one to start"
want 22 probe "the previous version runs"

# A hook that is killed while RAUC's service writes: the service goes on, and the next probe tells.
bad=0 seen=()
for n in $(seq "$kills"); do
	begin rauc display /made/five.raucb
	if [ "$(slot)" = A ]; then start B; fi
	echo B >/data/primary
	sed -i '/^\[slot.rootfs.0\]/,/^$/d' /data/rauc.status # as if A had never been written
	machine_starts
	cut_off install 500
	verb probe
	first=$code
	for _ in $(seq 100); do
		[ $code = 24 ] || break
		sleep 0.1
		verb probe
	done
	[ $code = 22 ] && { verb install; verb probe; }
	seen+=("$first")
	[ $code = 21 ] || { bad=$((bad + 1)); row FAIL "killed after $cut_at ms: probe said $first, then $code"; continue; }
	machine_starts
	verb probe
	[ $code = 20 ] && written "$A" 5 || { bad=$((bad + 1)); row FAIL "killed after $cut_at ms: the slot is not the new version ($code)"; }
	verb rollback
	machine_starts
	verb probe
	[ $code = 22 ] && [ "$(slot)" = B ] || { bad=$((bad + 1)); row FAIL "killed after $cut_at ms: no way back ($code)"; }
done
check "killed $n times while RAUC installed (first answers: $(printf '%s\n' "${seen[@]}" | sort | uniq -c | awk '{ printf "%s x %s, ", $1, $2 }' | sed 's/, $//')): $bad bad ends" test $bad = 0
