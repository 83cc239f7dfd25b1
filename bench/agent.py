#!/usr/bin/python3
"""Two agents and a relay in network namespaces: HTTP through them against the same straight to the server, a download
against wireguard-go as a hub and against a bare pipeline, and what an idle daemon holds. bench/README.md, "agent"."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]
import namespace_options  # noqa: E402
import softirq  # noqa: E402
from lab import Lab, LabError, need_namespaces, run, wait_until  # noqa: E402
from machine import about_machine  # noqa: E402
from wireguard_hub import WireGuard  # noqa: E402

PORT = 7480
FRONT = ("127.0.0.1", PORT)
RATES = [100 * 1.25 ** i for i in range(16)]  # Mbit/s of the bare pipeline
PEERS = 100


class Bed:
    def __init__(self, options):
        self.options = options
        self.bench = pathlib.Path(options.build) / "bench"
        self.lab = Lab(build=options.build, idle=options.idle, quiet_log=True,
                       limits={"calling_agents": 8, "calls_per_agent": 512, "idempotency_keys_per_agent": 1 << 20})

    def in_ns(self, name, *argv, **kwargs):
        return subprocess.Popen(["ip", "netns", "exec", self.lab.ns(name), *map(str, argv)], stdout=subprocess.PIPE, text=True, **kwargs)

    def client(self, name, mode, address, target, *more):
        """The Beast client's answer."""
        host, port = address
        child = self.in_ns(name, self.bench / "http_client", mode, host, port, target, f"localhost:{port}", *more)
        out = child.communicate(timeout=300)[0]
        if child.returncode != 0:
            raise LabError(f"http_client {mode} {target} failed: {out.strip() or 'no answer'}")
        return json.loads(out)

    def server(self, address="127.0.0.1"):
        child = self.in_ns("beta", "node", ROOT / "bench" / "http_server.mjs", 0, address)
        self.lab.children.append(child)
        return child, int(child.stdout.readline())

    def start(self):
        lab = self.lab
        lab.network()
        lab.enrol()
        lab.start_relay()
        for name in lab.names:
            lab.start_agent(name)
        lab.wait_connected()
        self.node, self.node_port = self.server()
        log = lab.dir / "serve.log"
        with open(log, "wb") as out:
            lab.spawn_agent("beta", "serve", "--upstream", f"http://127.0.0.1:{self.node_port}", stdout=out, stderr=out,
                            stdin=subprocess.DEVNULL)
        wait_until("the server to be known", lambda: b"serving" in log.read_bytes(), 10)
        for name in lab.names:
            wait_until("the path to be probed", lambda n=name: "offload is" in (lab.dir / f"{n}.log").read_text(), 15)


