#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/layers.py - the layers of ARCHITECTURE.md, checked from the #include lines.

Three tables: who may include whom, which one folder or file may include a third-party library, and what no line outside
lib/ may call. It also finds circles of units, and headers that do not name themselves in a guard. Prints one line per
breach; exit 1 if there is one.
"""
import os
import re
import sys

# room: the rooms whose headers it may use, beside its own. include/berth/ headers belong to the room that implements them.
MAY_USE = {
    "lib/base": set(),
    "lib/net": {"lib/base"},
    "lib/proto": {"lib/base"},
    "cloud": {"lib/base"},
    "cloud/aws": {"lib/base", "cloud"},
    "ipamd": {"lib/base", "lib/net", "lib/proto", "cloud"},
    "cni": {"lib/base", "lib/net", "lib/proto"},
    "ctl": {"lib/base", "lib/proto"},
    "mocks": {"lib/base", "lib/net", "lib/proto", "mocks/aws", "mocks/fabric"},
    "mocks/aws": {"lib/base", "lib/net", "mocks", "mocks/fabric"},
    "mocks/fabric": {"lib/base", "lib/net", "mocks"},
}
OWNER = {"net.h": "lib/net", "proto.h": "lib/proto", "cloud.h": "cloud"}  # all others: lib/base

# library header pattern: the units that may include it
DOORS = {
    r"curl/": {"cloud/http.c"},
    r"openssl/": {"cloud/crypto.c", "mocks/"},
    r"expat\.h": {"cloud/aws/xml.c"},
    r"sqlite3\.h": {"ipamd/store.c", "ipamd/store_"},
    r"netlink/": {"lib/net/"},
    r"microhttpd\.h": {"ipamd/metrics.c", "mocks/"},
    r"jansson\.h": {"lib/base/json.c", "lib/proto/", "ipamd/", "cni/", "ctl/", "cloud/", "mocks/"},
}
NOT_IN_HEADERS = [r"curl/", r"openssl/", r"expat\.h", r"sqlite3\.h", r"netlink/", r"microhttpd\.h", r"jansson\.h"]
HEADER_EXCEPTIONS = {("lib/net/net_internal.h", r"netlink/")}  # the private header of the door itself

BANNED = re.compile(
    r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|strncpy|atoi|atol|strtol|strtoul|strtoll|strtoull|sscanf|strtok|system|"
    r"popen|alloca|usleep|signal|gets|exit)\s*\(")
BANNED_OK = {("exit", re.compile(r".*/?main\.c$|mocks/(mockcloud|vpcbox)\.c$"))}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.S)

breaches = []


def room_of(path):
    best = ""
    for room in MAY_USE:
        if path.startswith(room + "/") and len(room) > len(best):
            best = room
    return best


def header_room(include):
    if include.startswith("berth/"):
        return OWNER.get(include[len("berth/"):], "lib/base")
    return room_of(include)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def sources():
    for top in ("lib", "cloud", "ipamd", "cni", "ctl", "mocks", "include"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.join(folder, name)


def check_includes(path, text, graph):
    room = room_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if not match:
            continue
        where = f"{path}:{number}"
        local, library = match.groups()
        if local:
            resolved = local
            if not os.path.exists(local) and os.path.exists(os.path.join(os.path.dirname(path), local)):
                resolved = os.path.join(os.path.dirname(path), local)
            on_disk = os.path.join("include", local) if local.startswith("berth/") else resolved
            graph.setdefault(path, []).append(on_disk)
            target = header_room(resolved)
            if room and target != room and target not in MAY_USE[room]:
                breaches.append(f"{where}: {room} may not know {target} ({local})")
            continue
        for pattern, allowed in DOORS.items():
            if re.match(pattern, library) and not any(path.startswith(a) for a in allowed):
                breaches.append(f"{where}: <{library}> has another door: {', '.join(sorted(allowed))}")
        if path.endswith(".h"):
            for pattern in NOT_IN_HEADERS:
                if re.match(pattern, library) and (path, pattern) not in HEADER_EXCEPTIONS:
                    breaches.append(f"{where}: <{library}> in a header")


def check_calls(path, text):
    if path.startswith("lib/base/"):
        return
    bare = COMMENT.sub(blank, text)
    for number, line in enumerate(bare.splitlines(), 1):
        for match in BANNED.finditer(line):
            if any(match.group(1) == name and ok.match(path) for name, ok in BANNED_OK):
                continue
            breaches.append(f"{path}:{number}: {match.group(1)}() must not appear here")


def check_header(path, text):
    if path.endswith(".h") and not re.search(r"#ifndef \w+_H\n#define \w+_H\n", text):
        breaches.append(f"{path}: no include guard")
    if "SPDX-License-Identifier: Apache-2.0" not in text.splitlines()[0]:
        breaches.append(f"{path}: first line is not the licence")


def check_circles(graph):
    done, stack = set(), []

    def visit(node):
        if node in stack:
            breaches.append("circle: " + " -> ".join(stack[stack.index(node):] + [node]))
            return
        if node in done:
            return
        stack.append(node)
        for target in graph.get(node, []):
            visit(target)
        stack.pop()
        done.add(node)

    for node in sorted(graph):
        visit(node)


def main():
    graph = {}
    count = 0
    for path in sources():
        with open(path, encoding="utf-8") as file:
            text = file.read()
        check_includes(path, text, graph)
        check_calls(path, text)
        check_header(path, text)
        count += 1
    check_circles(graph)
    for breach in breaches:
        print(breach)
    print(f"layers: {count} files, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
