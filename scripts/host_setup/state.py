"""What was changed, written before it is changed, so that an interrupted run can be undone.

One entry a thing, with what was there before the first change of it: running again adds nothing and forgets nothing."""
import errno
import fcntl
import json
import os

from .errors import Refused

FOLDER = "/var/lib/sluice-host-setup"


class State:
    def __init__(self, host, folder):
        self.folder = host.path(folder)
        self.file = self.folder / "changes.json"
        self.entries = []
        self.hooks = []  # programs that still have to run for what was written
        self.refusals = {"boot": "", "names": []}  # of the kernel, known until it boots again
        self.lock = None
        if self.file.exists():
            try:
                read = json.loads(self.file.read_text())
                self.entries, self.hooks, self.refusals = read["entries"], read["hooks"], read["refusals"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise Refused(f"{self.file} cannot be read ({error}): nothing is changed before somebody has looked at it")

    def open(self):
        """To write; nobody else does meanwhile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self.lock = os.open(self.folder, os.O_RDONLY)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another host-setup is at work: wait until it has ended")
        except OSError as error:
            raise Refused(f"{self.folder} cannot be written ({error.strerror}): run this as root", 77)

    def close(self):
        """The folder goes with its last entry."""
        if self.lock is None:
            return
        if not self.entries and not self.hooks:
            self.file.unlink(missing_ok=True)
            self.file.with_suffix(".new").unlink(missing_ok=True)
            try:
                self.folder.rmdir()
            except OSError:
                pass  # somebody keeps something else there
        os.close(self.lock)
        self.lock = None

    def entry(self, kind, name):
        return next((e for e in self.entries if e["kind"] == kind and e["name"] == name), None)

    def begin(self, kind, name, before, after, **more):
        """Before a change. The entry of an earlier run keeps what it found."""
        entry = self.entry(kind, name)
        if entry is None:
            entry = {"kind": kind, "name": name, "before": before, **more}
            self.entries.append(entry)
        entry["after"] = after
        self.save()
        return entry

    def drop(self, entry):
        self.entries.remove(entry)
        self.save()

    def want_hooks(self, hooks):
        self.hooks += [h for h in hooks if h not in self.hooks]
        self.save()

    def refuse(self, name, boot):
        if self.refusals["boot"] != boot:
            self.refusals = {"boot": boot, "names": []}
        self.refusals["names"].append(name)
        self.save()

    def refusing(self, boot):
        return set(self.refusals["names"]) if self.refusals["boot"] == boot else set()

    def save(self):
        new = self.file.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"entries": self.entries, "hooks": self.hooks, "refusals": self.refusals}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.file)
        os.fsync(self.lock)
