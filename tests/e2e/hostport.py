#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Host ports of pods that containerd (CRI) starts with the conflist as the daemon writes it, in both families: from another
node, from the node, through the daemon's death, in the next sandbox of the same pod, and after it."""
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402
import leftovers  # noqa: E402
from runtime import Containerd, Place  # noqa: E402

ENV = ("BERTH_MIN_IPS=6", "BERTH_MAX_PODS=6", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s", "BERTH_FAMILIES=ipv4,ipv6")
PORTMAP = "/usr/lib/cni/portmap"
PORTS = ({"host_port": 8080, "container_port": 80}, {"host_port": 9090, "container_port": 80, "host_ip": "127.0.0.1"})
SERVER = """
import socket, sys
server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    peer, address = server.accept()
    peer.sendall((sys.argv[1] + " " + address[0].replace("::ffff:", "")).encode())
    peer.close()
"""
CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as server:
        print(server.recv(200).decode())
except OSError as error:
    print(type(error).__name__)
"""
tap = Tap()


class Pods:
    """Sandboxes with a server in each that says who it is and whom it sees."""

    def __init__(self, place, cri):
        self.place, self.cri, self.servers = place, cri, {}

    def start(self, name, attempt, said):
        before = set(self.place.netns())
        sandbox = self.cri.run(name, attempt=attempt, ports=PORTS)
        netns = (set(self.place.netns()) - before).pop()
        server = subprocess.Popen(self.place.inside("nsenter", f"--net=/run/netns/{netns}", "/usr/bin/python3", "-c", SERVER,
                                                    said), stdout=subprocess.PIPE, text=True)
        server.stdout.readline()
        self.servers[sandbox] = server
        return sandbox

    def end(self, sandbox):
        server = self.servers.pop(sandbox)
        server.kill()
        server.wait()
        self.cri.stop(sandbox)
        self.cri.remove(sandbox)

    def close(self):
        for server in self.servers.values():
            server.kill()
            server.wait()


def ask(box, node, address, port=8080):
    return box.in_netns(node, "/usr/bin/python3", "-c", CLIENT, address, str(port)).stdout.strip()


def own_addresses(box, node):
    """The node's own addresses, IPv4 first."""
    links = json.loads(box.in_netns(node, "ip", "-j", "addr", "show", "dev", "eth0").stdout)
    found = [a["local"] for a in links[0]["addr_info"] if a["scope"] == "global"]
    return sorted(found, key=lambda text: ipaddress.ip_address(text).version)


def test_port(box, said, n1, n2):
    for here, there in zip(n1, n2):
        answer = ask(box, "n2", here)
        tap.check(f"{here}:8080 from another node is {said} and sees the client", answer == f"{said} {there}", answer)
        answer = ask(box, "n1", here)
        tap.check(f"{here}:8080 from the node itself is {said}", answer.startswith(said + " "), answer)
    for port in (8080, 9090):
        answer = ask(box, "n1", "127.0.0.1", port)
        tap.check(f"127.0.0.1:{port} of the node is {said}", answer.startswith(said + " "), answer)
    answer = ask(box, "n2", n1[0], 9090)
    tap.check("a port of 127.0.0.1 is not there for others", answer == "ConnectionRefusedError", answer)


def test_pods(box, place, pods, n1, n2):
    first = pods.start("web", 0, "first")
    test_port(box, "first", n1, n2)
    box.vpcbox("kill", "n1", "--signal", "9")
    answer = ask(box, "n2", n1[0])
    tap.check("the port answers while the daemon is dead", answer.startswith("first "), answer)
    box.in_netns("n1", "nft", "flush", "ruleset")
    box.vpcbox("start", "n1")
    tap.check("a daemon that starts has it again", until(10, lambda: ask(box, "n2", n1[0]).startswith("first ")),
              ask(box, "n2", n1[0]))
    second = pods.start("web", 1, "second")
    test_port(box, "second", n1, n2)
    pods.end(first)
    answer = ask(box, "n2", n1[0])
    tap.check("the late end of the first sandbox leaves the port to the second", answer.startswith("second "), answer)
    box.in_netns("n1", "nft", "flush", "ruleset")
    start = time.monotonic()
    back = until(5, lambda: ask(box, "n2", n1[0]).startswith("second "))
    tap.check("the port is back after `nft flush ruleset`", back, time.monotonic() - start)
    pods.end(second)
    tap.check("the port is closed behind the pod",
              until(5, lambda: ask(box, "n2", n1[0]) == ask(box, "n1", "127.0.0.1") == "ConnectionRefusedError"),
              ask(box, "n2", n1[0]))
    tap.check("no namespace of a pod is left", until(10, lambda: not place.netns()), place.netns())


def rewrite(path, plugins):
    """The list with other plugins, as people write their own."""
    with open(path, encoding="utf-8") as file:
        conf = json.load(file)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({**conf, "plugins": plugins}, file)
    os.rename(path + ".new", path)


def test_portmap(box, place, pods, conflist, n1, n2):
    """Somebody's own list: the reference plugin has the capability, and berth has not."""
    if not os.path.exists(PORTMAP):
        tap.skip("portmap behind berth", "no reference plugins here (deploy/deps test)")
        return
    shutil.copy(PORTMAP, place.folder + "/bin")
    with open(conflist, encoding="utf-8") as file:
        ours = json.load(file)["plugins"]
    rewrite(conflist, [{"type": "berth", "socket": ours[0]["socket"]},
                       {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}])
    try:
        until(10, lambda: "portmap" in pods.cri.info())
        sandbox = pods.start("chained", 0, "chained")
        for here, there in zip(n1, n2):
            answer = ask(box, "n2", here)
            tap.check(f"portmap behind berth: {here}:8080 is the pod and sees the client", answer == f"chained {there}", answer)
        answer = ask(box, "n1", "127.0.0.1")
        tap.check("portmap behind berth: so is 127.0.0.1:8080", answer.startswith("chained "), answer)
        tap.check("portmap behind berth: none of it is ours",
                  not any("runtime" in what for what in box.addresses(wanted="leased").values()),
                  box.addresses(wanted="leased"))
        pods.end(sandbox)
        answer = ask(box, "n2", n1[0])
        tap.check("portmap behind berth: closed behind the pod", answer == "ConnectionRefusedError", answer)
    finally:
        rewrite(conflist, ours)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("hp", nodes=2, env=ENV, options=("--attach-ms", "100", "--families", "ipv4,ipv6")) as box, \
            Place(box) as place, Containerd(place) as containerd:
        with open(os.path.join(place.net_d, "10-berth.conflist"), encoding="utf-8") as file:
            plugin = json.load(file)["plugins"][0]
        tap.check("the conflist asks the runtime for port mappings",
                  plugin.get("capabilities", {}).get("portMappings") is True, plugin)
        n1, n2 = own_addresses(box, "n1"), own_addresses(box, "n2")
        tap.check("the nodes have addresses of both families", len(n1) == len(n2) == 2, (n1, n2))
        until(20, lambda: box.count("free") == 6)
        before = leftovers.look(box, "n1")
        pods = Pods(place, containerd.cri)
        try:
            test_pods(box, place, pods, n1, n2)
            test_portmap(box, place, pods, os.path.join(place.net_d, "10-berth.conflist"), n1, n2)
        finally:
            pods.close()
        leftovers.check(tap, "links, routes, rules, nft elements and leases are as before", box, "n1", before, 20)
        if tap.failed:
            print("\n".join("# " + line for line in (box.log("n1") + containerd.log()).splitlines()[-40:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
