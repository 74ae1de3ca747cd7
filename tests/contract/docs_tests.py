#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each test that a page names is there, and each page that a page points to."""
import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    os.chdir(ROOT)
    sources = "\n".join(read(path) for path in glob.glob("tests/**/*.[ch]", recursive=True))
    tests = set(re.findall(r"\b(test_[a-z0-9_]+)\b", sources))
    failed = 0
    for number, page in enumerate(sorted(glob.glob("docs/*.md") + glob.glob("*.md")), 1):
        text = read(page)
        wrong = [name for name in TEST.findall(text) if name not in tests]
        wrong += [link for link in LINK.findall(text) if not os.path.exists(os.path.join(os.path.dirname(page), link))]
        print(f"{'not ok' if wrong else 'ok'} {number} - {page} names what is there{': ' if wrong else ''}{', '.join(wrong)}")
        failed += bool(wrong)
    return failed > 0


sys.exit(main())
