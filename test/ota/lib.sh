# shellcheck shell=bash disable=SC2034,SC2154
# What the scripts that run inside the container share, beside test/system's lib.sh: calls of a hook by the contract.
# shellcheck disable=SC1091 # it is bound into the container
. /srv/lib.sh
hooks=/usr/lib/spoke-zone-agent/hooks
conf=/etc/spoke-zone-agent/hooks.d
kills=$(cat /srv/kills)
boot=1 code='' txn=0

# begin HOOK MODULE FILE: a new update.
begin() {
	hook=$hooks/$1 module=$2 payload=$3
	txn=$((txn + 1))
	state=/var/lib/ota/$txn keep=/var/lib/ota/keep/$module
	mkdir -p "$state" "$keep"
	environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C SPOKE_OTA_API=1
		"SPOKE_OTA_TXN=0000000$txn-1" "SPOKE_OTA_TXN_UUID=$(cat /proc/sys/kernel/random/uuid)" SPOKE_OTA_ID=1
		"SPOKE_OTA_MODULE=$module" SPOKE_OTA_VERSION=2.0 SPOKE_OTA_FROM_VERSION=1.0 "SPOKE_OTA_FILE=$payload"
		"SPOKE_OTA_SIZE=$(stat -c %s "$payload")" "SPOKE_OTA_SHA256=$(sha256sum <"$payload" | cut -d ' ' -f 1)"
		"SPOKE_OTA_STATE_DIR=$state" "SPOKE_OTA_KEEP_DIR=$keep" SPOKE_OTA_ATTEMPT=1 SPOKE_OTA_DRY_RUN=0 SPOKE_OTA_REASON=test)
}

# verb VERB: sets code; what the hook says is in $said.
verb() {
	(cd "$state" && exec env -i "${environment[@]}" "SPOKE_OTA_BOOT_ID=boot-$boot" "$hook" "$1") >"$said" 2>&1 </dev/null
	code=$?
}

# want CODE VERB WHAT
want() {
	verb "$2"
	if [ $code = "$1" ]; then row ok "$2: $3"; else row FAIL "$2: $3: got $code, want $1: $(tail -n 3 "$said" | tr '\n' ' ')"; fi
}

# cut_off VERB MOST_MS: starts the verb in a unit of its own, as the installer does, and kills all of it at a random instant.
cut_off() {
	local name=ota-cut-$txn-$RANDOM settings=() value
	for value in "${environment[@]}" "SPOKE_OTA_BOOT_ID=boot-$boot"; do settings+=(-E "$value"); done
	systemd-run -q --collect --unit="$name" --property=WorkingDirectory="$state" "${settings[@]}" "$hook" "$1" || return
	cut_at=$((RANDOM % $2))
	sleep "$((cut_at / 1000)).$(printf %03d $((cut_at % 1000)))"
	systemctl kill --kill-whom=all -s KILL "$name" 2>/dev/null
	while systemctl is-active -q "$name" || [ "$(systemctl show -P ActiveState "$name")" = deactivating ]; do sleep 0.02; done
}
