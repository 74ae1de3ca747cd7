#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pods of one family on a node that has both, with the mock EC2 behind the daemon: they reach the internet, the other node and
their own of the other family, seen as their node; a daemon that was killed changes nothing; DEL leaves nothing."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402

INTERNET = {"ipv4": "198.51.100.9", "ipv6": "2001:db8:ffff::9"}
RANGE = {"ipv4": ["169.254.172.0/22", "169.254.17"], "ipv6": ["fd00::ac:0/118", "fd00::ac:"]}
PODS = 12  # of an m5.large with single addresses: two NICs
SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 9001))
print("ready", flush=True)
while True:
    _, who = s.recvfrom(16)
    s.sendto(who[0].encode(), who)
"""
CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3)
for _ in range(20):
    try:
        s.sendto(b"?", (sys.argv[1], 9001))
        print(s.recv(64).decode())
        break
    except OSError:
        pass
"""
tap = Tap()


class Server:
    """Tells whoever asks under which address."""

    def __init__(self, box, where, addr):
        self.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{box.name}-{where}", "/usr/bin/python3", "-c", SERVER,
                                         addr], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def seen(box, where, addr):
    return box.in_netns(where, "/usr/bin/python3", "-c", CLIENT, addr).stdout.strip()


def own(box, node, family):
    said = box.in_netns(node, "ip", "-4" if family == "ipv4" else "-6", "-o", "addr", "show", "eth0", "scope", "global")
    return said.stdout.split()[3].split("/")[0]


def routes(box, family):
    said = box.in_netns("n1", "ip", "-4" if family == "ipv4" else "-6", "route", "show", "table", "local", "proto", "98")
    return [line for line in said.stdout.splitlines() if RANGE[family][1] in line]


def reach(box, what, family):
    """Pods by all NICs, to the internet as the node itself is seen there, to the other node as the node."""
    with Server(box, "inet", INTERNET[family]), Server(box, "n2", own(box, "n2", family)):
        want = seen(box, "n1", INTERNET[family])
        for pod in ("pn1-0", f"pn1-{PODS - 1}"):
            for addr, as_whom in ((INTERNET[family], want), (own(box, "n2", family), own(box, "n1", family))):
                got = seen(box, pod, addr)
                tap.check(f"{what}: {pod} reaches {addr} as its node", got and got == as_whom, (got, as_whom))


def story(what, family, env, options):
    with Box("eg", nodes=2, env=env, options=("--attach-ms", "100", *options)) as box:
        done = box.pods("n1", PODS, "-q")
        tap.check(f"{what}: {PODS} pods", done.returncode == 0, done.stdout + done.stderr)
        tap.check(f"{what}: a cover, and a route each", len(routes(box, family)) == PODS + 1, routes(box, family))
        reach(box, what, family)
        box.vpcbox("kill", "n1")  # and wait until it is gone
        box.vpcbox("start", "n1")
        tap.check(f"{what}: the next daemon knows them",
                  until(10, lambda: [e["pods"] for e in box.state().get("egress", [])] == [PODS]), box.state())
        reach(box, what, family)
        done = box.pods("n1", "--delete", "all", "-q")
        tap.check(f"{what}: deleted", done.returncode == 0, done.stdout + done.stderr)
        tap.check(f"{what}: the cover is all that is left",
                  until(10, lambda: [RANGE[family][0] in line for line in routes(box, family)] == [True]),
                  routes(box, family))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    story("pods of IPv6", "ipv4", (), ("--families", "ipv6"))
    story("pods of IPv4", "ipv6", ("BERTH_FAMILIES=ipv4", "BERTH_V6_EGRESS=true"), ("--families", "ipv4,ipv6"))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
