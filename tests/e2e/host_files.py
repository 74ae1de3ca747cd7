#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/host: its files have no key that their reader does not know, and systemd-networkd, run for real in a network namespace,
leaves alone what is berth's once they are installed, and takes it away without them."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Tap, until  # noqa: E402

NETWORKD = "/lib/systemd/systemd-networkd"
HOST = os.path.abspath("deploy/host")
NICS = HOST + "/usr/local/sbin/berth-nics"
# Of systemd.network(5), networkd.conf(5), NetworkManager.conf(5), systemd.unit(5) and systemd.service(5): what is used here.
KNOWN = {
    ".network": {"Match": {"Name", "Type", "Driver", "Property"}, "Link": {"Unmanaged"}},
    "networkd.conf.d": {"Network": {"ManageForeignRoutes", "ManageForeignRoutingPolicyRules"}},
    "NetworkManager": {"keyfile": {"unmanaged-devices+"}, "device-berth-nics": {"match-device", "managed"}},
    ".service": {"Unit": {"Description", "After", "Wants", "Before"}, "Service": {"Type", "RemainAfterExit", "ExecStart"},
                 "Install": {"WantedBy"}},
}
# What an image's own files say of every interface. networkd takes what is foreign away when it configures a link: here one that
# another file is for since it was renamed, once its carrier is back.
IMAGE = {"05-born.network": "[Match]\nName=new*\n[Network]\nLinkLocalAddressing=no\n",
         "80-all.network": "[Match]\nType=ether\n[Network]\nLinkLocalAddressing=no\n"}
tap = Tap()


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def unknown(path, text):
    """Lines that are neither a section nor a key of it that is known for this kind of file."""
    kind = next(known for name, known in KNOWN.items() if name in path)
    section, wrong = None, []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        header = re.fullmatch(r"\[([\w-]+)\]", line)
        key = re.match(r"([\w+-]+)=.", line)
        if header:
            section = header[1]
        if not (section in kind if header else key and key[1] in kind.get(section, ())):
            wrong.append(line)
    return wrong


# ---- inside a namespace of its own: networkd and a node ----

def run(words):
    return subprocess.run(words.split(), capture_output=True, text=True, check=True).stdout


def make_link(name):
    run(f"ip link add {name} type veth peer name peer-{name}")
    for end in (name, f"peer-{name}"):
        run(f"ip link set {end} up")


def make_berths():
    run("ip addr add 10.0.0.20/32 dev new1")
    run("ip route add 10.0.0.1 dev new1 table 48641 proto 98")
    run("ip rule add pref 1025 fwmark 0x4/0x7e lookup 48641 proto 98")
    run("ip route add 10.0.0.21 dev new2 table local proto 98")


def looked_at():
    """What is there of it."""
    return {"address": "10.0.0.20" in run("ip -4 addr show dev ens6"), "rule": "1025:" in run("ip rule"),
            "table": "10.0.0.1" in run("ip route show table all proto 98"),
            "pod": "10.0.0.21" in run("ip route show table local proto 98")}


def write_all(folder, files):
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def fake_nics(folder):
    """The primary's driver is veth here, which no /sys says."""
    device = folder + "/sys/class/net/ens5/device"
    os.makedirs(device)
    os.symlink("../../../bus/pci/drivers/veth", device + "/driver")
    run(f"{NICS} {folder}")
    return folder + "/run/systemd/network"


def mount_files(folder, installed, nics):
    run("mount -t tmpfs -o mode=755 none /etc/systemd")
    write_all("/etc/systemd/network", IMAGE)
    if installed:
        shutil.copytree(HOST + "/etc/systemd", "/etc/systemd", dirs_exist_ok=True)
    if nics:
        shutil.copytree(fake_nics(folder), "/etc/systemd/network", dirs_exist_ok=True)
    run("mount -t tmpfs -o mode=755 none /run")
    run("install -d -o systemd-network -g systemd-network /run/systemd/netif /run/systemd/netif/links")
    run("mount -t sysfs none /sys")
    # What udev writes of a link that it is done with: networkd waits for it, and asks for properties only then.
    write_all("/run/udev/data", {f"n{number}": "I:1\n" for number, _ in socket.if_nameindex()})


