"""Namespaces, a relay and agents on one machine: what the demo and the system tests stand on.

Everything lives in one temporary folder and in namespaces named after this process; `close` removes
all of it and may be called at any time, more than once.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOBODY = 65534


class LabError(Exception):
    """One clear sentence for the person at the terminal."""


def wait_until(what, done, seconds, pause=0.02):
    """Polls `done` until it returns something true; LabError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = done()
        if result:
            return result
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {seconds} s")
        time.sleep(pause)


def run(*argv, check=True, **kwargs):
    result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **kwargs)
    if check and result.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: {result.stderr.strip() or result.stdout.strip()}")
    return result


def need_namespaces():
    """Exit 77: the caller cannot make network namespaces."""
    if os.geteuid() != 0 or subprocess.run(
            ["ip", "netns", "add", f"sl-probe-{os.getpid()}"], capture_output=True).returncode != 0:
        print("error: making network namespaces needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN): "
              "run this as root or with sudo")
        raise SystemExit(77)
    run("ip", "netns", "del", f"sl-probe-{os.getpid()}")


class Lab:
    """Agents behind their own veth pair each, all ending in one relay's namespace."""

    def __init__(self, agents=("alpha", "beta"), build=None, pmd="af_packet", huge=None, pairs=None,
                 handshake=None, workers=1, quiet_log=False, cores=None, idle="backoff", device_options="",
                 mtu=1500, seals=None, limits=None):
        self.names = list(agents)
        self.build = pathlib.Path(build or ROOT / "build")
        # Under ThreadSanitizer the relay alone: what is beside it comes from another build.
        self.beside = pathlib.Path(os.environ.get("SLUICE_BESIDE") or self.build)
        self.pmd = pmd
        self.pairs = pairs if pairs is not None else [
            (a, b) for i, a in enumerate(self.names) for b in self.names[i + 1:]]
        self.handshake = handshake or {}
        self.workers = workers
        # Control's core first, then the workers', round and round.
        self.cores = cores or sorted(os.sched_getaffinity(0))
        self.idle = idle
        self.device_options = device_options
        self.mtu = mtu
        self.seals = seals or {}  # by pair: full, header, any
        self.limits = {"agents": 256, "edges": 2048, "sessions": 1024, **(limits or {})}
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sluice-lab-"))
        self.dir.chmod(0o755)
        self.tag = f"sl{os.getpid()}"
        self.children = []
        self.captures = {}
        self.relay = None
        self.daemons = {}
        self.dids = {}
        self.huge = self.free_hugepages() * 2 >= 256 if huge is None else huge
        # An ordinary user must be able to reach the program, wherever the checkout is.
        (self.dir / "bin").mkdir()
        shutil.copy2(self.beside / "sluice-agent", self.dir / "bin" / "sluice-agent")

    # --- the machine ---------------------------------------------------------------------------

    @staticmethod
    def free_hugepages():
        path = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        return int(path.read_text()) if path.exists() else 0

    def ns(self, who):
        return f"{self.tag}-{who}"

    def address(self, name, side):
        """side 1: the relay's, 2: the agent's."""
        return f"10.77.{self.names.index(name) + 1}.{side}"

    def device(self, name):
        interface = f"r{self.names.index(name)}"
        if self.pmd == "af_xdp":
            return f"net_af_xdp{self.names.index(name)},iface={interface},busy_budget=0{self.device_options}"
        return f"net_af_packet{self.names.index(name)},iface={interface}{self.device_options}"

    def network(self):
        run("ip", "netns", "add", self.ns("relay"))
        run("ip", "netns", "exec", self.ns("relay"), "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1")
        for i, name in enumerate(self.names):
            run("ip", "netns", "add", self.ns(name))
            run("ip", "link", "add", "eth0", "netns", self.ns(name), "type", "veth", "peer", "name",
                f"r{i}", "netns", self.ns("relay"))
            if self.mtu != 1500:
                run("ip", "-n", self.ns(name), "link", "set", "eth0", "mtu", str(self.mtu))
                run("ip", "-n", self.ns("relay"), "link", "set", f"r{i}", "mtu", str(self.mtu))
            run("ip", "-n", self.ns(name), "addr", "add", f"{self.address(name, 2)}/24", "dev", "eth0")
            run("ip", "-n", self.ns(name), "link", "set", "lo", "up")
            run("ip", "-n", self.ns(name), "link", "set", "eth0", "up")
            run("ip", "-n", self.ns("relay"), "link", "set", f"r{i}", "up")
            # A virtual link passes unfilled checksums and whole segmentation-offload frames.
            run("ip", "netns", "exec", self.ns(name), "ethtool", "-K", "eth0", "tx", "off", "gso", "off",
                "tso", "off", "tx-udp-segmentation", "off", check=False)

    # --- the relay -----------------------------------------------------------------------------

    def make_relay(self):
        """The relay's key and a configuration that trusts nobody."""
        self.state = self.dir / "relay"
        self.state.mkdir(mode=0o700)
        run(self.build / "sluiced", "--new-key", self.state / "relay.key")
        self.write_config(agents=[], pairs=[])

    def join(self, name, text):
        """An agent's identity, with a join string that a running relay has given."""
        home = self.dir / name
        home.mkdir(mode=0o700)
        os.chown(home, NOBODY, NOBODY)
        self.agent(name, "init", "--name", name, input=text)
        self.dids[name] = json.loads(self.agent(name, "info", "--json").stdout)["did"]

    def enrol(self):
        """The relay's key, both agents' identities, and the statements that tie them together."""
        self.make_relay()
        for name in self.names:
            home = self.dir / name
            home.mkdir(mode=0o700)
            os.chown(home, NOBODY, NOBODY)
            join = run(self.build / "sluiced", "-c", self.config, "--join", self.address(name, 1)).stdout
            self.agent(name, "init", "--name", name, "--tenant", "7", input=join)
        self.statements = {}
        for name in self.names:
            self.dids[name] = json.loads(self.agent(name, "info", "--json").stdout)["did"]
            self.statements[name] = self.agent(name, "info", "--statement").stdout.strip()
        self.write_config(self.names, self.pairs)

    @property
    def config(self):
        return self.dir / "sluiced.yaml"

    @property
    def socket(self):
        return self.dir / "admin.sock"

    def write_config(self, agents, pairs):
        text = [f"eal: {{ mode: {'in_memory' if self.huge else 'no_huge'}, file_prefix: {self.tag} }}", "ports:"]
        for name in self.names:
            text.append(f"  - {{ name: to-{name}, device: \"{self.device(name)}\", "
                        f"addresses: [{self.address(name, 1)}/24], mtu: {self.mtu} }}")
        text.append("cores:")
        text.append(f"  control: {self.cores[0]}")
        text.append("  workers:")
        for w in range(self.workers):
            queues = ", ".join(f"to-{n}/{w}" for n in self.names)
            text.append(f"    - {{ core: {self.cores[(w + 1) % len(self.cores)]}, queues: [{queues}] }}")
        text.append(f"worker: {{ idle: {self.idle} }}")
        text.append(f"relay: {{ state_dir: {self.state} }}")
        if self.handshake:
            text.append("handshake: { " + ", ".join(f"{k}: {v}" for k, v in self.handshake.items()) + " }")
        text.append("limits: { " + ", ".join(f"{k}: {v}" for k, v in self.limits.items()) + " }")
        text.append(f"admin: {{ socket: {self.socket}, group: \"\" }}")
        if agents:
            text.append("trust:")
            text.append("  agents:")
            for name in agents:
                text.append(f"    - {{ name: {name}, did: \"{self.dids[name]}\", tenant: 7, "
                            f"enrol: \"{self.statements[name]}\" }}")
            if pairs:
                text.append("  pairs:")
                for a, b in pairs:
                    seal = f", seal: {self.seals[a, b]}" if (a, b) in self.seals else ""
                    text.append(f"    - {{ from: {a}, to: {b}{seal} }}")
        self.config.write_text("\n".join(text) + "\n")

    def start_relay(self):
        log = open(self.dir / "relay.log", "ab")
        self.relay = subprocess.Popen(
            ["ip", "netns", "exec", self.ns("relay"), str(self.build / "sluiced"), "-c", str(self.config)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.children.append(self.relay)

        def answers():
            if self.relay.poll() is not None:
                raise LabError(f"sluiced ended with {self.relay.returncode}: {self.relay_log()[-600:].strip()}")
            return self.ctl("status", check=False) is not None

        wait_until("an answer on the admin socket", answers, 30, 0.05)
        return self.relay

    def relay_log(self):
        path = self.dir / "relay.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ctl(self, *args, check=True):
        result = run(self.beside / "sluicectl", "--socket", self.socket, "--json", *args, check=False)
        if result.returncode != 0 and check:
            raise LabError(f"sluicectl {' '.join(args)}: {result.stderr.strip()}")
        return json.loads(result.stdout) if result.returncode == 0 else None

    def drops(self):
        return {d["reason"]: d["count"] for d in self.ctl("counters")["drops"] if d["count"]}

    # --- agents --------------------------------------------------------------------------------

    def agent_argv(self, name, *args):
        """As the ordinary user nobody, in the agent's namespace."""
        return ["ip", "netns", "exec", self.ns(name), "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                "--clear-groups", str(self.dir / "bin" / "sluice-agent"), "--state",
                str(self.dir / name / "state"), *map(str, args)]

    def agent(self, name, *args, check=True, **kwargs):
        kwargs.setdefault("timeout", 120)
        result = subprocess.run(self.agent_argv(name, *args), capture_output=True, text=True,
                                cwd=self.dir, **kwargs)
        if check and result.returncode != 0:
            raise LabError(f"sluice-agent {args[0]} ({name}): {result.stderr.strip()}")
        return result

    def spawn_agent(self, name, *args, **kwargs):
        child = subprocess.Popen(self.agent_argv(name, *args), cwd=self.dir, **kwargs)
        self.children.append(child)
        return child

    def start_agent(self, name, *args):
        log = open(self.dir / f"{name}.log", "ab")
        self.daemons[name] = self.spawn_agent(name, "up", *args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self.daemons[name]

    def serve(self, name, *args):
        """A server of the agent's that its daemon knows; it ends with the lab, or before."""
        path = self.dir / f"{name}.serve.log"
        with open(path, "ab") as log:
            before = log.tell()
            child = self.spawn_agent(name, "serve", *args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until("the server to be known", lambda: b"serving" in path.read_bytes()[before:], 10)
        return child

    def info(self, name):
        result = self.agent(name, "info", "--json", check=False)
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def peers(self, name):
        result = self.agent(name, "peers", "--json", check=False)
        return json.loads(result.stdout).get("peers", []) if result.returncode == 0 else []

    def wait_connected(self, seconds=15):
        """Every agent has a session and knows as many peers as its pairs say."""
        def ready():
            sessions = {a["name"]: a["session"] for a in self.ctl("agents")["agents"]}
            if not all(sessions.get(n) for n in self.names):
                return False
            return all(len(self.peers(n)) >= sum(n in p for p in self.pairs) for n in self.names)
        wait_until("the connection of every agent", ready, seconds, 0.1)

    # --- the wire ------------------------------------------------------------------------------

    def capture(self, name):
        path = self.dir / f"{name}.pcap"
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.ns(name), "tcpdump", "-i", "eth0", "-U", "-s", "0", "-B", "16384",
             "-Z", "root", "-w", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.children.append(child)
        for line in child.stderr:
            if "listening on" in line:
                break
        else:
            raise LabError(f"tcpdump does not start in {name}'s namespace: is it installed (scripts/setup)?")
        self.captures[name] = (child, path)

    def stop_captures(self):
        """tcpdump leaves what it has not read when it is told to end: until its files have stood still, nothing is."""
        out = {}
        sizes, still = None, 0
        for _ in range(100):
            now = [path.stat().st_size if path.exists() else 0 for _, path in self.captures.values()]
            still = still + 1 if now == sizes and all(n > 24 for n in now) else 0
            if still == 6:
                break
            sizes = now
            time.sleep(0.05)
        for name, (child, path) in self.captures.items():
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=10)
            out[name] = path
        self.captures = {}
        return out

    # --- the end -------------------------------------------------------------------------------

    @staticmethod
    def end(child, how=signal.SIGTERM, seconds=5):
        if child.poll() is None:
            child.send_signal(how)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        return child.returncode

    def close(self):
        for child in reversed(self.children):
            self.end(child)
        self.children = []
        for who in ["relay", *self.names]:
            run("ip", "netns", "del", self.ns(who), check=False)
        shutil.rmtree(f"/var/run/dpdk/{self.tag}", ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)
