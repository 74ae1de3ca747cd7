#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""podman with its CNI backend: our conflist is a network of it, and its containers get addresses of the cloud's network."""
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from box import Box, Tap, until  # noqa: E402
import leftovers  # noqa: E402
from runtime import IMAGE, Place  # noqa: E402

ENV = ("BERTH_MIN_IPS=6", "BERTH_MAX_PODS=6", "BERTH_WARM_IPS=1", "BERTH_COOLDOWN=1s")
# nofile: runc may not raise it where CAP_SYS_RESOURCE is missing.
SETTINGS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["{folder}/bin"]
network_config_dir = "{net_d}"
default_network = "berth"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""
tap = Tap()


class Podman:
    """podman with all that it keeps below a place's folder."""

    def __init__(self, place):
        self.place = place
        self.cgroup = f"/berth-podman{os.getpid()}"
        settings = place.folder + "/containers.conf"
        with open(settings, "w", encoding="utf-8") as file:
            file.write(SETTINGS.format(folder=place.folder, net_d=place.net_d))
        self.words = ["env", f"CONTAINERS_CONF={settings}", "podman", "--storage-driver", "vfs"]
        for option, folder in (("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")):
            self.words += [option, f"{place.folder}/{folder}"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self("rm", "-a", "-f", "-t", "0", check=False)
        for _ in range(2):  # conmon's groups are busy for a moment after their container
            subprocess.run(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*{self.cgroup}*", "-exec", "rmdir",
                            "{}", "+"], stderr=subprocess.DEVNULL, check=False)
            until(2, lambda: not any(os.path.exists(f"/sys/fs/cgroup/{kind}{self.cgroup}/conmon/cgroup.procs")
                                     for kind in ("", "pids", "unified")))

    def __call__(self, *words, check=True):
        return self.place.run(*self.words, *words, check=check)

    def run(self, name):
        return self("run", "-d", "--cgroup-parent", self.cgroup, "--no-hosts", "--network", "berth", "--name", name,
                    "--entrypoint", "/bin/busybox", IMAGE, "sleep", "1000", check=False)


def test_containers(box, podman, before):
    names = ("one", "two", "three")
    runs = [podman.run(name) for name in names]
    tap.check("podman run --network berth runs", all(run.returncode == 0 for run in runs), [run.stderr for run in runs])
    shown = [podman("inspect", "-f", "{{.NetworkSettings.Networks.berth.IPAddress}}", name, check=False).stdout.strip()
             for name in names]
    leases = box.addresses(wanted="leased")
    tap.check("podman knows each container's address, and it is its lease",
              len(leases) == len(names) and sorted(leases) == sorted(shown), (leases, shown))
    ids = {run.stdout.strip() for run in runs}
    tap.check("leases carry podman's container IDs", {lease["container"] for lease in leases.values()} == ids,
              (leases, ids))
    ping = podman("exec", "one", "/bin/busybox", "ping", "-c", "1", "-W", "2", shown[1], check=False)
    tap.check("one container reaches another", ping.returncode == 0, ping.stdout + ping.stderr)
    done = podman("restart", "-t", "0", "one", check=False)
    tap.check("podman restart gives the container an address again",
              done.returncode == 0 and until(10, lambda: len(box.addresses(wanted="leased")) >= len(names)), done.stderr)
    # The same container and interface at once: the link of before is deleted in the background meanwhile.
    moves = [podman("network", verb, "berth", "three", check=False) for _ in range(4) for verb in ("disconnect", "connect")]
    tap.check("podman network disconnect and connect, four times", all(move.returncode == 0 for move in moves),
              [move.stderr for move in moves])
    ping = podman("exec", "three", "/bin/busybox", "ping", "-c", "2", "-W", "2", shown[1], check=False)
    tap.check("a container that was connected again reaches another", ping.returncode == 0, ping.stdout + ping.stderr)
    box.vpcbox("kill", "n1", "--signal", "9")
    gone = podman("rm", "-f", "-t", "0", "two", check=False)
    tap.check("podman rm without a daemon succeeds", gone.returncode == 0, gone.stderr)
    box.vpcbox("start", "n1")
    gone = podman("rm", "-f", "-t", "0", "one", "three", check=False)
    tap.check("podman rm succeeds", gone.returncode == 0, gone.stderr)
    leftovers.check(tap, "containers that are gone leave nothing", box, "n1", before, 20)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not shutil.which("podman"):
        tap.skip("podman with its CNI backend", "podman is not installed (deploy/deps test)")
        return tap.end()
    with Box("pm", env=ENV, options=("--attach-ms", "100")) as box, Place(box) as place, Podman(place) as podman:
        backend = podman("info", "--format", "{{.Host.NetworkBackend}}", check=False)
        if backend.stdout.strip() != "cni":
            tap.skip("podman with its CNI backend", "this build of podman has none: " + backend.stderr.strip()[-100:])
            return tap.end()
        podman("load", "-i", place.image())
        tap.check("our conflist is a network of podman", "berth" in podman("network", "ls").stdout.split())
        until(20, lambda: box.count("free") == 6)
        test_containers(box, podman, leftovers.look(box, "n1"))
        if tap.failed:
            print("\n".join("# " + line for line in box.log("n1").splitlines()[-20:]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
