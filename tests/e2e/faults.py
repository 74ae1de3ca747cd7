#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A node of the box under a cloud that misbehaves: the daemon waits, says why, loses nothing and leaks nothing."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import BUILD, Box, Tap, until  # noqa: E402

ENV = ("BERTH_WARM_IPS=2", "BERTH_COOLDOWN=1s", "BERTH_RELEASE_DELAY=1s", "BERTH_LIST_PERIOD=2s", "BERTH_ADD_TIMEOUT=4s",
       "BERTH_LOG_LEVEL=debug")
tap = Tap()


def cloud_nics(box):
    return list(box.mock("state")["nics"])


def cloud_addresses(box):
    """What the cloud holds on this node's own NICs, primaries included."""
    return {a["address"] if isinstance(a, dict) else a for nic in cloud_nics(box) if nic["description"] != "foreign"
            for a in nic["addresses"]}


def settled(box):
    """Two free addresses and nothing else: a draining block is taken back when pods come, before the cloud is asked."""
    state = box.state()
    a = state.get("addresses", {})
    return (a.get("free") == 2 and not a.get("pending") and not a.get("cooling") and not a.get("waiting")
            and all(not nic["busy"] for nic in state["nics"]) and len(box.addresses()) == 2)


def start_over(box):
    """No pods, no faults, two warm addresses."""
    box.heal()
    box.pods("n1", "--delete", "all", "-q")
    if not until(60, lambda: settled(box)):
        tap.check("the pool comes to rest", False, box.state().get("addresses"))


def leaked_nics(box):
    return [nic["id"] for nic in cloud_nics(box) if nic["status"] != "in-use"]


def same_as_cloud(box):
    """Daemon and cloud agree about every address of this node."""
    ours = set(box.addresses())
    theirs = cloud_addresses(box)
    primaries = {nic["primary_addr"] for nic in box.state().get("nics", [])}
    return ours == theirs - primaries


def agree(box):
    return until(15, lambda: same_as_cloud(box))


def test_throttled(box):
    box.fault("AssignPrivateIpAddresses", "throttle", count=2)
    done = box.pods("n1", 4, "-q")
    tap.check("throttled: pods wait and are served", done.returncode == 0, done.stdout + done.stderr)


def test_html(box):
    box.fault("AssignPrivateIpAddresses", "html502", count=1)
    box.fault("DescribeNetworkInterfaces", "html502", count=1)
    done = box.pods("n1", 4, "-q")
    tap.check("HTML 502 instead of XML: pods are served by the next try", done.returncode == 0, done.stdout)
    box.fault("DescribeNetworkInterfaces", "garbage", count=2)
    until(10, lambda: box.mock("state")["faults"] == 0)
    tap.check("garbage instead of a list takes nothing away", len(box.addresses(wanted="leased")) == 4)


def serve(box, count):
    """Until they run: the deadline of an ADD is short here, and a runtime tries again too. An address that a list shows
    within 10 s of its release is not believed: after a lost answer it may be the one that came."""
    for _ in range(6):
        done = box.pods("n1", max(count - len(box.addresses(wanted="leased")), 1), "-q")
        if done.returncode == 0:
            break
    return done


def test_lost_assign(box):
    box.fault("AssignPrivateIpAddresses", "lost_answer", count=1)
    done = serve(box, 4)
    tap.check("lost answer of an assign: pods are served", done.returncode == 0, done.stdout)
    tap.check("lost answer of an assign: cloud and daemon agree", agree(box), (box.addresses(), cloud_addresses(box)))


def test_lost_attach(box):
    box.fault("AttachNetworkInterface", "lost_answer", count=1)
    box.fault("CreateNetworkInterface", "lost_answer", count=1)
    done = serve(box, 12)
    tap.check("lost answers of create and attach: a second NIC serves", done.returncode == 0, done.stdout)
    tap.check("lost answers of create and attach: no NIC is left over",
              until(15, lambda: not leaked_nics(box)), cloud_nics(box))
    tap.check("lost answers of create and attach: cloud and daemon agree", agree(box),
              (sorted(box.addresses()), sorted(cloud_addresses(box))))