def node(folder, installed, nics):
    """A namespace of network and mounts, made for this process. Prints what is left as JSON."""
    run("mount --make-rprivate /")
    run("ip link set lo up")
    for name in ("ens5", "new1", "new2"):
        make_link(name)
    run("ip addr add 10.0.0.10/24 dev ens5")
    run("ip route add default via 10.0.0.1 dev ens5")
    mount_files(folder, installed, nics)
    log = folder + "/log"
    with open(log, "w", encoding="utf-8") as out, subprocess.Popen(
            [NETWORKD], stdout=out, stderr=out, env={"SYSTEMD_LOG_LEVEL": "debug"}) as networkd:
        try:
            until(10, lambda: all(f"{name}: State changed: configuring -> configured" in read(log)
                                  for name in ("new1", "new2")))
            make_berths()
            until(10, lambda: "10.0.0.21/32" in read(log))
            for old, new in (("new1", "ens6"), ("new2", "bth01")):
                run(f"ip link set {old} name {new}")
                run(f"ip link set peer-{old} down")
                until(10, lambda: f"{new}: Lost carrier" in read(log))
                run(f"ip link set peer-{old} up")
                until(10, lambda: re.search(rf"^{new}: State changed: \w+ -> (configured|unmanaged)", read(log), re.M))
            left = looked_at() if installed else until(5, lambda: None if any(looked_at().values()) else looked_at())
        finally:
            networkd.terminate()
    print(json.dumps({"log": read(log), **(left or looked_at())}))


def in_namespace(installed, nics):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["unshare", "--net", "--mount", sys.executable, os.path.abspath(__file__), "node", folder,
                               str(int(installed)), str(int(nics))], capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"log": done.stdout + done.stderr}


def state_of(seen, link):
    found = re.findall(rf"^{link}: State changed: \w+ -> (\w+)", seen["log"], re.M)
    return found[-1] if found else "none"


def has(seen, *what):
    return all(seen.get(name) for name in what)


def test_networkd():
    seen = in_namespace(False, False)
    tap.check("without the files networkd takes address, routes and rules away",
              not any(seen.get(name, True) for name in ("address", "table", "rule", "pod")), json.dumps(seen))
    seen = in_namespace(True, False)
    tap.check("with them host ends are unmanaged, their routes stay, and no rule goes",
              state_of(seen, "bth01") == "unmanaged" and has(seen, "rule", "pod"), json.dumps(seen))
    seen = in_namespace(True, True)
    tap.check("with berth-nics other NICs are unmanaged and keep address and routes, and the primary is managed",
              state_of(seen, "ens6") == "unmanaged" and state_of(seen, "ens5") == "configured"
              and has(seen, "address", "table"), json.dumps(seen))
    tap.check("networkd knows every key", not re.search(r"berth.*(Unknown|Failed to parse|ignoring)", seen["log"]),
              seen["log"])


def main():
    prefix = re.search(r'HOSTNET_POD_LINKS "(\w+)"', read("ipamd/hostnet.h"))[1]
    for path in sorted(glob.glob(HOST + "/etc/**/*.*", recursive=True)):
        if not os.path.isfile(path):
            continue
        text, name = read(path), os.path.relpath(path, HOST)
        tap.check(f"{name} has known keys alone", not unknown(name, text), unknown(name, text))
        if "Match" in text or "keyfile" in text:
            tap.check(f"{name} has the prefix of host ends", re.search(rf"[=:]{prefix}\*$", text, re.M), text)
    for path, text in re.findall(r'>"\$root(/run/\S+)" <<EOF\n(.*?)^EOF', read(NICS), re.S | re.M):
        tap.check(f"{path} has known keys alone", not unknown(path, text), unknown(path, text))
    tap.check("a key that nobody knows is seen", unknown("x.network", "[Match]\nNames=bth*\n") == ["Names=bth*"])
    if os.access(NETWORKD, os.X_OK):
        test_networkd()
    else:
        tap.skip("systemd-networkd leaves berth's alone", "it is not installed")
    return tap.end()


if __name__ == "__main__":
    if sys.argv[1:2] == ["node"]:
        node(sys.argv[2], sys.argv[3] == "1", sys.argv[4] == "1")
        sys.exit(0)
    sys.exit(main())
