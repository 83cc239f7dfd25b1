"""What every system test begins with: the lab, checks that name themselves, and traffic that counts."""
import base64
import json
import os
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from lab import Lab, LabError, need_namespaces, run, wait_until  # noqa: E402,F401

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))


def check(good, text):
    """Raises with `text` unless `good`; prints what held."""
    if not good:
        raise LabError(f"does not hold: {text}")
    print(f"ok: {text}", flush=True)


def main(test, enrol=True, **lab_arguments):
    """Runs `test(lab)` in a lab of its own; exit 77 without the privilege, 1 with the logs on failure.

    Without `enrol` the relay knows nobody and has not made a key."""
    need_namespaces()
    lab = Lab(build=BUILD, **lab_arguments)
    try:
        lab.network()
        if enrol:
            lab.enrol()
        test(lab)
        print("passed")
    except BaseException as error:  # noqa: B902: the logs are wanted for an interrupt, too
        print(f"FAILED: {error}", flush=True)
        for log in sorted(lab.dir.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        raise SystemExit(1) from error
    finally:
        lab.close()


class Traffic:
    """Messages from one agent to another at a steady rate until stopped, every one accounted for."""

    def __init__(self, lab, sender, receiver, rate=500):
        self.lab, self.sender, self.receiver, self.rate = lab, sender, receiver, rate
        self.tag = f"traffic-{sender}-{time.monotonic_ns()}"
        self.sent = 0
        self.got = set()
        self.duplicates = 0
        self.error = None
        self.stopping = threading.Event()
        self.drained = threading.Event()
        self.threads = [threading.Thread(target=self._send, daemon=True),
                        threading.Thread(target=self._receive, daemon=True)]
        for t in self.threads:
            t.start()

    def _send(self):
        while not self.stopping.is_set():
            n = max(1, self.rate // 2)
            result = self.lab.agent(self.sender, "send", self.receiver, f"{self.tag}-{self.sent // n}-{{}}",
                                    "--count", str(n), "--rate", str(self.rate), check=False)
            if result.returncode != 0:
                self.error = f"{self.sender} cannot send: {result.stderr.strip()}"
                return
            self.sent += n

    def _receive(self):
        while not (self.stopping.is_set() and self.drained.is_set()):
            out = self.lab.agent(self.receiver, "recv", "--count", "100000", "--timeout", "0.5", "--json",
                                 check=False).stdout
            for line in out.splitlines():
                try:
                    text = base64.b64decode(json.loads(line)["data"]).decode()
                except (ValueError, KeyError):
                    continue
                if text.startswith(self.tag):
                    self.duplicates += text in self.got
                    self.got.add(text)

    def stop(self):
        self.stopping.set()
        self.threads[0].join(30)
        deadline = time.monotonic() + 10
        while len(self.got) < self.sent and time.monotonic() < deadline:
            time.sleep(0.05)
        self.drained.set()
        self.threads[1].join(10)
        return self

    def check_whole(self):
        check(self.error is None, self.error or f"{self.sender} could send all the time")
        check(self.sent > 0 and len(self.got) == self.sent and self.duplicates == 0,
              f"{self.sender} -> {self.receiver}: {len(self.got)} of {self.sent} messages, "
              f"{self.duplicates} twice")


def ping_ok(lab, sender, receiver, count=20):
    result = lab.agent(sender, "ping", receiver, "--count", str(count), "--interval", "0.002", "--json", check=False)
    return result.returncode == 0 and json.loads(result.stdout).get("lost") == 0
