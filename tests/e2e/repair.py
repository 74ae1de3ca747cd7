#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real pods on a node of the box while other programs flush, take down and rewrite: all is back within a second, and the
matrix of paths holds. What others have that collides with our numbers is named when the daemon starts."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402

PODS = 20  # of an m5.large: two NICs
BACK_S = 1
FOREIGN = ("ip", "rule", "add", "pref", "1030", "fwmark", "0x10/0x10", "lookup", "77")
tap = Tap()


def kernel(box):
    """All that berth has in the kernel of the node."""
    def said(*command):
        return box.in_netns("n1", *command).stdout

    rules = [line for line in said("ip", "rule").splitlines() if "fwmark" in line]
    routes = sorted(said("ip", "route", "show", "table", "all", "proto", "98").splitlines())
    links = sorted(" ".join(line.split()[:3]) for line in said("ip", "-br", "link").splitlines())
    return rules, routes, links, said("nft", "list", "ruleset")


def harm(box, what, *commands):
    """The daemon is stopped meanwhile, so that what is gone can be seen."""
    before = kernel(box)
    os.kill(box.pids("n1"), signal.SIGSTOP)
    for command in commands:
        box.in_netns("n1", *command.split())
    gone = kernel(box) != before
    os.kill(box.pids("n1"), signal.SIGCONT)
    tap.check(f"{what}: something is gone", gone)
    tap.check(f"{what}: back within a second", until(BACK_S, lambda: kernel(box) == before), (before, kernel(box)))


def sysctl(box, key):
    return box.in_netns("n1", "sysctl", "-n", key).stdout.strip()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("br", nodes=2, options=("--attach-ms", "100")) as box:
        for node in ("n1", "n2"):
            done = box.pods(node, PODS, "-q")
            tap.check(f"{PODS} pods on {node}", done.returncode == 0, done.stdout + done.stderr)
        end = next(line.split()[0].split("@")[0] for line in box.in_netns("n1", "ip", "-br", "link").stdout.splitlines()
                   if line.startswith("bth"))
        harm(box, "nft flush ruleset", "nft flush ruleset")
        harm(box, "rules of the NICs", "ip rule del pref 1024", "ip rule del pref 1025")
        harm(box, "routes", "ip route flush table all proto 98")
        harm(box, "a pod's host end down", f"ip link set {end} down")
        harm(box, "another MAC of a pod's host end", f"ip link set {end} address 02:11:22:33:44:55")
        harm(box, "the secondary NIC down", "ip link set eth1 down")
        box.in_netns("n1", "sysctl", "-qw", "net.ipv4.conf.eth1.rp_filter=1")
        tap.check("rp_filter: back within a second",
                  until(BACK_S, lambda: sysctl(box, "net.ipv4.conf.eth1.rp_filter") == "2"))
        done = box.vpcbox("matrix", check=False)
        tap.check("every path holds", done.returncode == 0, done.stdout + done.stderr)
        box.in_netns("n1", *FOREIGN)
        box.vpcbox("kill", "n1")
        box.vpcbox("start", "n1")
        tap.check("a rule of others under our mark is named at the start",
                  until(10, lambda: "rule 1030: fwmark 0x10/0x10 lookup 77" in box.log("n1")), box.log("n1")[-2000:])
        tap.check("and left alone", "lookup 77" in box.in_netns("n1", "ip", "rule").stdout)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
