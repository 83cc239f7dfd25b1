#!/usr/bin/python3
"""clang-format decides the layout of every C++ file; prints those that differ, with the remedy."""
import shutil
import subprocess
import sys

root = sys.argv[1]
tool = shutil.which("clang-format-14") or shutil.which("clang-format")
if tool is None:
    print("clang-format is not installed (scripts/setup)")
    sys.exit(77)
files = subprocess.run(["find", "src", "include", "clients/cpp", "tests", "bench", "-name", "*.h", "-o", "-name", "*.cpp"], cwd=root, text=True,
                       capture_output=True, check=True).stdout.split()
bad = subprocess.run([tool, "--dry-run", "--Werror", *sorted(files)], cwd=root, text=True, capture_output=True)
names = sorted({line.split(":")[0] for line in bad.stderr.splitlines() if "clang-format-violations" in line})
print("\n".join(names) or f"{len(files)} files are in shape")
if names:
    print(f"run: {tool} -i {' '.join(names)}")
sys.exit(1 if names else 0)
