#!/usr/bin/python3
"""Sluice and what else relays between two agents, on the same veth pairs: packets/s at saturation of one core,
and what a packet costs that core. bench/README.md, "peers", says how it is measured and why so."""
import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]
import contenders  # noqa: E402
import softirq  # noqa: E402
from core_time import Busy  # noqa: E402
from lab import Lab, LabError, need_namespaces  # noqa: E402
from machine import about_machine  # noqa: E402
from source import Source, pin_self  # noqa: E402

PAYLOADS = (64, 1350)
SEARCH_SECONDS = 0.5
COARSE = 1.4  # from one rate to the next while the search goes up
FINE = (0.8, 0.9, 1.1, 1.2)  # around the best of them
FINAL_TRIALS = 3
SATURATED = 0.97  # of the core's time
LOSSY = 0.005


class Bed:
    """Relay and two agents, a veth pair each; every softirq where it belongs."""

    def __init__(self, options):
        self.relay_core, self.source_core = options.relay_core, options.source_core
        self.program = pathlib.Path(options.build) / "bench" / "peers" / "peers_source"
        if not self.program.exists():
            raise LabError(f"{self.program} does not exist: run scripts/build")
        # Everything that Sluice does is on the relay's core: its control thread, too.
        self.lab = Lab(build=options.build, cores=[self.relay_core], idle="spin")
        self.relay_ns = self.lab.ns("relay")

    def build(self):
        lab = self.lab
        lab.network()
        lab.enrol()
        for i, name in enumerate(lab.names):
            softirq.offloads_off(lab.ns(name), "eth0")
            softirq.offloads_off(self.relay_ns, f"r{i}")
            softirq.steer(self.relay_ns, f"r{i}", self.relay_core)
        self.macs = [softirq.mac_of(lab.ns(n), "eth0") for n in lab.names]
        self.relay_macs = [softirq.mac_of(self.relay_ns, f"r{i}") for i in range(len(lab.names))]
        for i, name in enumerate(lab.names):
            softirq.neighbour(lab.ns(name), "eth0", lab.address(name, 1), self.relay_macs[i])

    def relay_ends(self):
        return [(f"r{i}", self.lab.address(name, 1)) for i, name in enumerate(self.lab.names)]

    def set_neighbours(self):
        """Whoever uses the kernel's stack needs no ARP while packets fly."""
        for i, name in enumerate(self.lab.names):
            softirq.neighbour(self.relay_ns, f"r{i}", self.lab.address(name, 2), self.macs[i])

    def host(self, i):
        name = self.lab.names[i]
        return {"netns": self.lab.ns(name), "device": "eth0", "mac": self.macs[i], "relay_mac": self.relay_macs[i],
                "address": self.lab.address(name, 2), "relay_address": self.lab.address(name, 1), "port": 40000 + i}

    def source(self, contender, payload):
        config = {"payload": payload, "sender": self.host(0), "receiver": self.host(1), **contender.clients()}
        return Source(self.program, config, self.lab.dir / "source.json", self.source_core)

    def deafen(self, deaf):
        """With another MAC address the receiver's kernel counts packets and drops them at once, which leaves more of
        the source's core to the sender. Only after the proof that they arrive whole."""
        softirq.set_mac(self.lab.ns(self.lab.names[1]), "eth0", "02:00:00:00:de:af" if deaf else self.macs[1])

    def close(self):
        self.lab.close()


