#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many ADDs and DELs while plugin and daemon are killed at random: nothing of them is left.

CYCLES says how many pods come and go (default 1000), SEED when the daemon is killed.
"""
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import BUILD, Box, Tap, until  # noqa: E402
from killer import DaemonKiller, kills, mortal_plugin  # noqa: E402
import leftovers  # noqa: E402

CYCLES = int(os.environ.get("CYCLES", "1000"))
SEED = int(os.environ.get("SEED", "1"))
PODS = 40      # at once; the pool has as many and half as many again, so that cooling ones are in nobody's way
HELD = 60
QUIET_S = 40   # half-written spool files are dropped after 10 s, by a look each 15 s; the rest is sooner
ENV = (f"BERTH_MIN_IPS={HELD}", f"BERTH_MAX_PODS={HELD}", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s", "BERTH_LIST_PERIOD=2s",
       "BERTH_RECLAIM_PERIOD=2s", "BERTH_UNCONFIRMED_TIMEOUT=10s", "BERTH_ADD_TIMEOUT=5s")
tap = Tap()


def churn(box, plugin, cycles):
    """Pods come in groups and go: what failed is tried again as a runtime would. Return: groups that never went."""
    stuck = 0
    for _ in range(0, cycles, PODS):
        box.pods("n1", PODS, "-q", "--parallel", 16, "--plugin", plugin)
        if not until(30, lambda: box.pods("n1", "--delete", "all", "-q", "--parallel", 16, "--plugin",
                                          plugin).returncode == 0):
            stuck += 1
    return stuck


def test_killed(box, mortal, record, before):
    start = time.monotonic()
    with DaemonKiller(box, SEED, 0.2, 1.5) as killer:
        stuck = churn(box, mortal, CYCLES)
    took = time.monotonic() - start
    print(f"# {CYCLES} pods in {took:.1f} s, daemon killed {killer.count} times, plugin {kills(record)}, seed {SEED}")
    tap.check("the daemon was killed, and plugins in ADD and in DEL",
              killer.count > 0 and {"ADD", "DEL"} <= set(kills(record)), kills(record))
    tap.check("each start after kill -9 answers", not killer.failed, killer.failed)
    tap.check("every DEL succeeds in the end", not stuck, f"{stuck} groups of pods could not be deleted")
    leftovers.check(tap, "links, routes, rules, nft elements, leases and spool are as before", box, "n1", before, QUIET_S)


def test_files(box, mortal, before):
    """The daemon lives through these: what it holds open must not grow with pods."""
    plugin = f"{BUILD}/berth"
    churn(box, plugin, 4 * PODS)
    leftovers.check(tap, "after pods that nobody disturbs everything is as before", box, "n1", before, QUIET_S)
    pid, (files, threads) = box.pids("n1"), leftovers.fds(box, "n1")
    churn(box, mortal, 5 * PODS)

    def no_more():
        now_files, now_threads = leftovers.fds(box, "n1")
        return now_files <= files + leftovers.FILES_PER_THREAD * max(now_threads - threads, 0)
    tap.check("the daemon holds no more files open than before", until(10, no_more),
              f"{files} files and {threads} threads before, now {leftovers.fds(box, 'n1')}")
    tap.check("the daemon lived through it", box.pids("n1") == pid and os.path.exists(f"/proc/{pid}/exe"))
    leftovers.check(tap, "plugins alone killed: everything is as before", box, "n1", before, QUIET_S)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="berth-churn-") as folder, \
            Box("ch", env=ENV, options=("--attach-ms", "100", "--type", "m5.4xlarge")) as box:
        record = folder + "/killed"
        mortal = folder + "/berth"
        mortal_plugin(mortal, f"{BUILD}/berth", record)
        ready = until(30, lambda: box.count("free") >= HELD and not box.count("pending"))
        tap.check("the pool is full before pods come", ready, box.state().get("addresses"))
        before = leftovers.look(box, "n1")
        test_killed(box, mortal, record, before)
        test_files(box, mortal, before)
        if tap.failed:
            lines = [line for line in box.log("n1").splitlines() if "lvl=info" not in line]
            print("\n".join("# " + line for line in lines[-40:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