def test_lost_release(box):
    box.pods("n1", 12, "-q")
    box.fault("UnassignPrivateIpAddresses", "lost_answer", count=2)
    box.fault("DetachNetworkInterface", "lost_answer", count=1)
    box.pods("n1", "--delete", "all", "-q")
    used = until(20, lambda: box.mock("state")["faults"] == 0)
    tap.check("lost answers of release and detach: they were hit", used)
    tap.check("lost answers of release and detach: the pool comes to rest", until(40, lambda: settled(box)),
              box.state().get("addresses"))
    tap.check("lost answers of release and detach: cloud and daemon agree, no NIC is left over",
              agree(box) and not leaked_nics(box), (sorted(box.addresses()), cloud_nics(box)))
    done = box.pods("n1", 4, "-q")
    tap.check("lost answers of release and detach: pods are served again", done.returncode == 0, done.stdout)


def test_full(box):
    for action in ("AssignPrivateIpAddresses", "CreateNetworkInterface"):
        box.fault(action, "error", count=-1, status=400, code="InsufficientFreeAddressesInSubnet",
                  message="The specified subnet does not have enough free addresses to satisfy the request.")
    done = box.pods("n1", 4, "-q")
    text = done.stdout + done.stderr
    tap.check("subnet full: the pods that have an address run, the others fail with a reason",
              done.returncode == 1 and "subnet" in text and "enough free addresses" in text, text)
    tap.check("subnet full: status names the reason", box.state().get("blocked", {}).get("reason") == "subnet_full",
              box.state().get("blocked"))
    box.heal()
    tap.check("subnet has room again: the pool fills without being asked",
              until(70, lambda: box.count("free") >= 2 and "blocked" not in box.state()), box.state().get("addresses"))


def test_denied(box):
    for action in ("AssignPrivateIpAddresses", "CreateNetworkInterface"):
        box.fault(action, "error", count=-1, status=403, code="UnauthorizedOperation",
                  message="You are not authorized to perform this operation.")
    done = box.pods("n1", 4, "-q")
    tap.check("permission denied: the error names the action",
              done.returncode == 1 and "AssignPrivateIpAddresses" in done.stdout + done.stderr, done.stdout + done.stderr)


