#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""containerd (CRI) as a node's runtime on bad days: 110 pods at once, the conflist replaced and the daemon killed while
pods come and go, plugins killed at random. What pods leave is looked at in the end.

CYCLES says how many pods of the last test come and go (default 200), SEED when the daemon is killed.
"""
import concurrent.futures
import json
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import grpc  # noqa: E402
from box import BUILD, Box, Tap, until  # noqa: E402
from killer import DaemonKiller, kills, mortal_plugin  # noqa: E402
import leftovers  # noqa: E402
from runtime import Containerd, Place  # noqa: E402

CYCLES = int(os.environ.get("CYCLES", "200"))
SEED = int(os.environ.get("SEED", "1"))
PODS = 110          # what a node of Kubernetes runs
HELD = 116          # addresses, so that a few that cool are in nobody's way
BURST_S = 60        # kubelet's patience is 2 minutes; half of it, on a machine that others use too
AT_ONCE = 16        # calls to the runtime; kubelet starts pods in parallel too
QUIET_S = 45        # half-written spool files 10 s + 15 s, dead sandboxes two looks, the rest sooner
ENV = (f"BERTH_MIN_IPS={HELD}", f"BERTH_MAX_PODS={HELD}", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s",
       "BERTH_RECLAIM_PERIOD=2s", "BERTH_UNCONFIRMED_TIMEOUT=10s")
tap = Tap()


class Kubelet:
    """Starts and removes pods as kubelet does: what fails is tried again, in another sandbox, for so long."""

    def __init__(self, cri):
        self.cri = cri
        self.retries = 0

    def start(self, name, tries=1):
        for attempt in range(tries):
            try:
                sandbox = self.cri.run(name, attempt=attempt)
                return sandbox, self.cri.ip(sandbox)
            except grpc.RpcError as error:
                if attempt == tries - 1:
                    raise RuntimeError(f"{name}: {error.details()}") from error
                self.retries += 1
                time.sleep(0.2)
        return None

    def remove(self, sandbox, tries=1):
        for left in reversed(range(tries)):
            try:
                self.cri.stop(sandbox)
                self.cri.remove(sandbox)
                return
            except grpc.RpcError as error:
                if not left:
                    raise RuntimeError(f"{sandbox}: {error.details()}") from error
                self.retries += 1
                time.sleep(0.2)

    def cycle(self, name):
        """A pod comes and goes."""
        sandbox, _ = self.start(name, tries=30)
        self.remove(sandbox, tries=30)


def at_once(work, items, threads=AT_ONCE):
    """[result or exception] of work(item), threads at a time."""
    def guarded(item):
        try:
            return work(item)
        except Exception as error:  # pylint: disable=broad-except
            return error
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(guarded, items))


def errors(results):
    return [str(result) for result in results if isinstance(result, Exception)]


def leased(box):
    """{container: address} of the daemon's bound leases."""
    return {what["container"]: addr for addr, what in box.addresses(wanted="leased").items() if what["lease"] == "bound"}


def test_burst(box, kubelet):
    start = time.monotonic()
    pods = at_once(kubelet.start, [f"burst-{i}" for i in range(PODS)], threads=PODS)
    took = time.monotonic() - start
    print(f"# {PODS} pods at once in {took:.1f} s")
    bad, good = errors(pods), [pod for pod in pods if not isinstance(pod, Exception)]
    tap.check(f"{PODS} pods at once: all run", not bad, "\n".join(bad[:5]))
    tap.check(f"{PODS} pods at once: within {BURST_S} s", took < BURST_S, took)
    tap.check(f"{PODS} pods at once: each has an address of its own, the one of its lease",
              len({ip for _, ip in good}) == PODS and leased(box) == dict(good), leased(box))
    bad = errors(at_once(kubelet.remove, [sandbox for sandbox, _ in good]))
    tap.check(f"{PODS} pods at once: all go, and no lease stays", not bad and until(10, lambda: not leased(box)),
              "\n".join(bad[:5]) or leased(box))


def test_conflist(box, kubelet, conflist):
    """Somebody who installs a new version writes the conflist again, and again: in its folder, by renaming."""
    over, count = threading.Event(), 0
    with open(conflist, encoding="utf-8") as file:
        was = file.read()

    def replace():
        nonlocal count
        while not over.wait(0.02):
            other = json.loads(was)
            other["cniVersion"] = ("0.4.0", "1.0.0")[count % 2]
            with open(conflist + ".new", "w", encoding="utf-8") as file:
                json.dump(other, file)
            os.rename(conflist + ".new", conflist)
            count += 1
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        pods = at_once(kubelet.start, [f"conf-{i}" for i in range(20)])
        gone = at_once(kubelet.remove, [pod[0] for pod in pods if not isinstance(pod, Exception)])
    finally:
        over.set()
        thread.join()
        with open(conflist + ".new", "w", encoding="utf-8") as file:
            file.write(was)
        os.rename(conflist + ".new", conflist)
    bad = errors(pods) + errors(gone)
    print(f"# the conflist was replaced {count} times")
    tap.check("the conflist replaced while pods come and go: none fails", count > 0 and not bad, "\n".join(bad[:5]))
    tap.check("the conflist replaced while pods come and go: no lease stays", until(10, lambda: not leased(box)),
              leased(box))


