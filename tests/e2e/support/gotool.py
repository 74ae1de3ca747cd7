# SPDX-License-Identifier: Apache-2.0
"""cnitool, the command of libcni itself, built from its Go module into the build folder, once."""
import os
import shutil
import subprocess

from box import BUILD

MODULE = "github.com/containernetworking/cni/cnitool"
VERSION = "v1.3.1"  # the newest of the module; add, check, del, gc, status
BUILD_S = 150       # most of it is fetching: 45 s here


def cnitool():
    """Return: (path, None) or (None, why there is none)."""
    path = os.path.abspath(f"{BUILD}/cnitool-{VERSION}")
    if os.path.exists(path):
        return path, None
    go = shutil.which("go") or (os.path.exists("/usr/local/go/bin/go") and "/usr/local/go/bin/go")
    if not go:
        return None, "no go on this machine"
    folder = path + ".new"
    env = {**os.environ, "GOBIN": folder, "GOFLAGS": "-modcacherw"}
    try:
        done = subprocess.run([go, "install", f"{MODULE}@{VERSION}"], capture_output=True, text=True, env=env,
                              timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired:
        return None, f"building {MODULE}@{VERSION} took more than {BUILD_S} s"
    if done.returncode:
        return None, f"{MODULE}@{VERSION} cannot be built here: " + done.stderr.strip().splitlines()[-1]
    os.rename(folder + "/cnitool", path)
    os.rmdir(folder)
    return path, None
