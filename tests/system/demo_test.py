#!/usr/bin/python3
"""The demo itself, as the README promises it: exit 0, its JSON, and nothing left behind."""
import json
import os
import subprocess
import sys
import tempfile

from common import ROOT, check, need_namespaces, run


def main():
    need_namespaces()
    before = set(run("ip", "netns", "list").stdout.split())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "demo.json")
        done = subprocess.run([sys.executable, str(ROOT / "scripts/demo_run.py"), "--json", path], timeout=120,
                              text=True, capture_output=True)
        print(done.stdout, done.stderr)
        result = json.load(open(path))
    check(done.returncode == 0 and result["ok"], f"all checks hold: {result['checks']}")
    check(result["seconds"] < 120, f"{result['seconds']} s")
    check(len(result["checks"]) >= 9, "no check was left out")
    for flow in result["messages"].values():
        check(flow["correct"] == 10000, "10,000 messages each way")
    for capture in result["capture"].values():
        check(capture["packets"] > 20000 and capture["canary_seen"] == 0, f"the wire shows nothing: {capture}")
    left = set(run("ip", "netns", "list").stdout.split()) - before
    check(not [n for n in left if n.startswith("sl")], "no namespace is left behind")


main()
