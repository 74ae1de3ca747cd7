#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The box itself with prefixes and both families: nodes and pods wired by hand, no daemon; what vpcbox shows of them."""
import ipaddress
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.join(HERE, "support", "hand_plugin.py")
tap = Tap()

# Runs in the node, with the credentials of its instance role: prefixes of both families on each NIC.
BUY = """
import boto3, json, sys, time
ec2 = boto3.client("ec2", "us-west-2", endpoint_url="http://169.254.200.1")
mac, more = sys.argv[1], sys.argv[2] == "more"
found = ec2.describe_network_interfaces(Filters=[{"Name": "mac-address", "Values": [mac]}])["NetworkInterfaces"][0]
ids = [found["NetworkInterfaceId"]]
if more:
    nic = ec2.create_network_interface(SubnetId=found["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=nic, InstanceId=found["Attachment"]["InstanceId"], DeviceIndex=1)
    ids.append(nic)
    while ec2.describe_network_interfaces(NetworkInterfaceIds=[nic])["NetworkInterfaces"][0]["Status"] != "in-use":
        time.sleep(0.05)
for nic in ids:
    ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, Ipv4PrefixCount=1)
    ec2.assign_ipv6_addresses(NetworkInterfaceId=nic, Ipv6PrefixCount=1)
got = ec2.describe_network_interfaces(NetworkInterfaceIds=ids)["NetworkInterfaces"]
got.sort(key=lambda n: n["Attachment"]["DeviceIndex"])
print(json.dumps([[n["PrivateIpAddress"], n["Ipv4Prefixes"][0]["Ipv4Prefix"], n["Ipv6Prefixes"][0]["Ipv6Prefix"]]
                  for n in got]))
"""


def inside(box, where, *command):
    return box.in_netns(where, *command).stdout


def sh(box, where, text):
    return inside(box, where, "sh", "-ec", text)


def buy(box, node, more):
    links = json.loads(inside(box, node, "ip", "-j", "link", "show", "dev", "eth0"))
    return json.loads(inside(box, node, "/usr/bin/python3", "-c", BUY, links[0]["address"], "more" if more else "-"))


def wire_node(box, node, nics):
    """What a daemon does, in a dozen lines: forwarding, SNAT, a table for the second NIC, blocks that are not silent."""
    primary = nics[0][0]
    pods = ", ".join(n[1] for n in nics)
    sh(box, node, "sysctl -qw net.ipv6.conf.all.forwarding=1\n"
       "nft -f - <<E\ntable ip hand {\n chain p {\n  type nat hook postrouting priority 100\n"
       f"  ip saddr {{ {pods} }} ip daddr != 10.0.0.0/16 snat to {primary}\n }}\n}}\nE\n")
    for _, block4, block6 in nics:
        sh(box, node, f"ip route add unreachable {block4}; ip -6 route add unreachable {block6}\n"
           f"ip rule add pref 10 to {block4} lookup main; ip -6 rule add pref 10 to {block6} lookup main")
    if len(nics) > 1:
        own, block4, block6 = nics[1]
        sh(box, node, f"ip link set eth1 up; ip addr add {own}/32 dev eth1\n"
           "ip route add default via 10.0.0.1 dev eth1 onlink table 101\n"
           "ip -6 route add default via fe80:ec2::1 dev eth1 onlink table 101\n"
           f"ip rule add pref 20 from {block4} to 10.0.0.0/16 lookup 101; ip -6 rule add pref 20 from {block6} lookup 101")


def offer(box, node, nics, pods):
    """A conflist whose plugin hands out addresses of these NICs in turn."""
    pool = os.path.join(box.folder(node), "pool")
    with open(pool, "w", encoding="utf-8") as f:
        for i in range(pods):
            _, block4, block6 = nics[i % len(nics)]
            six = ipaddress.ip_network(block6).network_address + 0x1000 + i
            f.write(f"{ipaddress.ip_network(block4)[i + 1]} {six}\n")
    with open(os.path.join(box.folder(node), "net.d", "10-berth.conflist"), "w", encoding="utf-8") as f:
        json.dump({"cniVersion": "1.0.0", "name": "hand", "plugins": [{"type": "hand", "pool": pool}]}, f)


def tables(text):
    """{family: {row: (ok, tried)}} of what the matrix prints."""
    found, family = {}, None
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("IPv4", "IPv6") and "tried" in words:
            family = found.setdefault(words[0], {})
        elif family is not None and " / " in line:
            name, rest = line[:36].strip(), line[36:].split()
            family[name] = (int(rest[0]), int(rest[2]))
    return found


def test_pods__both_families(box):
    for node, nics, pods in (("n1", box.n1, 4), ("n2", box.n2, 2)):
        wire_node(box, node, nics)
        offer(box, node, nics, pods)
        done = box.vpcbox("pods", node, str(pods), "--plugin", PLUGIN)
        lines = [line for line in done.stdout.splitlines() if "p" + node in line]
        assert len(lines) == pods and all("/32" in line and "/128" in line for line in lines), done.stdout


def test_matrix__both_families(box):
    done = box.vpcbox("matrix")
    found = tables(done.stdout)
    assert set(found) == {"IPv4", "IPv6"}, done.stdout
    for family, rows in found.items():
        assert len(rows) == 10 and all(ok == tried > 0 for ok, tried in rows.values()), (family, done.stdout)


def test_matrix__sees_what_does_not_hold(box):
    victim = json.load(open(os.path.join(box.folder("n2"), "pods", "0.json"), encoding="utf-8"))
    six = victim["second"].split("/")[0]
    inside(box, "n2", "ip", "-6", "route", "del", six)
    done = box.vpcbox("matrix", check=False)
    rows = tables(done.stdout)
    assert done.returncode != 0 and all(ok == tried for ok, tried in rows["IPv4"].values()), done.stdout
    broken = {name for name, (ok, tried) in rows["IPv6"].items() if ok < tried}
    assert {"node - pod", "pod - pod, other node"} <= broken and "source of another NIC is dropped" not in broken, broken
    inside(box, "n2", "ip", "-6", "route", "add", six, "dev", "h" + victim["container"][:12])
    assert until(10, lambda: box.vpcbox("matrix", check=False).returncode == 0)


def test_prefixes__count_one_call_each(box):
    calls = box.mock("calls")["actions"]
    assert calls["AssignPrivateIpAddresses"]["ok"] == 3 and calls["AssignIpv6Addresses"]["ok"] == 3, calls
    assert box.mock("state")["net_errors"] == 0, box.mock("state")["net_error"]


def main():
    with Box("tf", nodes=2, options=("--families", "ipv4,ipv6", "--no-ipamd")) as box:
        box.n1, box.n2 = buy(box, "n1", True), buy(box, "n2", False)
        for test in (test_pods__both_families, test_matrix__both_families, test_matrix__sees_what_does_not_hold,
                     test_prefixes__count_one_call_each):
            try:
                test(box)
                tap.check(test.__name__, True)
            except Exception as error:  # pylint: disable=broad-except
                tap.check(test.__name__, False, repr(error).replace("\\n", "\n"))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
