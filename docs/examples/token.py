#!/usr/bin/env python3
"""Call a cloud with the token that spoke-zone-agent keeps: no credential here.

usage: token.py ACCOUNT|FILE URL
"""
import hashlib
import http.client
import json
import os
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

SOCKET = os.environ.get("SPOKE_ZONE_SOCKET") or "/run/spoke-zone-agent/agent.sock"


class Agent(http.client.HTTPConnection):
    """HTTP over the agent's socket."""

    def __init__(self):
        super().__init__("localhost", timeout=30)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def ask(method, account, call, body=None):
    agent = Agent()
    headers = {"Content-Type": "application/json"} if body else {}
    agent.request(method, "/v1/accounts/%s/%s" % (urllib.parse.quote(account, safe=""), call), body, headers)
    answer = agent.getresponse()
    text = answer.read()
    agent.close()
    if answer.status >= 300:
        sys.exit("token.py: the agent says: %d: %s" % (answer.status, text.decode(errors="replace")))
    return json.loads(text)


def read(account):
    """The token in a delivered file, or one that is valid for a minute."""
    if account.startswith("/"):
        with open(account) as f:
            return f.read().strip()
    return ask("GET", account, "token?min_validity=1m")["token"]


def reject(account, token):
    """Tell the agent that the cloud refused the token."""
    ask("POST", account, "rejected", json.dumps({
        "tail": token[-6:], "sha256": hashlib.sha256(token.encode()).hexdigest(), "reason": "401"}))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    account, url = sys.argv[1:]
    token = read(account)
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            sys.stdout.write(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code == 401 and not account.startswith("/"):
            reject(account, token)
        sys.exit("token.py: %s: %d %s" % (url, error.code, error.reason))


main()
