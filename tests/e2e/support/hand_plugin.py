#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A CNI plugin that wires pods with `ip`, from a list of addresses in a file: what a box shows without a daemon."""
import fcntl
import json
import os
import subprocess
import sys


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=sys.stderr)


def take(pool):
    """The next addresses of the file: one line for each pod, "V4 V6", either may be "-"."""
    with open(pool, "r+", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        lines = f.read().splitlines()
        f.seek(0)
        f.truncate()
        f.write("".join(line + "\n" for line in lines[1:]))
    return [a for a in lines[0].split() if a != "-"]


def wire(host, netns, addresses):
    pod = os.path.basename(netns)
    ip("-n", pod, "link", "set", "lo", "up")
    subprocess.run(["ip", "netns", "exec", pod, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], check=True)
    ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", pod)
    ip("link", "set", host, "up")
    ip("-n", pod, "link", "set", "eth0", "up")
    for address in addresses:
        family, length, gateway = ("-6", 128, "fe80::1") if ":" in address else ("-4", 32, "169.254.1.1")
        ip("addr", "add", "%s/%d" % (gateway, length), "dev", host, *(["nodad"] if family == "-6" else []))
        ip("-n", pod, "addr", "add", "%s/%d" % (address, length), "dev", "eth0")
        ip("-n", pod, family, "route", "add", gateway, "dev", "eth0")
        ip("-n", pod, family, "route", "add", "default", "via", gateway, "dev", "eth0")
        ip(family, "route", "add", address, "dev", host)


def main():
    conf = json.load(sys.stdin)
    host = "h" + os.environ["CNI_CONTAINERID"][:12]
    if os.environ["CNI_COMMAND"] == "DEL":
        subprocess.run(["ip", "link", "del", host], check=False, stderr=subprocess.DEVNULL)
        return
    addresses = take(conf["pool"])
    wire(host, os.environ["CNI_NETNS"], addresses)
    ips = [{"address": "%s/%d" % (a, 128 if ":" in a else 32)} for a in addresses]
    print(json.dumps({"cniVersion": conf["cniVersion"], "ips": ips}))


main()
