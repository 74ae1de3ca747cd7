# SPDX-License-Identifier: Apache-2.0
"""A VPC in a box for end-to-end tests: vpcbox, the mock's control endpoint, the daemon's state, and TAP lines."""
import json
import os
import subprocess
import time

BUILD = os.environ.get("BUILD", "build")
MOCK_CALL = """
import sys, urllib.request
body = sys.argv[2].encode() or None
print(urllib.request.urlopen(urllib.request.Request("http://169.254.200.1/_mock/" + sys.argv[1], data=body), timeout=10)
      .read().decode())
"""


class Tap:
    """Counts and prints; a failed check prints its details as comments and the test goes on."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, what, held, detail=""):
        self.count += 1
        if held:
            print(f"ok {self.count} - {what}", flush=True)
            return
        self.failed += 1
        print(f"not ok {self.count} - {what}", flush=True)
        for line in str(detail).splitlines():
            print(f"# {line}", flush=True)

    def skip(self, what, why):
        self.count += 1
        print(f"ok {self.count} - {what} # SKIP {why}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def until(seconds, condition):
    """Poll until the condition holds; its last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.05)


class Box:
    """One box, removed by leaving the with block."""

    def __init__(self, prefix, nodes=1, env=(), options=()):
        self.name = f"{prefix}{os.getpid() % 1000}"
        self.up_args = ["--nodes", str(nodes), *options]
        for item in env:
            self.up_args += ["--env", item]

    def vpcbox(self, verb, *args, check=True):
        done = subprocess.run([f"{BUILD}/vpcbox", verb, "--name", self.name, *args], capture_output=True, text=True,
                              timeout=180, check=False)
        if check and done.returncode:
            raise RuntimeError(f"vpcbox {verb} {args}: {done.stdout}{done.stderr}")
        return done

    def __enter__(self):
        try:
            self.vpcbox("up", *self.up_args)
        except BaseException:
            self.vpcbox("down", check=False)
            raise
        return self

    def __exit__(self, *_):
        self.vpcbox("down", check=False)

    def folder(self, node):
        return f"/run/vpcbox/{self.name}/{node}"

    def log(self, node):
        with open(self.folder(node) + "/log/ipamd.log", encoding="utf-8") as file:
            return file.read()

    def pids(self, node):
        with open(self.folder(node) + "/ipamd.pid", encoding="utf-8") as file:
            return int(file.read().split()[0])

    def in_netns(self, what, *command, check=True):
        done = subprocess.run(["nsenter", f"--net=/run/netns/{self.name}-{what}", *command], capture_output=True,
                              text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{command} in {what}: {done.stdout}{done.stderr}")
        return done

    def mock(self, path, body=None):
        text = "" if body is None else json.dumps(body)
        return json.loads(self.in_netns("vpc", "/usr/bin/python3", "-c", MOCK_CALL, path, text).stdout or "null")

    def fault(self, action, kind, **more):
        self.mock("fault", {"action": action, "kind": kind, **more})

    def heal(self):
        self.mock("faults/clear", {})

    def pods(self, node, *args):
        return self.vpcbox("pods", node, *[str(arg) for arg in args], check=False)

    def state(self, node="n1"):
        done = subprocess.run([f"{BUILD}/berthctl", "--json", "--socket", self.folder(node) + "/run/ipamd.sock", "status"],
                              capture_output=True, text=True, timeout=20, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def addresses(self, node="n1", wanted=None):
        """{address: {state, container, ...}} of all blocks, or those in one state."""
        found = {}
        for nic in self.state(node).get("nics", []):
            for block in nic["blocks"]:
                for address in block["addresses"]:
                    if wanted in (None, address["state"]):
                        found[address["addr"]] = address
        return found

    def count(self, what, node="n1"):
        return self.state(node).get("addresses", {}).get(what, -1)
