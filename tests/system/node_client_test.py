#!/usr/bin/python3
"""The TypeScript client (clients/node) on the oldest and the newest Node that it is for, against a relay and four daemons: what it says, what
arrives, and what does not. Its tests are clients/node/test; what only root can do to the lab they ask for by a socket."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from call_test import agree
from common import ROOT, check, main, wait_until
from lab import NOBODY
from npm import Packages

SOURCE = ROOT / "clients" / "node"
NODES = ("node18", "node22")
# One after the other: they share the agents. The last leaves one of them revoked.
TESTS = ("offline", "calls", "serving", "messages", "trust", "faults", "revoked")
AGENTS = ("alice", "bob", "carol", "dave")


class Client(Packages):
    """The client, compiled by the TypeScript of its lock file, and the Nodes that it is tried on."""

    def __init__(self, node):
        version = json.loads((SOURCE / "package.json").read_text())["version"]
        check(f"version: '{version}'" in (ROOT / "meson.build").read_text(), f"the project's version, {version}")
        # Of its own: the other Node's tests run beside.
        super().__init__(SOURCE, f"client_{node}")
        self.nodes = Packages(SOURCE / "test" / "nodes", f"nodes_{node}").folder / "node_modules"
        self.copy("src", "tsconfig.json", "test", "examples")
        self.owned("rm", "-rf", self.folder / "dist")
        self.owned("npm", "run", "--silent", "build", cwd=self.folder)
        check(True, "it compiles")
        self.owned("npm", "run", "--silent", "types", cwd=self.folder)
        check(True, "the compiler takes what is right, and nothing else")

    def place(self, lab, node):
        """Where the agents' user can read it."""
        there = lab.dir / "client"
        there.mkdir()
        for name in ("dist", "test", "examples"):
            shutil.copytree(self.folder / name, there / name)
        shutil.copy(self.folder / "package.json", there)
        shutil.copy2(self.nodes / node / "bin" / "node", lab.dir / "bin" / "node")
        subprocess.run(["chmod", "-R", "a+rX", there, lab.dir / "bin"], check=True)


class Control(threading.Thread):
    """Does to agents what the tests ask for: a line each, answered with `done` or with what went wrong."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab = lab
        self.path = lab.dir / "control.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            with self.listener.accept()[0] as asked:
                words = asked.makefile().readline().split()
                try:
                    getattr(self, f"on_{words[0]}")(*words[1:])
                    asked.sendall(b"done\n")
                except Exception as error:  # noqa: B902: whatever it is, the test that asked is to say so
                    asked.sendall(f"{type(error).__name__}: {error}\n".encode())

    def on_kill(self, name):
        self.lab.end(self.lab.daemons[name], signal.SIGKILL)

    def on_start(self, name):
        if self.lab.daemons[name].poll() is not None:
            self.lab.start_agent(name)
        wait_until(f"{name} to be back", lambda: connected(self.lab, name) and self.lab.peers(name), 40)

    def on_revoke(self, name):
        self.lab.ctl("revoke", name, "--reason", "test over")


def connected(lab, name):
    info = lab.info(name)
    return info.get("session", {}).get("up") and info["peers"]["synced"]


def introduce(lab):
    """alice may call bob; carol and dave may send messages to each other, and carol calls dave."""
    lab.make_relay()
    with lab.config.open("a") as config:
        config.write("calls: { circuit: { failed_percent: 0 } }\n")  # most of the calls are to fail
    lab.start_relay()
    lab.ctl("tenant", "add", "acme")
    for n in lab.names:
        lab.join(n, lab.ctl("token", "create", "--tenant", "acme", "--ttl", "1h", "--host", lab.address(n, 1))["join"])
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda n=n: connected(lab, n), 15)
    agree(lab, ("--scopes", "payments"))
    lab.agent("carol", "handshake", lab.dids["dave"], "to talk", "--capabilities", "tool_call", "--protocols", "raw")
    wait_until("the request to reach dave", lambda: json.loads(lab.agent("dave", "pending", "--json").stdout)["incoming"], 10)
    lab.agent("dave", "approve", "carol")
    wait_until("carol and dave to know each other", lambda: all(p and p[0]["verified"] for p in (lab.peers("carol"), lab.peers("dave"))), 10)
    # As the environment variable of the command line leads to them.
    for n in lab.names:
        home = lab.dir / "homes" / n
        home.mkdir(parents=True)
        (home / "sluice-agent").symlink_to(lab.dir / n / "state")


def counts(output):
    """What the test runner says at its end."""
    words = [line.split() for line in output.splitlines() if line.startswith("# ")]
    return {w[1]: int(w[2]) for w in words if len(w) == 3 and w[2].isdigit()}


def test(lab, client, node):
    introduce(lab)
    client.place(lab, node)
    control = Control(lab)
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(lab.dir / "bin" / "node")]
    env = {"PATH": os.environ["PATH"], "SLUICE_CONTROL": str(control.path), "SLUICE_HOMES": str(lab.dir / "homes"),
           **{f"SLUICE_{n.upper()}": str(lab.dir / n / "state" / "agent.sock") for n in lab.names}}
    version = subprocess.run([*as_nobody, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    check(version.startswith(f"v{node.removeprefix('node')}."), f"Node {version} of the packages")
    chosen = os.environ.get("SLUICE_NODE_TESTS", "").split() or TESTS
    for name in chosen:
        began = time.monotonic()
        child = subprocess.Popen([*as_nobody, "--test", "--test-reporter=tap", f"test/{name}.test.js"], cwd=lab.dir / "client", env=env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        lab.children.append(child)
        try:
            out, _ = child.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            # The runner, its tests and their programs.
            os.killpg(child.pid, signal.SIGKILL)
            out = child.communicate()[0] + "\nit did not end"
        found = counts(out)
        good = child.returncode == 0 and found.get("pass", 0) > 0 and found["pass"] == found["tests"]
        if not good:
            print(out[-12_000:], flush=True)
        check(good, f"{name}: {found.get('pass')} of {found.get('tests')} tests in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    for which in sys.argv[1:] or NODES:
        client = Client(which)
        main(lambda lab, which=which, client=client: test(lab, client, which), enrol=False, agents=AGENTS,
             limits={"calls_per_agent": 512, "idempotency_keys_per_agent": 4096})
