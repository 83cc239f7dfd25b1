#!/usr/bin/python3
"""docs/tutorial.md, typed as it stands: every `sh` block in one shell, and each line that it promises looked for in what came, where
numbers, keys and times may differ."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from common import BUILD, ROOT, check, need_namespaces

LAB = pathlib.Path("/tmp/sluice-tutorial")
MARK = "=== block"


def blocks(text):
    """(heading, what is typed, what is promised) of each `sh` block."""
    out = []
    heading = ""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
    at = 0
    for m in fence.finditer(text):
        between = text[at:m.start()]
        for line in re.findall(r"^## (.*)$", between, re.M):
            heading = line
        if m[1] == "sh":
            out.append([heading, m[2], ""])
        elif out and not re.search(r"^## ", between, re.M):
            out[-1][2] = m[2]
        at = m.end()
    return out


def pattern(line):
    """Words with a digit in them may be others, and spaces so many."""
    words = []
    for word in line.split():
        if word == "…":
            words.append(r"\S.*")
        elif re.search(r"[\d…]", word) or word.strip(",;") in ("ns", "us", "ms", "s"):
            words.append(r"\S+")
        else:
            words.append(re.escape(word))
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*$", re.M)


def clean():
    for who in ("relay", "alpha", "beta"):
        pids = subprocess.run(["ip", "netns", "pids", f"tut-{who}"], capture_output=True, text=True).stdout.split()
        for pid in pids:
            os.kill(int(pid), 9)
        subprocess.run(["ip", "netns", "del", f"tut-{who}"], capture_output=True)
    shutil.rmtree(LAB, ignore_errors=True)


def main():
    need_namespaces()
    check(not LAB.exists(), f"{LAB} is not there from another run")
    typed = blocks((ROOT / "docs/tutorial.md").read_text())
    check(len(typed) >= 20, f"{len(typed)} blocks are typed")
    script = "".join(f"echo '{MARK}'\n{text}" for _, text, _ in typed)
    with tempfile.TemporaryDirectory(prefix="sluice-tutorial-") as folder:
        (pathlib.Path(folder) / "build").symlink_to(BUILD)
        out = pathlib.Path(folder) / "out"
        try:
            with open(out, "wb") as file:
                # Background programs keep the file open, not a pipe that would be waited for.
                done = subprocess.run(["bash", "-c", script], cwd=folder, stdout=file, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, timeout=150)
            said = out.read_text(errors="replace")
            parts = said.split(f"{MARK}\n")[1:]
            check(len(parts) == len(typed), f"all {len(typed)} blocks were run: {said[-500:]}")
            for (heading, text, promised), got in zip(typed, parts):
                for line in filter(str.strip, promised.splitlines()):
                    check(pattern(line).search(got), f"{heading}: '{line.strip()}'" if pattern(line).search(got) else
                          f"{heading}: '{line.strip()}' after\n{text}came\n{got}")
            wrong = [line for line in said.splitlines() if re.search(r"command not found|usage error|No such file|Traceback", line)]
            check(not wrong, f"no command is wrong: {wrong}")
            check(done.returncode == 0 and not LAB.exists(), "it takes back what it made")
        except BaseException:
            print(out.read_text(errors="replace")[-6000:])
            raise
        finally:
            clean()
    print("passed")


main()
