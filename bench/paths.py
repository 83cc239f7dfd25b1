#!/usr/bin/python3
"""Ways between agents other than calls and HTTP: TCP by iperf3 over the agents' TUN devices through the relay, against the same
over wireguard-go as a hub, in the same namespaces, in turn. bench/README.md, "paths"."""
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]
import namespace_options  # noqa: E402
from lab import Lab, LabError, need_namespaces, wait_until  # noqa: E402
from machine import about_machine  # noqa: E402
from wireguard_hub import WireGuard  # noqa: E402

DEVICE = "sluice0"
TARGET = 1.5  # times wireguard-go


class Bed:
    """Agents with a device each and a relay; or, while these are down, wireguard-go in their namespaces."""

    def __init__(self, options):
        self.options = options
        self.lab = Lab(build=options.build, idle=options.idle, quiet_log=True)

    def in_ns(self, name, *argv):
        return ["ip", "netns", "exec", self.lab.ns(name), *map(str, argv)]

    def prepare(self):
        self.lab.network()
        self.lab.enrol()

    def start_sluice(self):
        lab = self.lab
        lab.start_relay()
        for name in lab.names:
            argv = lab.agent_argv(name, "up", "--tun", DEVICE)
            at = argv.index("--clear-groups")
            argv[at:at] = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
            log = open(lab.dir / f"{name}.log", "wb")
            lab.daemons[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=lab.dir)
            lab.children.append(lab.daemons[name])
        lab.wait_connected()
        for name in lab.names:
            wait_until("the path to be probed", lambda n=name: "offload is" in (lab.dir / f"{n}.log").read_text(), 15)
            wait_until("the device", lambda n=name: lab.info(n)["tun"]["mtu"] > 0, 10)
        return lab.info("beta")["tun"]["address"]

    def stop_sluice(self):
        lab = self.lab
        self.drops = lab.drops()
        self.counters = {name: lab.info(name)["tun"] for name in lab.names}
        for daemon in lab.daemons.values():
            lab.end(daemon)
        lab.end(lab.relay)

    def iperf(self, address):
        """Mbit/s that arrive, alpha to beta, without the first second."""
        o = self.options
        server = subprocess.Popen(self.in_ns("beta", "iperf3", "-s", "-1", "-B", address), stdout=subprocess.DEVNULL)
        self.lab.children.append(server)
        try:
            wait_until("iperf3 to listen", lambda: ":5201 " in subprocess.run(
                self.in_ns("beta", "ss", "-Hnlt"), capture_output=True, text=True).stdout, 10)
            done = subprocess.run(self.in_ns("alpha", "iperf3", "-c", address, "-J", "-O", "1", "-t", str(o.seconds), "-P", str(o.streams)),
                                  capture_output=True, text=True, timeout=o.seconds + 60)
            answer = json.loads(done.stdout)
            if "error" in answer:
                raise LabError(f"iperf3: {answer['error']}")
            return answer["end"]["sum_received"]["bits_per_second"] / 1e6
        finally:
            self.lab.end(server)


def over_sluice(bed):
    address = bed.start_sluice()
    try:
        return bed.iperf(address)
    finally:
        bed.stop_sluice()


def over_wireguard(bed):
    hub = WireGuard(bed.lab)
    hub.start()
    try:
        address = hub.ADDRESS["beta"]
        wait_until("a packet over wireguard-go", lambda: subprocess.run(
            bed.in_ns("alpha", "/usr/bin/python3", "-c",
                      f"import socket; s = socket.socket(); s.settimeout(1)\ntry: s.connect(({address!r}, 9))\nexcept ConnectionRefusedError: pass")
        , stderr=subprocess.DEVNULL).returncode == 0, 20, 0.3)
        return bed.iperf(address)
    finally:
        hub.stop()


def main():
    parser = namespace_options.parser(__doc__, 8, "of each measurement", 3)
    parser.add_argument("--streams", type=int, default=1, help="connections of iperf3 at a time (1)")
    options = parser.parse_args()
    if options.short:
        options.seconds, options.rounds = 1, 1
    need_namespaces()
    for program in ("iperf3", "wireguard-go", "wg"):
        if not shutil.which(program):
            raise SystemExit(f"error: {program} is not installed: run scripts/setup --only bench")
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    bed = Bed(options)
    ours, theirs = [], []
    try:
        bed.prepare()
        for turn in range(options.rounds):
            ours.append(over_sluice(bed))
            theirs.append(over_wireguard(bed))
            say(f"round {turn + 1}: {ours[-1]:,.0f} Mbit/s over TUN and the relay, {theirs[-1]:,.0f} over wireguard-go")
        drops, counters = bed.drops, bed.counters
    except LabError:
        for log in sorted(bed.lab.dir.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        raise
    finally:
        bed.lab.close()
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    result = {"tun_mbps": round(statistics.median(ours)), "wireguard_go_mbps": round(statistics.median(theirs)),
              "tun_ratio": round(ratio, 2), "gso_frames": drops.get("gso_frame", 0),
              "tun_dropped": sum(v for c in counters.values() for k, v in c.items() if k.startswith("dropped")),
              # Of ways that are not there yet.
              "direct_ms": None, "lost_on_switch": None, "tcp_mbps": None}
    print()
    print(f"  iperf3 over TUN mode through the relay    {result['tun_mbps']:>8,} Mbit/s")
    print(f"  the same over wireguard-go as a hub       {result['wireguard_go_mbps']:>8,} Mbit/s")
    print(f"  ratio, median of the rounds               {ratio:>8.2f}   >= {TARGET}{'' if ratio >= TARGET else '   missed'}")
    print(f"  packets dropped at the devices            {result['tun_dropped']:>8}   gso_frame drops at the relay {result['gso_frames']}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"machine": about_machine(), **result}, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        raise SystemExit(f"error: {error}") from error
