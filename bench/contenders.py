"""The relays of the peers bench: each is started in the relay's namespace, on the relay's core alone, over the same
veth pairs, and leaves nothing behind when it is stopped.

`clients` is what its two clients need to know (bench/peers/main.cpp); `meter` measures its core.
"""
import base64
import os
import secrets
import shutil
import subprocess

import softirq
from core_time import IdleMeter, PollMeter
from lab import LabError, run, wait_until

TARGETS = {"wireguard_go": 4.0, "coturn": 2.5}  # Sluice's packets/s, as a multiple of theirs, at least


class Contender:
    name = ""
    title = ""
    program = None  # must be installed
    kernel_addresses = True

    def __init__(self, bed):
        self.bed = bed
        self.process = None

    def start(self):
        if self.program and not shutil.which(self.program):
            raise LabError(f"{self.program} is not installed: run scripts/setup --only bench")
        if self.kernel_addresses:
            for device, address in self.bed.relay_ends():
                run("ip", "-n", self.bed.relay_ns, "addr", "add", f"{address}/24", "dev", device)
            self.bed.set_neighbours()
        self.launch()

    def stop(self):
        if self.process is not None:
            self.bed.lab.end(self.process)
            self.process = None
        self.clean()
        if self.kernel_addresses:
            for device, _ in self.bed.relay_ends():
                run("ip", "-n", self.bed.relay_ns, "addr", "flush", "dev", device, check=False)

    def spawn(self, *argv, **env):
        """On the relay's core and nowhere else."""
        self.log = self.bed.lab.dir / f"{self.name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.bed.relay_ns, "taskset", "-c", str(self.bed.relay_core), *map(str, argv)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.bed.lab.dir, env={**os.environ, **env})
        self.bed.lab.children.append(self.process)

    def wait(self, what, ready):
        def alive():
            if self.process.poll() is not None:
                raise LabError(f"{self.name} ended at once: {self.log.read_text(errors='replace')[-300:].strip()}")
            return ready()
        wait_until(what, alive, 10)

    def in_relay(self, *argv, **kwargs):
        return softirq.in_ns(self.bed.relay_ns, *argv, **kwargs)

    def meter(self):
        return IdleMeter(self.bed.relay_core)

    def launch(self):
        pass

    def clean(self):
        pass

    def clients(self):
        return {}


class KernelForwarding(Contender):
    name = "kernel_forwarding"
    title = "kernel IP forwarding (no tunnel)"

    def launch(self):
        self.in_relay("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def clean(self):
        self.in_relay("sysctl", "-qw", "net.ipv4.ip_forward=0", check=False)

    def clients(self):
        return {"kind": "plain"}


class Sluice(Contender):
    kernel_addresses = False
    pmd = ""
    device_options = ""

    def launch(self):
        lab = self.bed.lab
        lab.pmd, lab.device_options = self.pmd, self.device_options
        lab.write_config(lab.names, lab.pairs)
        # The relay pins its own threads, and only to cores that its parent has.
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.bed.relay_core, *own})
        try:
            self.process = lab.start_relay()
        finally:
            os.sched_setaffinity(0, own)
        self.prepare()

    def prepare(self):
        pass

    def meter(self):
        return PollMeter(self.bed.lab.socket)

    def clients(self):
        lab = self.bed.lab
        return {"kind": "sluice", "sender_state": str(lab.dir / lab.names[0] / "state"),
                "receiver_state": str(lab.dir / lab.names[1] / "state")}


class SluiceAfPacket(Sluice):
    name = "sluice_af_packet"
    title = "Sluice, net_af_packet"
    pmd = "af_packet"
    device_options = ",qdisc_bypass=1"

    def prepare(self):
        for device, _ in self.bed.relay_ends():
            softirq.drop_after_taps(self.bed.relay_ns, device)

    def clean(self):
        for device, _ in self.bed.relay_ends():
            softirq.undrop(self.bed.relay_ns, device)


class SluiceAfXdp(Sluice):
    name = "sluice_af_xdp"
    title = "Sluice, net_af_xdp"
    pmd = "af_xdp"

    def prepare(self):
        for device, _ in self.bed.relay_ends():
            softirq.threaded_napi(self.bed.relay_ns, device, self.bed.relay_core)


class WireguardGo(Contender):
    name = "wireguard_go"
    title = "wireguard-go, hub of two peers"
    program = "wireguard-go"
    device = "wg0"
    inner = ("10.99.0.1", "10.99.0.2")

    def wg(self, *argv, **kwargs):
        return self.in_relay("wg", *argv, **kwargs)

    def launch(self):
        if not shutil.which("wg"):
            raise LabError("wg is not installed: run scripts/setup --only bench")
        self.hub, *self.peers = [base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(3)]
        key_file = self.bed.lab.dir / "hub.key"
        key_file.touch(mode=0o600)
        key_file.write_text(self.hub + "\n")
        # One thread of Go's own would wait up to 10 ms behind another's system call; with two it loses nothing that
        # its core has time for. The variable is its consent to run beside a kernel that might have WireGuard.
        self.spawn("wireguard-go", "-f", self.device, LOG_LEVEL="error", GOMAXPROCS="2",
                   WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD="1")
        self.wait("wireguard-go's interface",
                  lambda: self.wg("show", self.device, check=False).returncode == 0)
        self.wg("set", self.device, "listen-port", "51820", "private-key", key_file)
        for key, inner in zip(self.peers, self.inner):
            self.wg("set", self.device, "peer", self.public(key), "allowed-ips", f"{inner}/32")
        self.in_relay("ip", "addr", "add", "10.99.0.254/24", "dev", self.device)
        self.in_relay("ip", "link", "set", self.device, "up")
        self.in_relay("sysctl", "-qw", "net.ipv4.ip_forward=1")

    @staticmethod
    def public(key):
        return run("wg", "pubkey", input=key + "\n").stdout.strip()

    def clean(self):
        self.in_relay("sysctl", "-qw", "net.ipv4.ip_forward=0", check=False)

    def clients(self):
        return {"kind": "wireguard", "hub_key": self.public(self.hub), "sender_key": self.peers[0],
                "receiver_key": self.peers[1], "sender_inner": self.inner[0], "receiver_inner": self.inner[1]}


class Coturn(Contender):
    name = "coturn"
    title = "coturn, ChannelData on both legs"
    program = "turnserver"
    one_leg = False

    def launch(self):
        self.in_relay("ip", "link", "set", "lo", "up")
        addresses = [address for _, address in self.bed.relay_ends()]
        listeners = [x for a in addresses for x in ("--listening-ip", a)]
        folder = self.bed.lab.dir
        self.spawn("turnserver", "-n", *listeners, "--relay-ip", addresses[0], "--no-auth", "--no-cli", "--no-tls",
                   "--no-dtls", "--no-rfc5780", "--relay-threads", "1", "--userdb", folder / "turndb",
                   "--pidfile", folder / "turn.pid", "--log-file", "stdout", "--simple-log")
        self.wait("coturn's socket", lambda: ":3478 " in self.in_relay("ss", "-Hnlu").stdout)

    def clients(self):
        return {"kind": "turn", "one_leg": self.one_leg}


class CoturnOneLeg(Coturn):
    name = "coturn_one_leg"
    title = "coturn, receiver a plain UDP peer"
    one_leg = True


ALL = [SluiceAfPacket, SluiceAfXdp, WireguardGo, Coturn, CoturnOneLeg, KernelForwarding]