def resident_mb(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")) / 1024


def requests(bed, say):
    o = bed.options
    direct, through, one_direct, one_through = [], [], [], []
    for turn in range(o.rounds):
        direct.append(bed.client("beta", "rps", ("127.0.0.1", bed.node_port), "/small", 64, o.seconds))
        through.append(bed.client("alpha", "rps", FRONT, "/beta/small", 64, o.seconds))
        one_direct.append(bed.client("beta", "rps", ("127.0.0.1", bed.node_port), "/small", 1, o.seconds))
        one_through.append(bed.client("alpha", "rps", FRONT, "/beta/small", 1, o.seconds))
        say(f"   round {turn + 1}: {direct[-1]['rps']:,.0f} requests/s straight, {through[-1]['rps']:,.0f} through the relay, "
            f"{through[-1]['errors']} errors; one at a time {one_direct[-1]['p50_us']} and {one_through[-1]['p50_us']} us")
    ratio = statistics.median(t["rps"] / d["rps"] for t, d in zip(through, direct))
    added = statistics.median(t["p50_us"] - d["p50_us"] for t, d in zip(one_through, one_direct))
    return {"http_rps": round(statistics.median(t["rps"] for t in through)),
            "http_rps_direct": round(statistics.median(d["rps"] for d in direct)),
            "http_ratio": round(ratio, 3), "added_p50_us": round(added),
            "errors": sum(t["errors"] for t in through + one_through)}


def download(bed, say):
    size = bed.options.megabytes * 1_000_000
    out = bed.client("alpha", "download", FRONT, f"/beta/bulk?n={size}")
    say(f"   through the relay {out['mbps']:,.0f} Mbit/s")
    return out["mbps"]


def bare(bed, say):
    """UDP in, another host's addresses, UDP out: the best of rising rates."""
    lab = bed.lab
    mac = softirq.mac_of(lab.ns("alpha"), "eth0")
    relay_mac = softirq.mac_of(lab.ns("relay"), "r1")
    softirq.neighbour(lab.ns("beta"), "eth0", lab.address("beta", 1), relay_mac)
    relay = bed.in_ns("relay", bed.bench / "bare_relay", f"{lab.tag}b", "r1", "r0", mac, lab.address("alpha", 1),
                      lab.address("alpha", 2), 9000)
    best, worse = 0.0, 0
    try:
        for line in relay.stdout:
            if line.strip() == "ready":
                break
        for rate in RATES:
            receiver = bed.in_ns("alpha", bed.bench / "udp_pipe", "receive", 9000, 2.5)
            receiver.stdout.readline()
            sender = bed.in_ns("beta", bed.bench / "udp_pipe", "send", lab.address("beta", 1), 9000, rate, 2, 1392)
            sender.communicate(timeout=30)
            got = json.loads(receiver.communicate(timeout=30)[0])["mbps"]
            worse = 0 if got > best else worse + 1
            best = max(best, got)
            if worse == 3:
                break
    finally:
        lab.end(relay)
    say(f"   a bare pipeline {best:,.0f} Mbit/s")
    return best


def wireguard(bed, say):
    hub = WireGuard(bed.lab)
    node = None
    try:
        hub.start()
        node, port = bed.server("0.0.0.0")
        address = (hub.ADDRESS["beta"], port)
        wait_until("a request over wireguard-go", lambda: try_request(bed, address), 20, 0.5)
        size = bed.options.megabytes * 1_000_000
        out = bed.client("alpha", "download", address, f"/bulk?n={size}")
    finally:
        hub.stop()
        if node is not None:
            bed.lab.end(node)
    say(f"   through wireguard-go {out['mbps']:,.0f} Mbit/s")
    return out["mbps"]


def try_request(bed, address):
    try:
        return bed.client("alpha", "rps", address, "/small", 1, 0.2)["rps"] > 0
    except (LabError, subprocess.TimeoutExpired):
        return False


def iperf(bed, say):
    """TCP over the veth pairs and the kernel's forwarding: context, not a comparison."""
    lab = bed.lab
    if not shutil.which("iperf3"):
        say("   iperf3 is not installed: run scripts/setup --only bench")
        return None
    try:
        for name in ("alpha", "beta"):
            device = f"r{lab.names.index(name)}"
            run("ip", "-n", lab.ns("relay"), "addr", "add", f"{lab.address(name, 1)}/24", "dev", device)
            run("ip", "-n", lab.ns(name), "route", "replace", "default", "via", lab.address(name, 1))
        softirq.in_ns(lab.ns("relay"), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        server = bed.in_ns("beta", "iperf3", "-s", "-1", "-p", "5201")
        lab.children.append(server)
        time.sleep(0.5)  # it says nothing when it listens
        out = bed.in_ns("alpha", "iperf3", "-c", lab.address("beta", 2), "-p", "5201", "-t", "3", "-R", "-J").communicate(timeout=60)[0]
        mbps = json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e6
    finally:
        for name in ("alpha", "beta"):
            run("ip", "-n", lab.ns("relay"), "addr", "flush", "dev", f"r{lab.names.index(name)}", check=False)
        softirq.in_ns(lab.ns("relay"), "sysctl", "-qw", "net.ipv4.ip_forward=0", check=False)
    say(f"   TCP by the kernel alone {mbps:,.0f} Mbit/s")
    return round(mbps)


def idle_memory(bed, say):
    """A daemon that has just met 100 peers, and nobody talks."""
    lab = Lab(build=bed.options.build, agents=("alpha", "beta"), idle="backoff", limits={"agents": 256, "edges": 4096})
    try:
        lab.network()
        lab.make_relay()
        for name in lab.names:
            home = lab.dir / name
            home.mkdir(mode=0o700)
            os.chown(home, 65534, 65534)
            join = run(lab.build / "sluiced", "-c", lab.config, "--join", lab.address(name, 1)).stdout
            lab.agent(name, "init", "--name", name, "--tenant", "7", input=join)
        for name in lab.names:
            lab.dids[name] = json.loads(lab.agent(name, "info", "--json").stdout)["did"]
        statements = {n: lab.agent(n, "info", "--statement").stdout.strip() for n in lab.names}
        names, lab.statements = list(lab.names), statements
        for i in range(PEERS):
            state = lab.dir / "peers" / str(i)
            state.parent.mkdir(exist_ok=True)
            agent = [lab.build / "sluice-agent", "--state", state]
            run(*agent, "init", "--name", f"peer-{i}", "--tenant", "7", input=join)
            lab.dids[f"peer-{i}"] = json.loads(run(*agent, "info", "--json").stdout)["did"]
            lab.statements[f"peer-{i}"] = run(*agent, "info", "--statement").stdout.strip()
            names.append(f"peer-{i}")
        lab.write_config(names, [("alpha", n) for n in names[1:]])
        lab.start_relay()
        lab.start_agent("alpha")
        wait_until("the list of peers", lambda: len(lab.peers("alpha")) >= PEERS, 30, 0.2)
        time.sleep(2)
        out = resident_mb(lab.daemons["alpha"].pid)
    finally:
        lab.close()
    say(f"   an idle daemon with {PEERS} peers: {out:.1f} MB")
    return round(out, 1)


TARGETS = (("http_ratio", "requests per second, through against straight", "≥ 0.25", lambda r: r["http_ratio"] >= 0.25),
           ("wireguard_ratio", "download against wireguard-go", "≥ 2", lambda r: r["wireguard_ratio"] >= 2),
           ("bare_ratio", "download against the bare pipeline", "≥ 0.7", lambda r: r["bare_ratio"] >= 0.7),
           ("added_p50_us", "added latency of a small request, p50, us", "≤ 300", lambda r: r["added_p50_us"] <= 300),
           ("idle_rss_mb", "memory of an idle daemon with 100 peers, MB", "≤ 30", lambda r: r["idle_rss_mb"] <= 30))


def main():
    parser = namespace_options.parser(__doc__, 4.0, "of each measurement of requests", 3)
    parser.add_argument("--megabytes", type=int, default=400, help="of a download (400)")
    options = parser.parse_args()
    if options.short:
        options.seconds, options.rounds, options.megabytes = 0.5, 1, 20
    need_namespaces()
    if not shutil.which("node"):
        raise SystemExit("error: node is not installed: run scripts/setup --only bench")
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    bed = Bed(options)
    result = {}
    try:
        bed.start()
        say("small requests, 64 connections and one")
        result.update(requests(bed, say))
        say("a download")
        downloads = [download(bed, say) for _ in range(options.rounds)]
        drops = bed.lab.drops()
        result["gso_frames"] = drops.get("gso_frame", 0)
        for daemon in bed.lab.daemons.values():
            bed.lab.end(daemon)
        bed.lab.end(bed.lab.relay)
        floors = [bare(bed, say) for _ in range(1 if options.short else 2)]
        result["iperf_direct_mbps"] = iperf(bed, say)
        hubs = [wireguard(bed, say) for _ in range(options.rounds)]
        result.update(download_mbps=round(statistics.median(downloads)), bare_mbps=round(max(floors)),
                      wireguard_go_mbps=round(statistics.median(hubs), 1))
        result["wireguard_ratio"] = round(result["download_mbps"] / result["wireguard_go_mbps"], 2)
        result["bare_ratio"] = round(result["download_mbps"] / result["bare_mbps"], 2)
    except LabError as error:
        for log in sorted(bed.lab.dir.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        raise SystemExit(f"error: {error}") from error
    finally:
        bed.lab.close()
    result["idle_rss_mb"] = idle_memory(bed, say)
    print()
    for key, title, target, good in TARGETS:
        print(f"  {title:<46} {result[key]:>9}   {target:<7} {'' if good(result) else 'missed'}")
    print(f"  gso_frame drops at the relay                   {result['gso_frames']:>9}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"machine": about_machine(), **result}, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        raise SystemExit(f"error: {error}") from error
