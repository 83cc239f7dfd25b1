"""Changes that can be taken back. Each is written to the state before it is made; `undo` puts back what was found,
unless somebody else has changed the thing since: then it stays, and is said."""
import os
import pathlib
from dataclasses import dataclass

from .errors import Refused

DRIVERS = pathlib.Path("/sys/bus/pci/devices")


def driver_of(device):
    """None: no driver has it."""
    link = DRIVERS / device / "driver"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


@dataclass
class File:
    """A file of ours, whole. `hooks`: programs that have to run for it to count."""
    path: str
    content: str
    hooks: tuple = ()

    def make(self, host, state):
        before = host.text(self.path)
        if before == self.content:
            return
        state.want_hooks(self.hooks)
        state.begin("file", self.path, before, self.content, folders=missing_folders(host, self.path),
                    hooks=list(self.hooks))
        _write(host.path(self.path), self.content)


def missing_folders(host, name):
    """Those above it that will have to be made, the innermost first."""
    missing = []
    for parent in host.path(name).parents:
        if parent.exists():
            break
        missing.append("/" + str(parent.relative_to(host.root)))
    return missing


def remove_folders(host, folders):
    for folder in folders:
        try:
            host.path(folder).rmdir()
        except OSError:
            break  # somebody else has something in it


def unfinished(target):
    return target.with_name(target.name + ".sluice-new")


def _write(target, content):
    target.parent.mkdir(parents=True, exist_ok=True)
    new = unfinished(target)
    with open(new, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, target)


def undo_file(host, state, entry):
    target = host.path(entry["name"])
    present = host.text(entry["name"])
    unfinished(target).unlink(missing_ok=True)
    if present not in (entry["before"], entry["after"]):
        return f"{entry['name']} was changed since: it stays"
    if present != entry["before"]:
        state.want_hooks(entry["hooks"])
        if entry["before"] is None:
            target.unlink()
        else:
            _write(target, entry["before"])
    remove_folders(host, entry["folders"])
    return None


@dataclass
class Link:
    """As `systemctl enable` makes them."""
    path: str
    target: str

    def make(self, host, state):
        link = host.path(self.path)
        if link.is_symlink() and os.readlink(link) == self.target:
            return
        if link.exists() or link.is_symlink():
            raise Refused(f"{self.path} is there and leads elsewhere: remove it first")
        state.begin("link", self.path, None, self.target, folders=missing_folders(host, self.path))
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.target)


def undo_link(host, state, entry):
    link = host.path(entry["name"])
    if link.is_symlink() and os.readlink(link) == entry["after"]:
        link.unlink()
    remove_folders(host, entry["folders"])
    return None


@dataclass
class Value:
    """One of the kernel's values. Those that a boot forgets are not put back after one; the kernel may give less than was
    asked for."""
    path: str
    value: str
    forgotten_at_boot: bool = False
    may_refuse: str = ""  # why the kernel may, where that is no failure

    def make(self, host, state):
        before = host.value(self.path)
        entry = state.begin("value", self.path, before, self.value, boot=host.boot() if self.forgotten_at_boot else "")
        try:
            host.set_value(self.path, self.value)
        except OSError as error:
            if host.value(self.path) == entry["before"]:
                state.drop(entry)
            if self.may_refuse:
                state.refuse(self.path, host.boot())
                return f"{self.path} stays as it is: {self.may_refuse}"
            raise Refused(f"{self.path} does not take {self.value}: {error.strerror}")
        entry["after"] = host.value(self.path)
        state.save()
        if self.value.isdigit() and entry["after"].isdigit() and int(entry["after"]) < int(self.value):
            return (f"{self.path}: asked for {self.value}, got {entry['after']}; after a reboot, before memory fills, "
                    "there may be more")
        return None


def chosen(value):
    """Of a file such as transparent_hugepage/enabled, which shows all words, what holds."""
    return value.split("[", 1)[1].split("]", 1)[0] if value and "[" in value else value


def undo_value(host, state, entry):
    if entry["boot"] and entry["boot"] != host.boot():
        return None
    present = host.value(entry["name"])
    if present is None or present == entry["before"]:
        return None
    if chosen(present) != chosen(entry["after"]):
        return (f"{entry['name']} is {chosen(present)}, host-setup left {chosen(entry['after'])}: "
                "somebody else changed it, it stays")
    try:
        host.set_value(entry["name"], chosen(entry["before"]))
    except OSError as error:
        raise Refused(f"{entry['name']} does not take {chosen(entry['before'])} again: {error.strerror}")
    if host.value(entry["name"]) != entry["before"]:
        entry["after"] = host.value(entry["name"])
        state.save()
        raise Refused(f"{entry['name']} is {entry['after']}, not {entry['before']}: "
                      "end the programs that use it, then --undo again")
    return None


@dataclass
class Module:
    name: str

    def make(self, host, state):
        state.begin("module", self.name, None, self.name, boot=host.boot())
        host.run("modprobe", self.name)


def undo_module(host, state, entry):
    folder = pathlib.Path("/sys/module") / entry["name"].replace("-", "_")
    if entry["boot"] == host.boot() and folder.exists():
        host.run("modprobe", "-r", entry["name"])
    return None


@dataclass
class Mount:
    folder: str

    def make(self, host, state):
        state.begin("mount", self.folder, None, "hugetlbfs", boot=host.boot())
        os.makedirs(self.folder, exist_ok=True)
        host.run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "hugetlbfs", self.folder)


def undo_mount(host, state, entry):
    mounts = (host.value("/proc/mounts") or "").splitlines()
    mounted = any(line.split()[1:3] == [entry["name"], "hugetlbfs"] for line in mounts)
    if entry["boot"] == host.boot() and mounted:
        host.run("umount", entry["name"])
    return None


@dataclass
class Bind:
    """dpdk-devbind.py ends with 0 after some refusals: the driver that is there afterwards tells."""
    device: str
    driver: str
    force: bool = False

    def make(self, host, state):
        before = driver_of(self.device)
        entry = state.begin("bind", self.device, before, self.driver)
        try:
            _bind(host, self.device, self.driver, self.force)
        except Refused:
            if driver_of(self.device) == entry["before"]:
                state.drop(entry)
            raise


def _bind(host, device, driver, force=False):
    said = host.run("dpdk-devbind.py", f"--bind={driver}", *(["--force"] if force else []), device)
    if driver_of(device) != driver:
        last = [line for line in said.splitlines() if line.startswith(("Warning", "Error"))][-1:] or ["it does not say why"]
        raise Refused(f"dpdk-devbind.py does not bind {device} to {driver}: {last[0]}")


def undo_bind(host, state, entry):
    present = driver_of(entry["name"])
    if present != entry["after"]:
        return None if present == entry["before"] else f"{entry['name']} has driver {present or 'none'} now: it stays"
    if entry["before"] is None:
        host.run("dpdk-devbind.py", "--unbind", entry["name"])
    else:
        _bind(host, entry["name"], entry["before"])
    return None


UNDO = {"file": undo_file, "link": undo_link, "value": undo_value, "module": undo_module, "mount": undo_mount,
        "bind": undo_bind}
