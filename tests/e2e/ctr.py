#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ctr run --cni`: containerd's own client calls the plugin, names no pod, and gives /proc/PID/ns/net as CNI_NETNS."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402
import leftovers  # noqa: E402
from runtime import IMAGE, Containerd, Place  # noqa: E402

ENV = ("BERTH_MIN_IPS=6", "BERTH_MAX_PODS=6", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s", "BERTH_RECLAIM_PERIOD=1s")
SHOW = ("/bin/busybox", "sh", "-c", "/bin/busybox ip -o addr show eth0; /bin/busybox ip route; "
        "/bin/busybox ping -c 1 -W 2 $0 >/dev/null && echo reached")
tap = Tap()


def node_address(box):
    links = json.loads(box.in_netns("n2", "ip", "-j", "-4", "addr", "show", "dev", "eth0").stdout)
    return links[0]["addr_info"][0]["local"]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("ct", nodes=2, env=ENV, options=("--attach-ms", "100")) as box, Place(box) as place, \
            Containerd(place) as containerd:
        until(20, lambda: box.count("free") == 6)
        before = leftovers.look(box, "n1")
        containerd.ctr("image", "import", place.image())
        options = ("run", "--rm", "--cni", "--cgroup", f"{containerd.cgroup}/a", IMAGE)
        done = containerd.ctr(*options, "first", *SHOW, node_address(box), check=False)
        text = done.stdout + done.stderr
        tap.check("ctr run --cni runs", done.returncode == 0, text)
        tap.check("its container has an address of the pool", any(f"inet {a}/32" in text for a in box.addresses()), text)
        tap.check("it has our routes", "default via 169.254.1.1 dev eth0" in text, text)
        tap.check("it reaches the other node", "reached" in text, text)
        leftovers.check(tap, "a container that ended leaves nothing", box, "n1", before, 20)

        containerd.ctr("run", "-d", "--cni", "--cgroup", f"{containerd.cgroup}/b", IMAGE, "second", "/bin/busybox", "sleep",
                       "1000")
        leases = list(box.addresses(wanted="leased").values())
        tap.check("a lease without a Kubernetes name is bound under the container's ID",
                  len(leases) == 1 and leases[0]["lease"] == "bound" and leases[0]["container"] == "default-second", leases)
        # ctr deletes with `task rm`, which knows nothing of CNI: the sandbox dies without a DEL.
        containerd.ctr("task", "rm", "-f", "second")
        containerd.ctr("container", "rm", "second")
        leftovers.check(tap, "a container whose DEL never comes is found by the daemon", box, "n1", before, 20)
        if tap.failed:
            print("\n".join("# " + line for line in box.log("n1").splitlines()[-20:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
