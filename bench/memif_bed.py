"""A relay and a load generator as two processes with a memif between them, a core each.

The generator is the memif's server and must be up first; the relay is the client, since zero-copy is the client's, and
must be gone first: the driver unmaps the rings under whoever still polls them when the peer leaves."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from child import Child
from lab import Lab, LabError, wait_until
from relay_meter import RelayMeter

PORT = 7600
RELAY_MAC = "02:5c:00:00:00:01"
PAGE_MIB = 2
LOWEST = 19  # priority


class Skip(Exception):
    """This machine cannot hold the case; the text says what it lacks."""


def check_cores(relay_core, generator_core):
    if relay_core == generator_core:
        raise LabError("relay and generator need a core each: give --relay-core and --generator-core two that this "
                       "process may use")


def check_pages(least):
    free = Lab.free_hugepages()
    if free < least:
        raise LabError(f"{free} hugepages of {PAGE_MIB} MB are free, at least {least} are needed: scripts/setup asks for them")


class MemifBed:
    """The folder, the keys and the trust sections; `start` makes a pair of processes."""

    def __init__(self, build, relay_core, generator_core, ring=1024, burst=32, say=None):
        self.build = pathlib.Path(build)
        for program in ("sluiced", "sluice-pktgen"):
            if not (self.build / program).exists():
                raise LabError(f"{self.build / program} does not exist: run scripts/build")
        self.relay_core, self.generator_core = relay_core, generator_core
        self.ring, self.burst, self.say = ring, burst, say or (lambda text: None)
        self.tag = f"sb{os.getpid()}"
        self.trusts, self.pair = {}, None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
        self.key = self._run("sluiced", "--new-key", self.dir / "relay.key").strip()

    def _run(self, program, *options):
        result = subprocess.run([str(self.build / program), *map(str, options)], capture_output=True, text=True)
        if result.returncode != 0:
            raise LabError(f"{program}: {result.stderr.strip()}")
        return result.stdout

    def core_round_trip_ns(self):
        """Of a cache line between the two cores, now: on a shared host it is not the same a minute later."""
        cores = f"{self.relay_core},{self.generator_core}"
        return float(self._run("bench/cores_apart", "--cores", cores))

    def identity(self, sessions):
        return ["--agents", sessions, "--seed-file", self.dir / "seed", "--relay-key", self.key]

    def trust(self, sessions, seal):
        """The section's text: made once for each, which takes seconds for 100,000 agents."""
        if (sessions, seal) not in self.trusts:
            self.trusts = {(sessions, seal): self._run("sluice-pktgen", "trust", *self.identity(sessions), "--seal", seal)}
        return self.trusts[sessions, seal]

    def write_config(self, sessions, seal, extra):
        device = (f"net_memif0,role=client,socket={self.dir / 'memif.sock'},socket-abstract=no,zero-copy=yes,"
                  f"rsize={self.ring.bit_length() - 1},mac={RELAY_MAC}")
        (self.dir / "sluiced.yaml").write_text("\n".join([
            "log: { level: warn }",
            f"eal: {{ mode: in_memory, file_prefix: {self.tag}r, args: [\"--single-file-segments\"] }}",
            f"ports: [{{ name: north, device: \"{device}\", addresses: [10.9.0.1/8], rx_descriptors: {self.ring}, "
            f"tx_descriptors: {self.ring} }}]",
            f"cores: {{ control: {self.generator_core}, workers: [{{ core: {self.relay_core}, queues: [north/0] }}] }}",
            f"worker: {{ idle: spin, burst: {self.burst} }}",
            # Control shares the generator's core, and takes its turns there like any process.
            "control: { scheduling: normal }",
            f"relay: {{ state_dir: {self.dir / 'state'}, key_file: {self.dir / 'relay.key'} }}",
            f"limits: {{ agents: {max(64, sessions)}, edges: {max(64, 2 * sessions)}, sessions: {2 * sessions + 64} }}",
            f"admin: {{ socket: {self.dir / 'admin.sock'}, group: \"\" }}",
            *extra, self.trust(sessions, seal)]))

    def start(self, command, sessions, seal, options=(), extra=()):
        """A relay and `sluice-pktgen COMMAND` with all sessions up."""
        shutil.rmtree(self.dir / "state", ignore_errors=True)
        (self.dir / "state").mkdir(mode=0o700)
        self.write_config(sessions, seal, extra)
        self.pair = Pair(self, command, sessions, seal, options)
        try:
            self.pair.connect()
        except BaseException:
            self.pair.close()
            raise
        return self.pair

    def close(self):
        if self.pair is not None:
            self.pair.close()
        for name in "rgst":
            shutil.rmtree(f"/var/run/dpdk/{self.tag}{name}", ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


class Pair:
    """One relay and one generator."""

    def __init__(self, bed, command, sessions, seal, options):
        self.bed, self.sessions = bed, sessions
        self.relay, self.done = None, False
        self.result = bed.dir / "result.json"
        self.result.unlink(missing_ok=True)
        self.socket = bed.dir / "memif.sock"
        self.socket.unlink(missing_ok=True)
        # Both on one core: what EAL itself starts stays there, too.
        self.generator = Child("the generator", [
            bed.build / "sluice-pktgen", command, *bed.identity(sessions), "--seal", seal,
            "--device", f"net_memif0,role=server,socket={self.socket},socket-abstract=no",
            "--address", "10.9.0.10/8", "--relay", f"10.9.0.1:{PORT}", "--relay-mac", RELAY_MAC,
            "--lcores", f"{bed.generator_core},{bed.generator_core}", "--file-prefix", f"{bed.tag}g",
            "--descriptors", bed.ring, *self._renewals(sessions), "--json", self.result, "--wait", "--markers", "--hold",
            *options], {bed.generator_core}, echo=bed.say)

    @staticmethod
    def _renewals(sessions):
        """None in the first 100 s, fast enough for all in the 60 s after."""
        return ["--rekey-age", 100 if sessions <= 20000 else 150, "--rekey-rate", max(200, sessions // 40)]

    def connect(self):
        began = time.monotonic()
        wait_until("the generator's socket", lambda: self.socket.exists() or not self.generator.running(), 30)
        self._check(self.generator)
        self.relay = Child("the relay", [self.bed.build / "sluiced", "-c", self.bed.dir / "sluiced.yaml"],
                           {self.bed.relay_core, self.bed.generator_core})
        for line in iter(lambda: self.next_line(60 + self.sessions / 20), "ready"):
            self.bed.say(line)
        self.connect_seconds = time.monotonic() - began
        # Its first thread alone, which is control: on a relay's host it has another core than the load generator's.
        os.setpriority(os.PRIO_PROCESS, self.relay.process.pid, LOWEST)
        self.meter = RelayMeter(self.bed.dir / "admin.sock")

    def _check(self, child):
        if child.running():
            return
        text = child.complaint()
        if found := re.search(r"needs (\d+) MiB of hugepages", text):
            raise Skip(f"needs {(int(found.group(1)) + PAGE_MIB - 1) // PAGE_MIB} pages")
        raise LabError(f"{child.name} ended with exit code {child.process.returncode}{text}")

    def next_line(self, seconds):
        """Of the generator; an error if either of the two has ended."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.generator.line(0.5)
            except LabError:
                if self.relay is not None:
                    self._check(self.relay)
                if time.monotonic() > deadline:
                    raise
                continue
            if line is None:
                self.generator.wait(5)
                if self.relay is not None:
                    self._check(self.relay)
                self._check(self.generator)
                raise LabError(f"the generator closed its output{self.generator.complaint()}")
            return line

    def measure(self, begun=lambda name: None, ended=lambda name: None, seconds=120):
        """Lets it go; calls `begun` and `ended` around each measurement. Its JSON."""
        self.generator.tell("\n")
        while (line := self.next_line(seconds)) != "done":
            word, _, name = line.partition(" ")
            if word == "begin":
                begun(name)
            elif word == "end":
                ended(name)
        self.done = True
        return json.loads(self.result.read_text())

    def close(self):
        if self.relay is not None:
            self.relay.stop()
            self.relay = None
        if self.done:
            self.generator.end_of_input()
            self.generator.wait(5)
        self.generator.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