def test_daemon_killed(box, kubelet):
    """20 pods run, 20 come and 20 go while the daemon is killed: nobody who runs is touched."""
    kept = dict(pod for pod in at_once(kubelet.start, [f"kept-{i}" for i in range(5)]))
    going = [pod[0] for pod in at_once(kubelet.start, [f"going-{i}" for i in range(20)])]
    kubelet.retries = 0
    with DaemonKiller(box, SEED, 0.1, 0.5) as killer:
        work = [lambda i=i: kubelet.start(f"coming-{i}", tries=30) for i in range(20)]
        work += [lambda sandbox=sandbox: kubelet.remove(sandbox, tries=30) for sandbox in going]
        random.Random(SEED).shuffle(work)
        results = at_once(lambda do: do(), work)
    bad = errors(results)
    print(f"# the daemon was killed {killer.count} times; {kubelet.retries} calls of the runtime were repeated")
    tap.check("the daemon killed while 20 pods come and 20 go: all succeed in the end", killer.count > 0 and not bad,
              "\n".join(bad[:5]))
    tap.check("the daemon killed: each start of it answers", not killer.failed, killer.failed)
    came = dict(pod for pod in results if isinstance(pod, tuple))
    tap.check("the daemon killed: pods that ran and that came have their leases, those that went have none",
              until(15, lambda: leased(box) == {**kept, **came}), (leased(box), kept, came))
    bad = errors(at_once(kubelet.remove, [*kept, *came]))
    tap.check("the daemon killed: the pods go", not bad and until(10, lambda: not leased(box)), "\n".join(bad[:5]))


def test_chaos(box, place, kubelet):
    record = place.folder + "/killed"
    mortal_plugin(place.folder + "/bin/berth", f"{BUILD}/berth", record, one_in=6)
    kubelet.retries = 0
    start = time.monotonic()
    with DaemonKiller(box, SEED, 0.5, 3) as killer:
        bad = errors(at_once(kubelet.cycle, [f"chaos-{i}" for i in range(CYCLES)]))
    print(f"# {CYCLES} pods came and went in {time.monotonic() - start:.1f} s; daemon killed {killer.count} times, plugin "
          f"{kills(record)}; {kubelet.retries} calls of the runtime were repeated; seed {SEED}")
    tap.check("chaos: daemon and plugins were killed, in ADD and in DEL",
              killer.count > 0 and {"ADD", "DEL"} <= set(kills(record)), kills(record))
    tap.check("chaos: every pod comes and goes in the end", not bad, "\n".join(bad[:5]))
    tap.check("chaos: each start of the daemon answers", not killer.failed, killer.failed)


def forget(kubelet):
    """Sandboxes whose start failed half-way: kubelet's collector of dead sandboxes removes them."""
    for sandbox in kubelet.cri.sandboxes():
        kubelet.remove(sandbox, tries=30)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Box("cc", env=ENV, options=("--attach-ms", "100", "--type", "m5.4xlarge")) as box, Place(box) as place, \
            Containerd(place) as containerd:
        kubelet = Kubelet(containerd.cri)
        tap.check("the pool is full before pods come", until(30, lambda: box.count("free") >= HELD),
                  box.state().get("addresses"))
        before = leftovers.look(box, "n1")
        test_burst(box, kubelet)
        test_conflist(box, kubelet, os.path.join(place.net_d, "10-berth.conflist"))
        leftovers.check(tap, "what 130 pods left", box, "n1", before, QUIET_S)
        pid, (files, threads) = box.pids("n1"), leftovers.fds(box, "n1")
        test_daemon_killed(box, kubelet)
        test_chaos(box, place, kubelet)
        forget(kubelet)
        tap.check("no namespace of a pod is left", until(10, lambda: not place.netns()), place.netns())
        leftovers.check(tap, "links, routes, rules, nft elements, leases and spool are as before", box, "n1", before,
                        QUIET_S)
        now_files, now_threads = leftovers.fds(box, "n1")
        tap.check("the daemon holds no more files open than before the chaos",
                  now_files <= files + leftovers.FILES_PER_THREAD * max(now_threads - threads, 0),
                  f"{files} files, {threads} threads of {pid} before; now {now_files}, {now_threads}")
        version = containerd.ctr("--version").stdout.split()[2]
        if version.split(".")[0] in ("1", "v1"):
            tap.skip("containerd calls STATUS and GC", f"containerd {version} knows CNI 1.0; the first that calls is 2.0")
        if tap.failed:
            lines = [line for line in box.log("n1").splitlines() if "lvl=info" not in line]
            print("\n".join("# " + line for line in lines[-40:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
