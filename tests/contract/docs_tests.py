#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each test that a page names is there, and each page that a page points to; each rule of the data path has a test."""
import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
ROW = re.compile(r"^\| (\d+) \|(.*)$", re.M)
RULES = 14
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rules_without_test(tests):
    """Rows of docs/datapath.md must be 1 to 14, and name the tests that carry their number, all of them and no others."""
    rows = {int(number): set(TEST.findall(row)) - {"test_matrix"} for number, row in ROW.findall(read("docs/datapath.md"))}
    wrong = [f"row {number} is missing" for number in range(1, RULES + 1) if number not in rows]
    for number, named in rows.items():
        carry = {name for name in tests if re.search(rf"__rule_{number}(_|$)", name)}
        wrong += [f"{name} at row {number}" for name in sorted(named - carry)]
        wrong += [f"{name} not at row {number}" for name in sorted(carry - named)]
    return wrong


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
    wrong = rules_without_test(tests)
    print(f"{'not ok' if wrong else 'ok'} {number + 1} - each rule of docs/datapath.md has its tests{': ' if wrong else ''}{', '.join(wrong)}")
    failed += bool(wrong)
    return failed > 0


sys.exit(main())
