"""The host as it is: files, the kernel's values, programs. Below another root only files are real: no value of this
machine's kernel is then read or written for the image."""
import os
import pathlib
import shutil
import subprocess

from . import cores
from .errors import Refused


class Host:
    def __init__(self, root="/"):
        self.root = pathlib.Path(root)
        self.live = self.root == pathlib.Path("/")

    def path(self, name):
        """Where a file of the host's stands; `name` is absolute."""
        return self.root / str(name).lstrip("/")

    def text(self, name):
        """None: it is not there."""
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Refused(f"{self.path(name)} cannot be read: {error.strerror}")

    def has_program(self, name):
        """Looks where administrators' programs are as well."""
        if self.live:
            return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
        return any(self.path(f"{d}/{name}").exists() for d in ("usr/sbin", "sbin", "usr/bin", "bin"))

    def run(self, *argv):
        """What it wrote; Refused with its last line where it fails."""
        environment = {**os.environ, "LC_ALL": "C", "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        try:
            done = subprocess.run(argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Refused(f"{argv[0]} is missing: install the packages of scripts/packages/run.txt")
        said = done.stdout + done.stderr
        if done.returncode != 0:
            last = [line for line in said.splitlines() if line.strip()][-1:] or [f"exit code {done.returncode}"]
            raise Refused(f"{' '.join(argv)}: {last[0].strip()}")
        return said

    # --- the kernel's values; without a live host there are none

    def value(self, name):
        if not self.live:
            return None
        try:
            return pathlib.Path(name).read_text().strip()
        except OSError:
            return None

    def set_value(self, name, value):
        with open(name, "w") as file:  # closing it is what reports the kernel's refusal
            file.write(f"{value}\n")

    def cpus(self):
        """Cores that are on line; below another root nobody knows."""
        online = self.value("/sys/devices/system/cpu/online")
        return cores.parse(online, "/sys/devices/system/cpu/online") if online else None

    def nodes(self):
        """NUMA nodes with their cores."""
        out = {}
        if self.live:
            for folder in pathlib.Path("/sys/devices/system/node").glob("node[0-9]*"):
                out[int(folder.name[4:])] = cores.parse((folder / "cpulist").read_text().strip(), str(folder))
        return out

    def boot(self):
        return self.value("/proc/sys/kernel/random/boot_id") or ""
