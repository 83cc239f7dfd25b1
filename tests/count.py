#!/usr/bin/python3
"""Adds up JUnit reports: what was skipped, what failed and its last words, and the closing line `N passed, N failed`."""
import re
import sys
import xml.etree.ElementTree as ElementTree

LAST_LINES = 12
# What XML 1.0 has no place for (section 2.2), but a failing test prints: bytes of a hostile peer, colours.
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return ElementTree.fromstring(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", file.read()))


def last_words(case):
    """What the framework says of it, else the end of both outputs."""
    for kinds in (("failure", "error"), ("system-out", "system-err")):
        lines = []
        for element in (element for kind in kinds for element in case.iter(kind)):
            text = "\n".join(filter(None, (element.get("message"), element.text)))
            lines += [line for line in text.splitlines() if line.strip()][-LAST_LINES:]
        if lines:
            return lines
    return []


def main():
    total = skipped = 0
    failures = []
    for path in sys.argv[1:]:
        try:
            root = parse(path)
        except (OSError, ElementTree.ParseError) as error:
            failures.append((f"no report: {path}: {error}", []))
            total += 1
            continue
        for suite in root.iter("testsuite"):
            for case in suite.iter("testcase"):
                total += 1
                name = f"{case.get('classname') or suite.get('name')} {case.get('name')}"
                if case.find("failure") is not None or case.find("error") is not None:
                    failures.append((f"failed: {name} ({path})", last_words(case)))
                elif case.find("skipped") is not None or case.get("result") == "skipped":
                    skipped += 1
                    print(f"skipped: {name}")
    for title, words in failures:
        print(title, *words, sep="\n    ")
    passed = total - len(failures) - skipped
    print(f"{passed} passed, {len(failures)} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failures or not passed else 0)


main()
