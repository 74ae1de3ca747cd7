# SPDX-License-Identifier: Apache-2.0
"""What pods leave on a node of the box: looked at before they come, and compared when they are gone."""
import json
import os

from box import until

FILES_PER_THREAD = 2  # curl's pair of sockets by which a transfer is woken up


def _lines(box, node, *command):
    return sorted(line.strip() for line in box.in_netns(node, *command).stdout.splitlines() if line.strip())


def _elements(box, node):
    """Every element of every set and map of the ruleset, as text."""
    found = []
    for item in json.loads(box.in_netns(node, "nft", "-j", "list", "ruleset").stdout)["nftables"]:
        for kind in ("set", "map"):
            found += [f"{item[kind]['name']}: {json.dumps(e)}" for e in item.get(kind, {}).get("elem", [])]
    return sorted(found)


def look(box, node):
    """{kind: sorted lines} of everything that a pod may leave, kernel and daemon."""
    spool = box.folder(node) + "/run/spool"
    links = json.loads(box.in_netns(node, "ip", "-j", "link", "show").stdout)
    return {
        "links": sorted(link["ifname"] for link in links),
        "routes": _lines(box, node, "ip", "-4", "-o", "route", "show", "table", "all"),
        # Without those of the NICs' own link-local addresses: they come when the kernel has probed them.
        "routes of IPv6": [line for line in _lines(box, node, "ip", "-6", "-o", "route", "show", "table", "all")
                           if " dev eth" not in line or "proto kernel" not in line],
        "rules": _lines(box, node, "ip", "rule") + _lines(box, node, "ip", "-6", "rule"),
        "nft elements": _elements(box, node),
        "leases": sorted(a for a, what in box.addresses(node).items() if what["state"] != "free"),
        "addresses held": sorted(box.addresses(node)),
        "spooled DELs": sorted(os.listdir(spool)) if os.path.isdir(spool) else [],
        "namespaces": sorted(n for n in os.listdir("/run/netns") if n.startswith(box.name + "-")),
    }


def differences(before, now):
    """One line for each thing that came or went."""
    came = [f"{kind}: + {line}" for kind, was in before.items() for line in sorted(set(now[kind]) - set(was))]
    return came + [f"{kind}: - {line}" for kind, was in before.items() for line in sorted(set(was) - set(now[kind]))]


def fds(box, node):
    """Open files of the daemon without its connections to the cloud, and its threads: each of them has a curl handle."""
    pid = box.pids(node)
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as file:
        tcp = {line.split()[9] for line in file.readlines()[1:]}
    open_files = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
        if not (target.startswith("socket:[") and target[8:-1] in tcp):
            open_files += 1
    return open_files, len(os.listdir(f"/proc/{pid}/task"))


def check(tap, what, box, node, before, seconds):
    """One TAP line: within so many seconds everything is as it was before."""
    if until(seconds, lambda: box.state(node) and not differences(before, look(box, node))):
        tap.check(what, True)
        return
    tap.check(what, False, "\n".join(differences(before, look(box, node))[:40]))
