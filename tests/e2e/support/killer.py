# SPDX-License-Identifier: Apache-2.0
"""Plugins and daemons that die at any moment."""
import os
import random
import stat
import threading

SCRIPT = """#!/bin/bash
# One run in {one_in} is killed, at a random moment of its first {within_ms} ms.
[ $((RANDOM % {one_in})) = 0 ] || exec {plugin}
{plugin} <&0 &
real=$!
printf -v moment '0.%06d' $((RANDOM % {within_ms} * 1000 + RANDOM % 1000))
read -rt "$moment" <> <(:) || :
kill -9 $real 2>/dev/null && echo "$CNI_COMMAND" >>{record}
wait $real
"""


def mortal_plugin(path, plugin, record, one_in=5, within_ms=12):
    """A script at @path that runs @plugin and now and then kills it; each kill adds the verb to @record."""
    text = SCRIPT.format(plugin=os.path.abspath(plugin), record=record, one_in=one_in, within_ms=within_ms)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), stat.S_IRWXU)
    os.rename(path + ".new", path)


def kills(record):
    """{verb: how often it was killed}."""
    if not os.path.exists(record):
        return {}
    with open(record, encoding="utf-8") as file:
        verbs = file.read().split()
    return {verb: verbs.count(verb) for verb in sorted(set(verbs))}


class DaemonKiller(threading.Thread):
    """Inside its with block the daemon is killed at random moments and started again."""

    def __init__(self, box, seed, least_s, most_s, node="n1"):
        super().__init__()
        self.box, self.node, self.dice, self.pause_s = box, node, random.Random(seed), (least_s, most_s)
        self.over, self.count, self.failed = threading.Event(), 0, ""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(self.dice.uniform(*self.pause_s)):
            self.box.vpcbox("kill", self.node, "--signal", "9", check=False)
            self.count += 1
            self.over.wait(self.dice.uniform(0, 0.3))
            done = self.box.vpcbox("start", self.node, check=False)
            if done.returncode:
                self.failed = done.stdout + done.stderr
                return
