#!/usr/bin/python3
"""Names in the Python of benches, scripts and tests that nothing defines: they would be found when that line runs, which may be
never in a test. By pyflakes."""
import importlib.util
import pathlib
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
if importlib.util.find_spec("pyflakes") is None:
    print("pyflakes is not installed (scripts/setup)")
    sys.exit(77)
files = sorted(p for top in ("bench", "scripts", "tests") for p in (root / top).rglob("*.py") if "node_modules" not in p.parts)
said = subprocess.run([sys.executable, "-m", "pyflakes", *files], capture_output=True, text=True).stdout
found = [line for line in said.splitlines() if "undefined name" in line]
print("\n".join(found) or f"{len(files)} files use no name that is not there")
sys.exit(1 if found else 0)