class Measurement:
    """One contender with one payload."""

    def __init__(self, contender, source, payload, say):
        self.source, self.payload, self.say = source, payload, say
        self.meter = contender.meter()

    def trial(self, rate, seconds):
        busy = Busy(self.meter)
        t = self.source.trial(rate, seconds)
        busy.stop()
        loss = max(0.0, 1 - t["delivered_all"] / t["sent_all"])
        # Over the whole trial: outside of it the core is idle by either meter. The share is of the time with traffic.
        active = t["seconds"] * t["sent_all"] / t["sent"]
        out = {"rate": rate, "offered": t["sent"] / t["seconds"], "pps": t["delivered"] / t["seconds"], "loss": loss,
               "ns_per_packet": busy.busy / max(1, t["delivered_all"]) * 1e9, "busy": min(1.0, busy.busy / active)}
        self.say(f"offered {out['offered'] / 1e3:7.0f} k/s  delivered {out['pps'] / 1e3:7.0f} k/s  "
                 f"core {out['busy'] * 100:3.0f} % busy  {out['ns_per_packet']:6.0f} ns")
        return out

    def search(self):
        """The rate at which most arrives: too many packets cost a relay time for those that it then drops."""
        tried = [self.trial(0, SEARCH_SECONDS)]
        most = tried[0]["offered"]
        rate = max(10e3, 0.6 * tried[0]["pps"])
        while rate < most:
            tried.append(self.trial(rate, SEARCH_SECONDS))
            # Two in a row, since a single trial may have met with something else on the machine.
            if len(tried) > 3 and max(t["pps"] for t in tried[-2:]) < 0.9 * max(t["pps"] for t in tried[1:]):
                break
            rate *= COARSE
        best = max(tried, key=lambda t: t["pps"])
        if best["rate"] > 0:
            tried += [self.trial(best["rate"] * f, SEARCH_SECONDS) for f in FINE if best["rate"] * f < most]
        return max(tried, key=lambda t: t["pps"])["rate"]

    def run(self, seconds):
        rate = self.search()
        trials = sorted((self.trial(rate, seconds) for _ in range(FINAL_TRIALS)), key=lambda t: t["pps"])
        middle = trials[len(trials) // 2]
        saturated = middle["busy"] >= SATURATED or middle["loss"] >= LOSSY
        return {"payload": self.payload, "pps": round(middle["pps"]), "mbits": round(middle["pps"] * self.payload * 8e-6, 1),
                "ns_per_packet": round(statistics.median(t["ns_per_packet"] for t in trials), 1),
                "loss": round(middle["loss"], 5), "core_busy": round(middle["busy"], 3),
                "offered_pps": round(middle["offered"]), "limited_by": "relay" if saturated else "source",
                "pps_spread": [round(trials[0]["pps"]), round(trials[-1]["pps"])]}


def measure(bed, kind, payload, seconds, say):
    """A contender with one payload size, started for it and stopped whatever happens."""
    contender = kind(bed)
    source = None
    say(f"{contender.title}, {payload} bytes")
    try:
        contender.start()
        source = bed.source(contender, payload)
        bed.deafen(True)
        measurement = Measurement(contender, source, payload, lambda text: say("   " + text, trial=True))
        row = {"name": contender.name, "title": contender.title, **measurement.run(seconds)}
        say(f"   {row['pps']:,} packets/s, {row['ns_per_packet']:,.0f} ns of the core each")
        return row
    finally:
        bed.deafen(False)
        if source is not None:
            source.close()
        contender.stop()


def best_sluice(rows, payload):
    ours = [r for r in rows if r["name"].startswith("sluice") and r["payload"] == payload]
    return max(ours, key=lambda r: r["pps"], default=None)


def ratios(rows):
    """Sluice's packets/s by theirs, for the better of Sluice's drivers."""
    out = {}
    for r in rows:
        ours = best_sluice(rows, r["payload"])
        if ours and not r["name"].startswith("sluice"):
            out.setdefault(r["name"], {})[str(r["payload"])] = round(ours["pps"] / r["pps"], 2)
    return out


def print_table(rows):
    print(f"\n{'contender':36} {'payload':>8} {'packets/s':>11} {'payload':>9} {'core time':>10} {'loss':>7} {'Sluice is':>9}  limit")
    print(f"{'':36} {'bytes':>8} {'':>11} {'Mbit/s':>9} {'ns/packet':>10} {'%':>7} {'':>9}")
    for payload in sorted({r["payload"] for r in rows}):
        ours = best_sluice(rows, payload)
        for r in (r for r in rows if r["payload"] == payload):
            ratio = f"{ours['pps'] / r['pps']:7.2f} x" if ours else "-"
            print(f"{r['title']:36} {payload:8} {r['pps']:11,} {r['mbits']:9,.0f} {r['ns_per_packet']:10,.0f} "
                  f"{r['loss'] * 100:7.2f} {ratio:>9}  {r['limited_by']}")


def print_targets(found):
    print()
    for name, least in contenders.TARGETS.items():
        for payload, ratio in found.get(name, {}).items():
            print(f"{'holds' if ratio >= least else 'MISSED'}: Sluice relays {ratio:.2f} times as many packets as {name} "
                  f"at {payload} bytes (target {least:g})")


def parse():
    cores = sorted(os.sched_getaffinity(0))
    names = [c.name for c in contenders.ALL]
    p = argparse.ArgumentParser(
        prog="scripts/bench peers", description="Sluice, wireguard-go, coturn and the kernel's forwarding relay between "
        "two hosts over the same veth pairs: packets/s at saturation of one core, and nanoseconds of it per packet.",
        epilog="Takes about 4 minutes. Exit: 0 measured, 1 something could not be measured, 77 no privilege for namespaces.")
    p.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    p.add_argument("--seconds", type=float, default=3, metavar="S", help="length of each of the three final trials (3)")
    p.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="some of: " + ", ".join(names))
    p.add_argument("--payload", nargs="+", type=int, default=PAYLOADS, metavar="BYTES", help="user payloads (64 1350)")
    p.add_argument("--relay-core", type=int, default=cores[-1], metavar="N", help=f"the measured core ({cores[-1]})")
    p.add_argument("--source-core", type=int, default=cores[0], metavar="N", help=f"makes and counts the traffic ({cores[0]})")
    p.add_argument("--build", default=str(ROOT / "build"), metavar="DIR", help="where the programs are (build)")
    p.add_argument("--verbose", action="store_true", help="print every trial of the search, too")
    options = p.parse_args()
    if options.relay_core == options.source_core:
        p.error("relay and source need a core each; this machine or --relay-core and --source-core give them one")
    if not all(1 <= b <= 1350 for b in options.payload):
        p.error("a payload has 1 to 1350 bytes, so that every contender's packet fits into 1500")
    if not 0.2 <= options.seconds <= 20:
        p.error("--seconds is from 0.2 to 20: a session's keys live for two minutes")
    return options


def report(options, rows, failed):
    found = ratios(rows)
    print_table(rows)
    print_targets(found)
    for name, text in failed.items():
        print(f"not measured: {name}: {text}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            {"machine": about_machine(), "peers": rows, "ratios": found, "targets": contenders.TARGETS,
             "failed": failed, "seconds": options.seconds}, indent=1) + "\n")


def main():
    options = parse()
    need_namespaces()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    pin_self(options.source_core)
    began = time.monotonic()

    def say(text, trial=False):
        """A line; a trial is a dot unless --verbose."""
        if trial and not options.verbose:
            print(".", end="", flush=True)
            dots.append(1)
        else:
            print("\n" if dots else "", end="")
            dots.clear()
            print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    rows, failed, bed, dots = [], {}, None, []
    try:
        bed = Bed(options)
        bed.build()
        for kind in (k for k in contenders.ALL if k.name in options.only):
            for payload in options.payload:
                try:
                    rows.append(measure(bed, kind, payload, options.seconds, say))
                except LabError as error:
                    failed[f"{kind.name}, {payload} bytes"] = str(error)
                    say(f"   not measured: {error}")
        report(options, rows, failed)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or 'the system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    finally:
        if bed is not None:
            bed.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
