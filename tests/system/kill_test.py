#!/usr/bin/python3
"""kill -9 of the relay at random instants in a storm of enrolments, approvals, untrusts, revocations and changes of identity.
An outside observer notes what was acknowledged: after each restart none of it is lost, and nothing that was revoked forwards.
SLUICE_KILLS says how often (default 6)."""
import json
import os
import random
import signal
import subprocess
import threading
import time

from common import check, main, ping_ok, wait_until

ROTATORS = [f"rotator{i}" for i in range(6)]
BETWEEN_ROTATIONS = 61  # seconds; the relay has an agent wait for a minute

KILLS = int(os.environ.get("SLUICE_KILLS", "6"))
SEED = int(os.environ.get("SLUICE_SEED", str(time.time_ns() % 1_000_000)))
LONGEST = 1.2  # seconds of a storm


class Observer:
    """What the relay has acknowledged, and what was asked of it without an answer."""

    def __init__(self, lab, dids):
        self.lab, self.dids, self.random = lab, dids, random.Random(SEED)
        self.enrolled, self.revoked, self.unsure = set(), set(), set()
        self.tokens = set()
        self.pair = None  # True: approved, False: ended, None: not known
        self.counts = {"enrol": 0, "revoke": 0, "token": 0, "approve": 0, "untrust": 0, "rotate": 0}
        # Of each rotator: identities that the relay has acknowledged or shown, oldest first; the change under way, which
        # goes on by itself when the relay dies; and when it last asked for one.
        self.chains, self.rotating, self.rotated_at = {}, {}, {}
        self.stop = threading.Event()

    def ctl(self, *args):
        return self.lab.ctl(*args, check=False)

    def operator(self):
        while not self.stop.is_set():
            kind = self.random.random()
            fresh = [d for d in self.dids if d not in self.enrolled | self.revoked | self.unsure]
            standing = sorted(self.enrolled - self.revoked - self.unsure)
            if kind < 0.5 and fresh:
                did = self.random.choice(fresh)
                self.unsure.add(did)
                if self.ctl("agent", "add", did, "--tenant", "acme", "--name", f"n{self.dids.index(did)}"):
                    self.unsure.discard(did)
                    self.enrolled.add(did)
                    self.counts["enrol"] += 1
            elif kind < 0.8 and standing:
                did = self.random.choice(standing)
                self.unsure.add(did)
                if (self.ctl("revoke", did, "--reason", "storm") or {}).get("state") == "cut":
                    self.unsure.discard(did)
                    self.revoked.add(did)
                    self.counts["revoke"] += 1
            else:
                token = self.ctl("token", "create", "--tenant", "acme", "--host", "192.0.2.1")
                if token:
                    self.tokens.add(token["id"])
                    self.counts["token"] += 1

    def agents(self):
        """alice asks, bob approves, alice ends it: over and over."""
        def did_it(name, *args):
            done = self.lab.agent(name, *args, "--json", check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None
        while not self.stop.is_set():
            asked = did_it("alice", "handshake", self.lab.dids["bob"], "storm")
            if not asked:
                # Too many wait: those of storms whose relay died before bob heard of them.
                while not self.stop.is_set() and did_it("bob", "reject", "alice"):
                    pass
                continue
            self.pair = None  # not known: the approval may be in force without an answer
            if not did_it("bob", "approve", "alice"):
                continue
            self.pair = True
            self.counts["approve"] += 1
            if self.stop.is_set() or self.random.random() < 0.3:
                continue
            self.pair = None
            if did_it("alice", "untrust", "bob"):
                self.pair = False
                self.counts["untrust"] += 1

    def rotators(self):
        """Now and then one goes on under another key. Nobody waits for it here: the relay may die first."""
        for _ in range(3):
            ready = [n for n in ROTATORS if n not in self.rotating
                     and time.monotonic() - self.rotated_at.get(n, -BETWEEN_ROTATIONS) >= BETWEEN_ROTATIONS]
            if not ready or self.stop.wait(self.random.uniform(0, LONGEST)):
                return
            name = self.random.choice(ready)
            self.rotated_at[name] = time.monotonic()
            self.rotating[name] = self.lab.spawn_agent(name, "rotate-identity", "--json", stdout=subprocess.PIPE,
                                                       stderr=subprocess.DEVNULL, text=True)

    def collect_rotations(self, wait=None):
        for name, child in list(self.rotating.items()):
            if wait is None and child.poll() is None:
                continue
            out, _ = child.communicate(timeout=wait)
            del self.rotating[name]
            if child.returncode != 0:
                continue  # no answer: the next that the relay shows is as good
            did = json.loads(out)["did"]
            if did not in self.chains[name]:
                self.chains[name].append(did)
            self.counts["rotate"] += 1

    def compare_rotations(self, number):
        """Whoever goes on under another key has one row, in which stands every identity that was acknowledged or shown."""
        self.collect_rotations()
        agents = self.lab.ctl("agents")["agents"]
        for name in ROTATORS:
            rows = [a for a in agents if a["name"] == name]
            if len(rows) != 1:
                raise AssertionError(f"kill {number}: {name} has {len(rows)} rows")
            chain = [*rows[0].get("former_dids", []), rows[0]["did"]]
            if chain[:len(self.chains[name])] != self.chains[name] or rows[0]["state"] != "active":
                raise AssertionError(f"kill {number}: {name} was {self.chains[name]} and is {chain}, {rows[0]['state']}")
            self.chains[name] = chain
        # The feed after the agents: what goes on meanwhile is in it, too.
        made = [(c["subject"], c["object"]) for c in self.feed() if c["kind"] == "identity_rotated"]
        known = {step for chain in self.chains.values() for step in zip(chain, chain[1:])}
        if len(made) != len(set(made)) or not known <= set(made):
            raise AssertionError(f"kill {number}: the feed has {len(made)} changes of identity, the agents {len(known)}")

    def storm(self, seconds, connected):
        self.stop.clear()
        ended = self.counts["untrust"]
        threads = [threading.Thread(target=t) for t in (self.operator, self.agents, self.rotators)]
        for t in threads:
            t.start()
        # Agents that are there take part: however busy the machine, not before a ceremony and its end.
        deadline = time.monotonic() + 20
        while connected and self.counts["untrust"] == ended and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(seconds)  # a random instant
        self.lab.relay.send_signal(signal.SIGKILL)
        self.stop.set()
        self.lab.relay.wait()
        for t in threads:
            t.join(60)

    def compare(self, number):
        state = {a["did"]: a["state"] for a in self.lab.ctl("agents")["agents"]}
        for did in self.enrolled - self.revoked - self.unsure:
            if state.get(did) != "active":
                raise AssertionError(f"kill {number}: {did} was enrolled and is {state.get(did)}")
        for did in self.revoked:
            if state.get(did) != "revoked":
                raise AssertionError(f"kill {number}: {did} was revoked and is {state.get(did)}")
        # What had no answer is now known.
        for did in list(self.unsure):
            self.unsure.discard(did)
            if state.get(did):
                self.enrolled.add(did)
            if state.get(did) == "revoked":
                self.revoked.add(did)
        lost = self.tokens - {t["id"] for t in self.lab.ctl("token", "list")["tokens"]}
        if lost:
            raise AssertionError(f"kill {number}: {len(lost)} tokens are gone")
        edges = self.lab.ctl("edges")["edges"]
        if self.pair is True and len(edges) != 2:
            raise AssertionError(f"kill {number}: an approved pair is gone")
        if self.pair is False and edges:
            raise AssertionError(f"kill {number}: an ended pair is back")
        self.pair = bool(edges)
        self.compare_rotations(number)
        sequence = [c["sequence"] for c in self.feed()]
        if sequence != list(range(1, len(sequence) + 1)):
            raise AssertionError(f"kill {number}: the feed has a gap")
        self.compare_audit(number, len(sequence))

    def compare_audit(self, number, last):
        """Each change is in the audit log once, and the log is what was signed, whatever the kill cut short."""
        def recorded():
            done = self.audit("export", "--jsonl")
            return [r["sequence"] for r in map(json.loads, done.stdout.splitlines()) if r["kind"] == "change"]
        # And more: changes of identity go on by themselves.
        wait_until(f"kill {number}: all changes in the audit log", lambda: recorded()[-1:] >= [last], 15, 0.1)
        there = recorded()
        if there != list(range(1, len(there) + 1)):
            raise AssertionError(f"kill {number}: the audit log lacks changes, or has some twice")
        done = self.audit("verify")
        if done.returncode != 0:
            raise AssertionError(f"kill {number}: {done.stderr.strip()}")

    def audit(self, *args):
        return subprocess.run([self.lab.build / "sluicectl", "--socket", self.lab.socket, "--json", "audit", *args], capture_output=True,
                              text=True, timeout=60)

    def feed(self):
        out, after = [], 0
        while part := self.lab.ctl("changes", "--after", str(after), "--limit", "1000")["changes"]:
            out += part
            after = part[-1]["sequence"]
        return out


def identities(lab, count):
    out = []
    for i in range(count):
        state = lab.dir / "identities" / str(i)
        join = subprocess.run([lab.build / "sluiced", "-c", lab.config, "--join", "192.0.2.1"], capture_output=True, text=True,
                              check=True).stdout
        out.append(subprocess.run([lab.build / "sluice-agent", "--state", state, "init", "--name", f"n{i}"], input=join,
                                  capture_output=True, text=True, check=True).stdout.strip())
    return out


def test(lab):
    print(f"seed {SEED}", flush=True)
    lab.make_relay()
    lab.start_relay()
    lab.ctl("tenant", "add", "acme")
    for n in ("alice", "bob"):
        lab.join(n, lab.ctl("token", "create", "--tenant", "acme", "--host", lab.address(n, 1))["join"])
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda: lab.info(n).get("session", {}).get("up"), 15)
    # All of these on alice's host.
    host_of = lab.ns
    lab.ns = lambda who: host_of("alice" if who in ROTATORS else who)
    everybody = ["alice", "bob", *ROTATORS]
    join = lab.ctl("token", "create", "--tenant", "acme", "--uses", str(len(ROTATORS)), "--host", lab.address("alice", 1))["join"]
    for n in ROTATORS:
        lab.join(n, join)
        lab.start_agent(n)

    def connected(names):
        return [n for n in names if (lab.info(n).get("session") or {}).get("up")]
    wait_until("all to connect", lambda: connected(everybody) == everybody, 30, 0.1)
    observer = Observer(lab, identities(lab, 30 + 6 * KILLS))
    observer.chains = {n: [lab.dids[n]] for n in ROTATORS}
    for number in range(1, KILLS + 1):
        observer.storm(observer.random.uniform(0.05, LONGEST), connected=number % 4 == 1)
        lab.start_relay()
        observer.compare(number)
        if number % 4 == 0:
            # Of the rotators some: who found no relay several times waits longer each time.
            wait_until("the agents to be back", lambda: len(connected(("alice", "bob"))) == 2 and len(connected(ROTATORS)) >= 3, 60, 0.1)
            if observer.pair is False:
                check(not ping_ok(lab, "alice", "bob", 1), f"kill {number}: what is ended forwards nothing")
    # What was under way when the relay died goes on, and each agent is who the relay says.
    observer.collect_rotations(wait=30)
    wait_until("all to be back", lambda: connected(everybody) == everybody, 120, 0.2)
    wait_until("the rotators to be who the relay says", lambda: all(
        lab.info(n)["did"] == {a["name"]: a["did"] for a in lab.ctl("agents")["agents"]}[n] for n in ROTATORS), 60, 0.5)
    observer.compare_rotations("the last")
    rotations = sum(len(chain) - 1 for chain in observer.chains.values())
    check(rotations > 0, f"{rotations} changes of identity, {observer.counts['rotate']} of them answered in time, are whole")
    done = {k: n for k, n in observer.counts.items() if k != "rotate"}
    check(min(done.values()) > 0 and done["revoke"] + done["enrol"] > KILLS, f"in {KILLS} kills nothing acknowledged was lost: {done}")
    # One that is revoked cannot be enrolled again, whatever happened around it.
    for did in sorted(observer.revoked)[:3]:
        check(lab.ctl("agent", "add", did, "--tenant", "acme", "--name", "again", check=False) is None, "the revoked stay out")


main(test, enrol=False, agents=("alice", "bob"))