def test_killed_in_attach(box):
    box.mock("timings", {"attach_ms": 1500})
    with subprocess.Popen([f"{BUILD}/vpcbox", "pods", "--name", box.name, "n1", "12", "-q"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as pods:
        seen = until(10, lambda: len(cloud_nics(box)) > 1)
        box.vpcbox("kill", "n1", "--signal", "9")
        pods.wait(timeout=60)
    tap.check("kill -9 hit the daemon in the middle of an attach", seen)
    box.mock("timings", {"attach_ms": 100})
    box.vpcbox("start", "n1")
    tap.check("kill -9 in an attach: the next daemon leaves no NIC over",
              until(20, lambda: not leaked_nics(box)), cloud_nics(box))
    tap.check("kill -9 in an attach: cloud and daemon agree", agree(box),
              (sorted(box.addresses()), sorted(cloud_addresses(box))))


def test_spool(box):
    box.pods("n1", 2, "-q")
    box.vpcbox("kill", "n1", "--signal", "9")
    done = box.pods("n1", "--delete", "all", "-q")
    tap.check("DEL without a daemon succeeds", done.returncode == 0, done.stdout + done.stderr)
    links = box.in_netns("n1", "ip", "-o", "link", "show", "type", "veth").stdout
    tap.check("DEL without a daemon leaves no link of a pod", ": bth" not in links, links)
    box.vpcbox("start", "n1")
    tap.check("the spooled DELs free their leases", until(10, lambda: box.count("leased") == 0),
              box.addresses(wanted="leased"))


def test_store_damaged(box):
    box.pods("n1", 2, "-q")
    before = set(box.addresses(wanted="leased"))
    box.vpcbox("kill", "n1", "--signal", "9")
    path = box.folder("n1") + "/run/leases.db"
    for name in (path + "-wal", path + "-shm"):
        if os.path.exists(name):
            os.unlink(name)
    with open(path, "wb") as file:
        file.write(b"this is no database" * 100)
    box.vpcbox("start", "n1")
    tap.check("a damaged store: the pods' addresses stay leased",
              until(10, lambda: set(box.addresses(wanted="leased")) == before), box.addresses())
    tap.check("a damaged store is put aside and reported",
              "set aside" in box.log("n1") and any(".bad-" in f for f in os.listdir(box.folder("n1") + "/run")))
    done = box.pods("n1", "--delete", "all", "-q")
    tap.check("a damaged store: DEL frees what was adopted",
              done.returncode == 0 and until(10, lambda: box.count("leased") == 0), box.addresses(wanted="leased"))


def test_taken_away(box):
    box.pods("n1", 2, "-q")
    victim = sorted(box.addresses(wanted="leased"))[0]
    nic = next(n["id"] for n in cloud_nics(box) if victim in str(n["addresses"]))
    # Nobody gives it back for now; with nothing in the way it would be bought back at once.
    box.fault("AssignPrivateIpAddresses", "error", count=-1, status=400, code="InvalidParameterValue", message="no")
    box.mock("remove", {"nic": nic, "units": [victim]})
    tap.check("an address taken away under a pod: the pod is reported as lost, not cut off",
              until(20, lambda: box.count("lost") == 1), box.state().get("addresses"))
    route = box.in_netns("n1", "ip", "route", "show", "table", "local", victim).stdout
    tap.check("an address taken away under a pod: its route stays", " dev bth" in route, route)
    box.heal()
    tap.check("an address taken away under a pod: it is bought back by name",
              until(70, lambda: box.count("lost") == 0 and victim in box.addresses(wanted="leased")), box.addresses())
    box.mock("remove", {"nic": nic, "units": [victim]})
    box.pods("n1", "--delete", "all", "-q")
    tap.check("the lost address is never leased again",
              until(20, lambda: victim not in box.addresses(wanted="free") and box.count("lost") == 0), box.addresses())


def test_foreign(box):
    box.mock("foreign", {"instance": "n1", "secondary": 2})
    tap.check("a NIC that somebody else attached is seen as foreign",
              until(15, lambda: any(nic["state"] == "foreign" for nic in box.state().get("nics", []))))
    foreign = {a["address"] if isinstance(a, dict) else a for nic in cloud_nics(box) if nic["description"] == "foreign"
               for a in nic["addresses"]}
    tap.check("none of its addresses is ours", not foreign & set(box.addresses()), foreign)
    box.mock("remove", {"nic": next(nic["id"] for nic in cloud_nics(box) if nic["description"] == "foreign")})
    tap.check("a foreign NIC that goes is forgotten",
              until(15, lambda: not any(nic["state"] == "foreign" for nic in box.state().get("nics", []))))


def test_repair(box):
    box.pods("n1", 12, "-q")
    until(10, lambda: len([n for n in box.state()["nics"] if n["state"] == "ready"]) > 1)

    def kernel():
        rules = box.in_netns("n1", "ip", "rule").stdout
        routes = box.in_netns("n1", "ip", "-o", "route", "show", "table", "all", "proto", "98").stdout
        return sorted(rules.splitlines()), sorted(line.strip() for line in routes.splitlines())

    before = kernel()
    os.kill(box.pids("n1"), signal.SIGSTOP)  # it is faster than we look
    box.in_netns("n1", "ip", "route", "flush", "table", "all", "proto", "98")
    for line in before[0]:
        if "fwmark" in line:
            box.in_netns("n1", "ip", "rule", "del", "pref", line.split(":")[0])
    tap.check("the flush took something away", kernel() != before)
    os.kill(box.pids("n1"), signal.SIGCONT)
    tap.check("flushed routes and rules are back within a second", until(1, lambda: kernel() == before),
              (before, kernel()))


def test_idle(box):
    def mutations():
        counters = box.mock("state")["counters"]
        return sum(c["calls"] for action, c in counters.items() if not action.startswith("Describe") and action != "imds")

    before = mutations()
    lists = box.mock("state")["counters"]["DescribeNetworkInterfaces"]["calls"]
    until(20, lambda: box.mock("state")["counters"]["DescribeNetworkInterfaces"]["calls"] >= lists + 3)
    tap.check("idle over three lists: no mutating call", mutations() == before)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("bf", env=ENV, options=("--attach-ms", "100")) as box:
        first = box.pids("n1")
        for test in (test_throttled, test_html, test_lost_assign, test_lost_attach, test_lost_release, test_full,
                     test_denied, test_repair, test_idle, test_taken_away, test_foreign):
            start_over(box)
            test(box)
        tap.check("the daemon never died", box.pids("n1") == first and os.path.exists(f"/proc/{first}/exe"),
                  box.log("n1")[-3000:])
        for test in (test_killed_in_attach, test_spool, test_store_damaged):
            start_over(box)
            test(box)
        if tap.failed:
            print("\n".join("# " + line for line in box.log("n1").splitlines()[-60:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
