#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Callers that cannot run here: what CRI-O, Multus and others give a plugin (tests/golden/callers), through the real one.

It is written down after their documentation and code, not captured. Each file has the steps of one caller: verb,
environment and stdin as it gives them, and what must come of it: a pod's name, an interface, how many leases there are
afterwards. @SOCKET@ is the daemon's, @RESULT@ the result of the last ADD.
"""
import glob
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402
import leftovers  # noqa: E402
from runtime import Place  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "callers")
ENV = ("BERTH_MIN_IPS=4", "BERTH_MAX_PODS=4", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s")
LATER = {"CHECK", "GC", "STATUS"}  # a plugin that lacks one of them answers error 4
tap = Tap()


class Player:
    """Plays the steps of one caller."""

    def __init__(self, box, place, name, netns):
        self.box, self.place, self.name, self.netns = box, place, name, netns
        self.result = None

    def stdin(self, step):
        conf = {**step["stdin"], "socket": self.box.folder("n1") + "/run/ipamd.sock"}
        if conf.get("prevResult") == "@RESULT@":
            conf["prevResult"] = self.result
        return json.dumps(conf)

    def play(self, number, step):
        what = f"{self.name}: {step['verb']} ({number})"
        env = [f"{key}={value}" for key, value in step["env"].items()]
        done = self.place.run("env", "-i", f"CNI_COMMAND={step['verb']}", *env, self.place.folder + "/bin/berth",
                              check=False, input=self.stdin(step))
        said = done.stdout + done.stderr
        if step["verb"] in LATER and done.returncode and json.loads(done.stdout or "{}").get("code") == 4:
            tap.skip(what, "this plugin has no such verb")
            return
        tap.check(what + " succeeds", done.returncode == 0, said)
        if step["verb"] == "ADD" and done.returncode == 0:
            self.result = json.loads(done.stdout)
            self.check_result(what, step, said)
        elif step["verb"] in LATER:
            tap.check(what + " says nothing", done.stdout == "", said)
        if "leases" in step["expect"]:
            tap.check(what + f" leaves {step['expect']['leases']} leases",
                      until(5, lambda: len(self.box.addresses(wanted="leased")) == step["expect"]["leases"]),
                      self.box.addresses(wanted="leased"))

    def check_result(self, what, step, said):
        ips = [ip["address"].split("/")[0] for ip in self.result["ips"]]
        lease = self.box.addresses(wanted="leased").get(ips[0], {})
        wanted = {"container": step["env"]["CNI_CONTAINERID"], "ifname": step["expect"]["ifname"], "lease": "bound",
                  "pod": step["expect"]["pod"]}
        tap.check(what + " leases what it prints, under the caller's names",
                  {key: lease.get(key, "") for key in wanted} == wanted, (lease, wanted, said))
        inside = [i for i in self.result["interfaces"] if i.get("sandbox") == step["env"]["CNI_NETNS"]]
        tap.check(what + " prints version, interface and sandbox as asked",
                  self.result["cniVersion"] == step["stdin"]["cniVersion"]
                  and [i["name"] for i in inside] == [step["env"]["CNI_IFNAME"]], said)
        way = self.place.run("ip", "-n", self.netns, "route", "get", "198.51.100.9").stdout
        tap.check(what + " leaves the pod's way to the world with its first interface", " dev eth0 " in way, way)


def play_all(box, place, path, before):
    with open(path, encoding="utf-8") as file:
        caller = json.load(file)
    player = Player(box, place, caller["caller"], caller["netns"])
    place.run("ip", "netns", "add", caller["netns"])
    for number, step in enumerate(caller["steps"], 1):
        player.play(number, step)
    place.run("ip", "netns", "del", caller["netns"])
    leftovers.check(tap, f"{caller['caller']}: nothing is left", box, "n1", before, 20)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("re", env=ENV, options=("--attach-ms", "100")) as box, Place(box) as place:
        until(20, lambda: box.count("free") == 4)
        before = leftovers.look(box, "n1")
        for path in sorted(glob.glob(GOLDEN + "/*.json")):
            play_all(box, place, path, before)
        if tap.failed:
            print("\n".join("# " + line for line in box.log("n1").splitlines()[-20:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
