#!/usr/bin/python3
"""Adds up JUnit reports: every case that ran, by suite, and the closing line `N passed, N failed`."""
import sys
import xml.etree.ElementTree as ElementTree


def main():
    total = failed = skipped = 0
    for path in sys.argv[1:]:
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError) as error:
            print(f"no report: {path}: {error}")
            failed += 1
            continue
        for case in root.iter("testcase"):
            total += 1
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None or case.get("result") == "skipped":
                skipped += 1
                print(f"skipped: {case.get('classname', '')} {case.get('name')}")
    passed = total - failed - skipped
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed or not passed else 0)


main()
