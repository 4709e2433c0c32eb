#!/bin/sh
# Calls a cloud with the token that spoke-zone-agent keeps: no credential here.
# usage: token.sh ACCOUNT|FILE URL
# The token is in no argument, where other users would see it.
set -eu
[ $# -eq 2 ] || { echo "usage: token.sh ACCOUNT|FILE URL" >&2; exit 64; }
account=$1 url=$2
socket=${SPOKE_ZONE_SOCKET:-/run/spoke-zone-agent/agent.sock}

ask() { # CALL [CURL OPTIONS]
	call=$1
	shift
	curl -sS --fail-with-body --max-time 30 --unix-socket "$socket" "$@" "http://localhost/v1/accounts/$account/$call"
}

case $account in
/*) token=$(cat "$account") ;;
*) token=$(ask 'token?min_validity=1m' | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p') ;;
esac
[ -n "$token" ] || { echo "token.sh: there is no token" >&2; exit 1; }

answer=$(printf 'Authorization: Bearer %s\n' "$token" | curl -sS --max-time 30 -H @- -w '\n%{http_code}' "$url")
status=${answer##*
}
printf '%s\n' "${answer%
*}"
case $status in 2??) exit 0 ;; esac
echo "token.sh: $url: $status" >&2
if [ "$status" = 401 ] && [ "${account#/}" = "$account" ]; then
	sum=$(printf %s "$token" | sha256sum)
	tail=$(printf %s "$token" | tail -c 6)
	printf '{"tail":"%s","sha256":"%s","reason":"401"}' "$tail" "${sum%% *}" |
		ask rejected -H 'Content-Type: application/json' --data-binary @- >/dev/null
fi
exit 1
