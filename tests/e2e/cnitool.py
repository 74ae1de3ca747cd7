#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""libcni's own command calls the plugin: add, check, del, gc and status against a daemon in a node of the box."""
import hashlib
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402
from gotool import cnitool  # noqa: E402
import leftovers  # noqa: E402
from runtime import Place  # noqa: E402

ENV = ("BERTH_MIN_IPS=4", "BERTH_MAX_PODS=4", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s")
tap = Tap()


def container_of(netns):
    """cnitool names the container by the namespace's path."""
    return "cnitool-" + hashlib.sha512(netns.encode()).hexdigest()[:20]


class Tool:
    """cnitool with a conflist of ours in CNI 1.1.0, the version that brought GC and STATUS."""

    def __init__(self, place, path):
        self.place, self.path = place, path
        conf = place.folder + "/conf"
        os.mkdir(conf)
        with open(conf + "/10-berth.conflist", "w", encoding="utf-8") as file:
            json.dump({"cniVersion": "1.1.0", "name": "berth", "plugins": [
                {"type": "berth", "socket": place.box.folder(place.node) + "/run/ipamd.sock"}]}, file)
        self.env = ["env", f"NETCONFPATH={conf}", f"CNI_PATH={place.folder}/bin", "CNI_IFNAME=eth0"]

    def __call__(self, verb, netns, *more):
        return self.place.run(*self.env, *more, self.path, verb, "berth", netns, check=False)


def has_verbs(place):
    """A plugin that has no STATUS yet answers error 4."""
    conf = json.dumps({"cniVersion": "1.1.0", "name": "berth", "type": "berth", "socket": "/nowhere/ipamd.sock"})
    done = place.run("env", "CNI_COMMAND=STATUS", place.folder + "/bin/berth", check=False, input=conf)
    return json.loads(done.stdout or "{}").get("code") == 50


def test_add_del(box, tool, netns):
    done = tool("add", netns)
    result = json.loads(done.stdout or "{}")
    ips = [ip["address"].split("/")[0] for ip in result.get("ips", [])]
    tap.check("cnitool add gives a result of CNI 1.1.0 with one address",
              done.returncode == 0 and result.get("cniVersion") == "1.1.0" and len(ips) == 1, done.stdout + done.stderr)
    leases = box.addresses(wanted="leased")
    tap.check("the address is the lease of cnitool's container",
              list(leases) == ips and leases[ips[0]]["container"] == container_of(netns), leases)
    seen = tool.place.run("nsenter", f"--net={netns}", "ip", "-o", "addr", "show", "eth0").stdout
    tap.check("the pod has it", ips and f"inet {ips[0]}/32" in seen, seen)
    again = tool("add", netns)
    tap.check("a second add is refused and takes nothing",
              again.returncode != 0 and "eth0" in again.stdout + again.stderr
              and list(box.addresses(wanted="leased")) == ips,
              again.stdout + again.stderr)


def test_check(box, tool, netns):
    done = tool("check", netns)
    tap.check("cnitool check agrees", done.returncode == 0, done.stdout + done.stderr)
    tool.place.run("nsenter", f"--net={netns}", "ip", "route", "del", "default")
    done = tool("check", netns)
    tap.check("cnitool check names the default route that is gone",
              done.returncode != 0 and "default" in done.stdout + done.stderr, done.stdout + done.stderr)
    tap.check("check changes nothing", len(box.addresses(wanted="leased")) == 1, box.addresses(wanted="leased"))


def test_status(box, tool, netns):
    done = tool("status", netns)
    tap.check("cnitool status is content", done.returncode == 0, done.stdout + done.stderr)
    box.vpcbox("kill", "n1", "--signal", "9")
    done = tool("status", netns)
    tap.check("cnitool status without a daemon is an error", done.returncode != 0, done.stdout + done.stderr)
    box.vpcbox("start", "n1")
    tap.check("cnitool status is content again", until(10, lambda: tool("status", netns).returncode == 0))


def test_gc(box, tool, netns):
    """cnitool gc names no attachment: all are stale. The namespace that is still there keeps its own unless DEL comes."""
    tool("add", netns)
    tap.check("gc has something to free", len(box.addresses(wanted="leased")) == 1)
    done = tool("gc", netns)
    tap.check("cnitool gc frees what nobody lists",
              done.returncode == 0 and until(10, lambda: not box.addresses(wanted="leased")), done.stdout + done.stderr)
    done = tool("gc", netns)
    tap.check("cnitool gc again is harmless", done.returncode == 0, done.stdout + done.stderr)


def run(box, place, path):
    tool = Tool(place, path)
    until(20, lambda: box.count("free") == 4)
    before = leftovers.look(box, "n1")
    place.run("ip", "netns", "add", "pod")
    netns = "/run/netns/pod"
    verbs = has_verbs(place)
    test_add_del(box, tool, netns)
    if verbs:
        test_check(box, tool, netns)
    for what in ("cnitool del frees it", "cnitool del again succeeds"):
        done = tool("del", netns)
        tap.check(what, done.returncode == 0 and until(5, lambda: not box.addresses(wanted="leased")),
                  done.stdout + done.stderr)
    if verbs:
        test_status(box, tool, netns)
        test_gc(box, tool, netns)
    else:
        tap.skip("cnitool check, status, gc", "this plugin has none of these verbs")
    place.run("ip", "netns", "del", "pod")
    leftovers.check(tap, "nothing is left", box, "n1", before, 20)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path, why = cnitool()
    if not path:
        tap.skip("libcni's cnitool", why)
        return tap.end()
    with Box("cn", env=ENV, options=("--attach-ms", "100")) as box, Place(box) as place:
        run(box, place, path)
        if tap.failed:
            print("\n".join("# " + line for line in box.log("n1").splitlines()[-20:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
