#!/usr/bin/python3
"""Revocation with full tables under full load, ten thousand at once, and a restart with a full store: how long until two
agents that wait for their relay talk again. bench/README.md, "control"."""
import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]
from lab import Lab, LabError, need_namespaces  # noqa: E402
from machine import about_machine  # noqa: E402

TARGET_RESTART_MS = 3000
CALLS = 128  # of each agent that is revoked and its peer


def revocations(options):
    out = options.work / "revocations.json"
    out.unlink(missing_ok=True)  # figures of an earlier run are none of this one
    argv = [options.build / "bench" / "revocations", "--revocations", options.revocations, "--bulk", options.bulk, "--agents",
            options.agents, "--edges-each", options.edges_each, "--workers", options.workers, "--state", options.state,
            "--json", out]
    child = subprocess.run([str(a) for a in argv], check=False)
    if child.returncode != 0 and not out.exists():
        raise LabError(f"the revocations ended with {child.returncode}")
    return json.loads(out.read_text()), child.returncode


def handover(options):
    """The same proof where every tenth packet arrives on the worker that does not own its agent, and waits in a ring, and
    where calls of the revoked wait for their signatures."""
    out = options.work / "handover.json"
    out.unlink(missing_ok=True)
    child = subprocess.run([str(options.build / "bench" / "revoke"), "--workers", "2", "--revocations", str(options.revocations),
                            "--calls", str(CALLS), "--state", str(options.state), "--json", str(out)], check=False)
    if child.returncode != 0 and not out.exists():
        raise LabError(f"the revocations with two workers ended with {child.returncode}")
    return json.loads(out.read_text()), child.returncode


def parts(log):
    """What the relay itself says about its start."""
    out = {}
    for line in log.splitlines():
        if found := re.search(r"of the store read in (\d+) ms, in force after (\d+) ms", line):
            out.update(read_ms=int(found[1]), tables_ms=int(found[2]))
        if found := re.search(r"started in (\d+) ms \((.*)\)", line):
            out["started_ms"] = int(found[1])
            out.update({f"{name}_ms": int(ms) for name, ms in re.findall(r"(\w[^,]*?) (\d+) ms", found[2])})
    return out


def restarts(options, lab):
    """One of each run: from exec to a session, to the peer's label, to the first packet."""
    join = subprocess.run([str(options.build / "sluiced"), "-c", str(lab.config), "--join", "relay"], capture_output=True, text=True,
                          check=True).stdout
    key = join.strip().split("#", 1)[1]
    runs = []
    for i in range(options.restarts):
        probe = subprocess.Popen(
            ["ip", "netns", "exec", lab.ns("alpha"), str(options.build / "bench" / "restart_probe"), "--relay",
             lab.address("alpha", 1), "--key", key, "--patience", "120"], stdout=subprocess.PIPE, text=True)
        if probe.stdout.readline() != "ready\n":
            raise LabError("the probe does not start")
        time.sleep(0.2)  # it sends into the void
        log = open(lab.dir / "relay.log", "wb")
        began = time.monotonic()
        relay = subprocess.Popen(["ip", "netns", "exec", lab.ns("relay"), str(options.build / "sluiced"), "-c", str(lab.config)],
                                 stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        lab.children.append(relay)
        line = probe.stdout.readline()
        probe.wait()
        if not line:
            raise LabError(f"no packet after a restart: {lab.relay_log()[-800:]}")
        at = json.loads(line)
        runs.append({k: (at[k] - began) * 1000 for k in ("welcome", "edges", "packet")})
        runs[-1]["parts"] = parts(lab.relay_log())
        memory = int(pathlib.Path(f"/proc/{relay.pid}/status").read_text().split("VmRSS:")[1].split()[0]) // 1024
        runs[-1]["rss_mib"] = memory
        print(f"  restart {i + 1}: session after {runs[-1]['welcome']:.0f} ms, first packet after {runs[-1]['packet']:.0f} ms; "
              f"{runs[-1]['parts']}", flush=True)
        lab.end(relay, signal.SIGKILL if i % 2 else signal.SIGTERM, 20)
    return runs


def restart(options):
    need_namespaces()
    limits = {"agents": options.agents + 64, "edges": (options.agents * options.edges_each) + 1024, "sessions": 4096}
    lab = Lab(agents=("alpha",), build=options.build, limits=limits, quiet_log=True)
    try:
        lab.network()
        lab.make_relay()
        print(f"filling a store with {options.agents} agents and {options.agents * options.edges_each} edges", flush=True)
        filled = subprocess.run([str(options.build / "bench" / "restart_fill"), "--state", str(lab.state), "--key",
                                 str(lab.state / "relay.key"), "--agents", str(options.agents), "--edges-each",
                                 str(options.edges_each)], check=True, capture_output=True, text=True)
        size = sum(p.stat().st_size for p in lab.state.iterdir())
        out = {**json.loads(filled.stdout), "store_bytes": size}
        out["runs"] = restarts(options, lab)
        return out
    finally:
        lab.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=pathlib.Path, help="write the figures there")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--agents", type=int, default=99_968, help="in the tables, a multiple of 64 (default %(default)s)")
    p.add_argument("--edges-each", type=int, default=10, help="default %(default)s: a million edges")
    p.add_argument("--revocations", type=int, default=10_000)
    p.add_argument("--bulk", type=int, default=10_000, help="agents revoked by one command")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--restarts", type=int, default=5)
    p.add_argument("--state", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="where the revocations' store is made; the restart's stands in a temporary folder")
    p.add_argument("--only", choices=("revocations", "restart"))
    options = p.parse_args()
    options.agents -= options.agents % 64
    options.work = options.build / "bench"
    out, code = {"machine": about_machine()}, 0
    try:
        if options.only != "restart":
            figures, code = revocations(options)
            out.update(figures)
            print("\ntwo workers, packets in the ring between them, and calls that wait for signatures:", flush=True)
            out["handover"], second = handover(options)
            out["packets_after_ack"] += out["handover"]["packets_after_ack"]
            code = code or second
        if options.only != "revocations":
            figures = restart(options)
            out["restart"] = figures
            out["restart_ms"] = statistics.median(r["packet"] for r in figures["runs"])
            print(f"restart: {out['restart_ms']:.0f} ms from exec to the first packet between two agents, median of "
                  f"{len(figures['runs'])} (target {TARGET_RESTART_MS}); store of {figures['store_bytes'] / 2**20:.0f} MiB")
    except (LabError, subprocess.CalledProcessError) as e:
        print(f"bench control: {e}", file=sys.stderr)
        code = 1
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench control: makes network namespaces, which needs root")
    main()
