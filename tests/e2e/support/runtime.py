# SPDX-License-Identifier: Apache-2.0
"""A containerd of its own inside a node of the box, with an image that no registry gave; its helpers are node.bash's."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from box import BUILD, until  # noqa: E402
from cri import Cri  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = "berth.test/pause:1"
PROTOC = "/usr/bin/protoc"

# The node's mounts: its own /run/netns, and where programs look for CNI whatever their settings say.
MOUNTS = """
set -e
mount --make-rprivate /
mkdir -p /run/netns
mount --bind "$1/netns" /run/netns
mount --make-shared /run/netns
mount -t tmpfs tmpfs /opt
mkdir -p /opt/cni
ln -s "$1/bin" /opt/cni/bin
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc-work" overlay /etc
rm -rf /etc/cni/net.d
mkdir -p /etc/cni
ln -s "$2" /etc/cni/net.d
mount --bind "$1/lib" /var/lib
folder=$1
shift 2
"""


def bash(text, *args):
    return subprocess.run(["bash", "-ec", f". {HERE}/node.bash\n{text}", "bash", *args], capture_output=True, text=True,
                          check=True, timeout=60).stdout


class Place:
    """A folder and a mount namespace in a node's network; commands in it see the node as a host program would."""

    def __init__(self, box, node="n1"):
        self.box, self.node = box, node
        self.folder = tempfile.mkdtemp(prefix="berth-e2e-")
        for name in ("bin", "netns", "etc", "etc-work", "lib", "image/bin"):
            os.makedirs(f"{self.folder}/{name}")
        for plugin in (f"{BUILD}/berth", "/usr/lib/cni/loopback"):
            shutil.copy(plugin, self.folder + "/bin")
        self.net_d = box.folder(node) + "/net.d"
        # Lives as long as the place: its mounts are what other commands enter.
        self.holder = subprocess.Popen(self.enter() + ["unshare", "-m", "bash", "-c", MOUNTS +
                                                       'echo ready\nexec sleep infinity', "place", self.folder, self.net_d],
                                       stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        if self.holder.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError("mounts of the node")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def enter(self):
        return ["nsenter", f"--net=/run/netns/{self.box.name}-{self.node}"]

    def inside(self, *command):
        """The words that run a command in the place."""
        return ["nsenter", f"--net=/run/netns/{self.box.name}-{self.node}", f"--mount=/proc/{self.holder.pid}/ns/mnt",
                *command]

    def run(self, *command, check=True, timeout=60, **more):
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=timeout, check=False, **more)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done

    def image(self, command='["/bin/busybox","sleep","86400"]'):
        """An OCI archive with busybox and nothing else. Return: its path."""
        shutil.copy("/bin/busybox", self.folder + "/image/bin")
        path = self.folder + "/image.tar"
        bash('oci_image "$1" "$2" "$3" "$4"', self.folder + "/image", IMAGE, path, command)
        return path

    def netns(self):
        """Names of the namespaces that a runtime made here."""
        return sorted(os.listdir(self.folder + "/netns"))

    def close(self):
        self.holder.kill()
        self.holder.wait()
        # The namespaces that a runtime left are bound in the holder's mounts, which went with it.
        shutil.rmtree(self.folder, ignore_errors=True)


class Containerd:
    """containerd in a place; .cri is its client."""

    def __init__(self, place):
        self.place, self.folder = place, place.folder
        self.cgroup = f"/berth-cri{os.getpid()}"
        config = bash('containerd_config "$1" "$2" "$3"', self.folder, self.folder + "/bin", place.net_d)
        with open(self.folder + "/config.toml", "w", encoding="utf-8") as file:
            file.write(config)
        subprocess.run([PROTOC, "-I", HERE, f"--python_out={self.folder}", "cri.proto"], check=True)
        self.socket = self.folder + "/containerd.sock"
        self.process = None

    def __enter__(self):
        with open(self.folder + "/log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.place.inside("containerd", "-c", self.folder + "/config.toml"),
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            if not until(30, lambda: self.ctr("version", check=False).returncode == 0):
                raise RuntimeError("containerd does not start: " + self.log()[-2000:])
            self.ctr("-n", "k8s.io", "image", "import", self.place.image())
        except BaseException:
            self.__exit__()
            raise
        self.cri = Cri(self.socket, self.folder, self.cgroup)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shims = subprocess.run(["pgrep", "-f", f"containerd-shim-runc-v2 .*-address {self.socket}"], capture_output=True,
                               text=True, check=False).stdout.split()
        for shim in shims:
            subprocess.run(["kill", "-9", shim], stderr=subprocess.DEVNULL, check=False)
        until(5, lambda: not any(os.path.exists(f"/proc/{shim}/exe") for shim in shims))
        subprocess.run(["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*{self.cgroup}*", "-exec", "rmdir",
                        "{}", "+"], stderr=subprocess.DEVNULL, check=False)

    def ctr(self, *words, check=True, timeout=60):
        return self.place.run("ctr", "-a", self.socket, *words, check=check, timeout=timeout)

    def log(self):
        with open(self.folder + "/log", encoding="utf-8") as file:
            return file.read()
