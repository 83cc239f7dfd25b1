#!/usr/bin/python3
"""Runs the model of revocation through SPIN: as it is it must hold in every state, and with any of its
safeguards taken away it must fail. Exit 77 without spin."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent / "revocation.pml"
MUST_FAIL = ("NO_SECOND_RING", "NO_SECOND_VERDICT", "NO_GRACE", "EARLY_REPORT")


def explore(folder, *defines):
    """(errors, states) of an exhaustive search for a violated assertion or a deadlock."""
    flags = [f"-D{d}" for d in defines]
    subprocess.run(["spin", *flags, "-a", str(MODEL)], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=folder, check=True)
    out = subprocess.run(["./pan", "-m1000000"], cwd=folder, capture_output=True, text=True).stdout
    if "Search not completed" in out and "errors: 0" in out or "max search depth too small" in out:
        raise SystemExit(f"the search did not finish:\n{out[:2000]}")
    return int(re.search(r"errors: (\d+)", out)[1]), int(float(re.search(r"([\d.e+]+) states, stored", out)[1]))


def main():
    if shutil.which("spin") is None:
        print("spin is not installed: scripts/setup --only test")
        raise SystemExit(77)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        errors, states = explore(folder)
        print(f"{'ok' if errors == 0 else 'FAILED'}: the model holds in all of its {states:,} states", flush=True)
        bad += errors != 0
        for taken in MUST_FAIL:
            errors, states = explore(folder, taken)
            print(f"{'ok' if errors != 0 else 'FAILED'}: with {taken} it {'fails' if errors else 'still holds'}", flush=True)
            bad += errors == 0
    sys.exit(bad != 0)


main()
