#!/usr/bin/python3
"""The relay and the load generator as two processes over a memif: what a packet costs the relay's core against the
floors, the highest rate without loss, and latency below it. bench/README.md, "wire", says how and why so."""
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
from floor_runs import forward_floor, gcm_floors  # noqa: E402
from lab import LabError  # noqa: E402
from machine import about_machine  # noqa: E402
from memif_bed import MemifBed, Skip, check_cores, check_pages  # noqa: E402
from source import pin_self  # noqa: E402
from trial import Trial  # noqa: E402

FRAME_WITHOUT_PAYLOAD = 94  # IPv4, with FCS
FCS = 4
HEADER_SEAL_LEAST = 16  # payload
IMIX = (7 * [94], 4 * [594], [1518])
INTERVALS = 6  # of the flat-out trial, whose median counts
IDLE_RELAY = 0.01  # share of polls
TARGETS = {"efficiency": {64: 0.60, 1400: 0.85}, "p99_at_80_us": 30}
LEAST_PAGES = 128


def frames_of(payload, seal):
    """Sizes with FCS that take turns."""
    if payload != "imix":
        return [payload + FRAME_WITHOUT_PAYLOAD]
    least = FRAME_WITHOUT_PAYLOAD + (HEADER_SEAL_LEAST if seal == "header" else 0)
    return [max(least, f) for part in IMIX for f in part]


class Floors:
    """Each the lowest of its rounds. Measured once for each set of sessions; forwarding alone once for each size."""

    def __init__(self, bed, options, say):
        self.bed, self.options, self.say = bed, options, say
        self.gcm, self.forward = {}, {}

    def look(self, seal, sessions, payload, round_number):
        """Measures what this round has not measured yet."""
        slices, all_payloads = self.options.slices, self.options.payload
        gcm = self.gcm.setdefault((seal, sessions), [])
        if len(gcm) <= round_number:
            self.say(f"floors: opening and sealing alone, {seal} seal, {sessions} sessions")
            wanted = {f - FRAME_WITHOUT_PAYLOAD for p in all_payloads for f in frames_of(p, seal)}
            gcm.append(gcm_floors(self.bed, seal, sessions, sorted(wanted), slices))
        sizes = tuple(frames_of(payload, seal))
        forward = self.forward.setdefault(sizes, [])
        if len(forward) <= round_number:
            self.say(f"floors: receiving and sending alone, {'IMIX' if payload == 'imix' else f'frames of {sizes[0]}'}")
            forward.append(forward_floor(self.bed, [f - FCS for f in sizes], slices))

    def lowest(self, seal, sessions, payload):
        sizes = frames_of(payload, seal)
        rounds = self.gcm[seal, sessions]
        return (statistics.mean(min(r[f - FRAME_WITHOUT_PAYLOAD] for r in rounds) for f in sizes),
                min(self.forward[tuple(sizes)]))


class Watch:
    """Looks at the relay's counters while the generator searches."""

    def __init__(self, meter, seconds):
        self.meter, self.seconds = meter, seconds
        self.intervals, self.longest, self.reads = {}, {}, (None, [])

    def begun(self, name):
        """Well inside of the measurement: before and after it the relay's polls find nothing."""
        kind = name.split("-")[1]
        if kind.startswith("latency"):
            self.longest[kind[7:]] = self.meter.read()
            return
        looks = INTERVALS + 1 if kind == "max" else 2
        time.sleep(0.15 * self.seconds)
        reads = [self.meter.read()]
        for _ in range(looks - 1):
            time.sleep(0.7 * self.seconds / (looks - 1))
            reads.append(self.meter.read())
        self.reads = kind, reads

    def ended(self, name):
        kind = name.split("-")[1]
        if self.reads[0] == kind:
            reads = self.reads[1]
            self.intervals[kind] = [self.meter.between(a, b) for a, b in zip(reads, reads[1:])]
        if kind.startswith("latency"):
            before = self.longest[kind[7:]]
            self.longest[kind[7:]] = self.meter.between(before, self.meter.read()).longest_poll_us


def searched(bed, seal, sessions, payload, options):
    """One case: sessions, flat out, the search, and latency below what it found."""
    label = "imix" if payload == "imix" else str(payload + FRAME_WITHOUT_PAYLOAD)
    with bed.start("search", sessions, seal, [
            "--frames", label, "--latency", "--trial-seconds", options.seconds, "--resolution", options.resolution,
            "--loss-tolerance", options.loss_tolerance]) as pair:
        watch = Watch(pair.meter, options.seconds)
        out = pair.measure(watch.begun, watch.ended, 60 + 10 * options.seconds)
        return out, watch, pair.connect_seconds


def flat_out(bed, seal, sessions, payload, options):
    size = ["--imix"] if payload == "imix" else ["--payload", payload]
    trial = Trial(bed, seal, sessions, size, "max", options.seconds)
    return trial.median(lambda i: i.ns_per_forwarded), trial.round_trip_ns


def measure(bed, floors, say, seal, sessions, payload, options):
    busy, apart = [], []
    for i in range(options.rounds):
        floors.look(seal, sessions, payload, i)
        if i > 0:
            say(f"flat out again, round {i + 1} of {options.rounds}")
            ns, round_trip = flat_out(bed, seal, sessions, payload, options)
            busy.append(ns)
            apart.append(round_trip)
    gcm, forward = floors.lowest(seal, sessions, payload)
    apart.append(bed.core_round_trip_ns())
    out, watch, connect_seconds = searched(bed, seal, sessions, payload, options)
    result, intervals = out["results"][0], watch.intervals["max"]
    # A round's median, since what the core lost to others counts as busy; the lowest, as of the floors.
    busy.append(statistics.median(i.ns_per_forwarded for i in intervals))
    idle = statistics.median(i.idle_polls for i in intervals)
    last = [t for k, t in watch.intervals.items() if k.startswith("trial")]
    latency = result.get("latency", {})
    row = {"seal": seal, "payload": payload, "sessions": sessions, "busy_ns": round(min(busy), 1),
           "busy_ns_rounds": [round(b, 1) for b in busy], "core_round_trip_ns_rounds": apart,
           "gcm_floor_ns": round(gcm, 1), "forward_floor_ns": round(forward, 1),
           "efficiency": round((gcm + forward) / min(busy), 3) if min(busy) else None,
           "zero_loss_pps": round(result["zero_loss_pps"]), "mbps": round(result["mbps"], 1),
           "limited_by": "relay" if idle < IDLE_RELAY else "generator",
           "flat_out_pps": round(result["trials"][0]["sent_pps"]), "idle_polls_flat_out": round(idle, 4),
           "idle_time_flat_out": round(1 - statistics.median(i.busy_share for i in intervals), 4),
           "idle_polls_zero_loss": round(last[-1][0].idle_polls, 4) if last else None,
           "packets_per_poll": round(statistics.median(i.packets_per_poll for i in intervals), 1),
           "latency_us": {at: {k: v[k] for k in ("p50", "p90", "p99", "p999", "max", "count", "pps", "lost")}
                          for at, v in latency.items()},
           "hiccups": {at: {"count": v["hiccups"], "total_us": v["hiccup_total_us"], "max_us": v["hiccup_max_us"],
                            "share": round(v["hiccup_total_us"] / 1e6 / options.seconds, 5),
                            "relay_longest_poll_us": watch.longest.get(at)} for at, v in latency.items()},
           "connect_seconds": round(connect_seconds, 1), "renewals": out["handshakes"]["rekeys"]}
    return row


def latency_text(row, at):
    q = row["latency_us"].get(at)
    return f"{q['p50']:8.1f} {q['p99']:8.1f} {q['p999']:8.1f}" if q else f"{'-':>8} {'-':>8} {'-':>8}"


def print_table(rows):
    print(f"\n{'seal':>6} {'payload':>7} {'sessions':>8} {'relay':>7} {'gcm':>7} {'forward':>7} {'effi-':>6} {'zero loss':>9} "
          f"{'limited':>9} {'latency at 50 %, us':>26} {'latency at 80 %, us':>26} {'stalls':>10}")
    print(f"{'':>6} {'bytes':>7} {'':>8} {'ns':>7} {'ns':>7} {'ns':>7} {'ciency':>6} {'Mpps':>9} {'by':>9} "
          f"{'p50':>8} {'p99':>8} {'p99.9':>8} {'p50':>8} {'p99':>8} {'p99.9':>8} {'n / max us':>10}")
    for r in rows:
        head = f"{r['seal']:>6} {r['payload']:>7} {r['sessions']:8}"
        if "skipped" in r:
            print(f"{head}   skipped: {r['skipped']}")
            continue
        stalls = r["hiccups"].get("80")
        print(f"{head} {r['busy_ns']:7.1f} {r['gcm_floor_ns']:7.1f} {r['forward_floor_ns']:7.1f} {r['efficiency']:6.2f} "
              f"{r['zero_loss_pps'] / 1e6:9.3f} {r['limited_by']:>9} {latency_text(r, '50')} {latency_text(r, '80')} "
              + (f"{stalls['count']:>5} / {stalls['max_us']:.0f}" if stalls else "-"))


def print_targets(rows):
    print()
    for r in (r for r in rows if "skipped" not in r and r["seal"] == "full"):
        what = f"{r['payload']} bytes, {r['sessions']} sessions"
        least = TARGETS["efficiency"].get(r["payload"])
        if least:
            print(f"{'holds' if r['efficiency'] >= least else 'MISSED'}: efficiency {r['efficiency']:.2f} at {what} "
                  f"(target {least:.2f})")
        if q := r["latency_us"].get("80"):
            stalls = r["hiccups"]["80"]
            print(f"{'holds' if q['p99'] <= TARGETS['p99_at_80_us'] else 'MISSED'}: p99 {q['p99']:.1f} us at 80 % of zero loss, "
                  f"{what} (target {TARGETS['p99_at_80_us']} us; {stalls['count']} stalls of the generator took "
                  f"{stalls['share'] * 100:.2f} % of the time, the longest {stalls['max_us']:.0f} us)")
    for r in rows:
        if (r.get("efficiency") or 0) > 1:
            print(f"DEFECT of this benchmark: an efficiency of {r['efficiency']:.2f} is above 1 ({r['seal']}, {r['payload']}, "
                  f"{r['sessions']} sessions)")


def payload_size(text):
    if text == "imix":
        return text
    value = int(text)
    if not 16 <= value <= 1424:
        raise argparse.ArgumentTypeError("a payload has 16 to 1424 bytes: a memif's frame has 1518 at most")
    return value


def parse():
    cores = sorted(os.sched_getaffinity(0))
    p = argparse.ArgumentParser(
        prog="scripts/bench wire", description="The relay and the load generator over a memif: nanoseconds of the relay's "
        "core per packet against two floors, the zero-loss rate, and latency at 50 % and 80 % of it.",
        epilog="Takes about half an hour; --long at least as much again. Exit: 0 measured, 1 something could not be measured.")
    p.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    p.add_argument("--payload", nargs="+", type=payload_size, default=[64, 1400, "imix"], metavar="BYTES",
                   help="end-to-end bytes after the frame header, or imix (64 1400 imix)")
    p.add_argument("--sessions", nargs="+", type=int, default=None, metavar="N", help="agents connected (64 10000)")
    p.add_argument("--long", action="store_true", help="100,000 sessions, too")
    p.add_argument("--seal", nargs="+", choices=["full", "header"], default=["full", "header"], metavar="SEAL",
                   help="full, header (both)")
    p.add_argument("--seconds", type=float, default=2, metavar="S", help="length of a trial (2)")
    p.add_argument("--slices", type=int, default=5, metavar="N", help="of 0.3 s for each floor, whose median counts (5)")
    p.add_argument("--rounds", type=int, default=3, metavar="N", help="of floors and flat-out trials, whose lowest count (3)")
    p.add_argument("--resolution", type=float, default=1, metavar="PERCENT", help="of the search (1)")
    p.add_argument("--loss-tolerance", type=float, default=0, metavar="PERCENT", help="of packets in a trial that holds (0)")
    p.add_argument("--ring", type=int, default=1024, metavar="SLOTS", help="of each memif ring, a power of two (1024)")
    p.add_argument("--burst", type=int, default=32, metavar="N", help="the relay's worker.burst (32)")
    p.add_argument("--relay-core", type=int, default=cores[-1], metavar="N", help=f"of the relay's worker ({cores[-1]})")
    p.add_argument("--generator-core", type=int, default=cores[0], metavar="N", help=f"of everything else ({cores[0]})")
    p.add_argument("--build", default=str(ROOT / "build"), metavar="DIR", help="where the programs are (build)")
    o = p.parse_args()
    o.sessions = o.sessions or [64, 10000]
    o.sessions += [100000] if o.long and 100000 not in o.sessions else []
    if not all(2 <= n <= 500000 and n % 2 == 0 for n in o.sessions):
        p.error("--sessions are even numbers from 2 to 500000: agents come in pairs")
    if not 64 <= o.ring <= 4096 or o.ring & (o.ring - 1):
        p.error("--ring is a power of two from 64 to 4096")
    if not 1 <= o.rounds <= 20:
        p.error("--rounds is from 1 to 20")
    if not 1 <= o.burst <= 64:
        p.error("--burst is from 1 to 64")
    if not 0.5 <= o.seconds <= 10:
        p.error("--seconds is from 0.5 to 10: a search must end before sessions are renewed")
    return o


def report(options, rows, failed):
    print_table(rows)
    print_targets(rows)
    for name, text in failed.items():
        print(f"not measured: {name}: {text}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            {"machine": about_machine(), "ring": options.ring, "burst": options.burst, "trial_seconds": options.seconds,
             "loss_tolerance": options.loss_tolerance, "cases": rows, "failed": failed}, indent=1) + "\n")


def main():
    options = parse()
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    rows, failed, bed = [], {}, None
    try:
        check_cores(options.relay_core, options.generator_core)
        check_pages(LEAST_PAGES)
        pin_self(options.generator_core)
        bed = MemifBed(options.build, options.relay_core, options.generator_core, options.ring, options.burst,
                       lambda text: say("   " + text))
        floors = Floors(bed, options, say)
        for seal, sessions, payload in ((s, n, p) for n in options.sessions for s in options.seal for p in options.payload):
            what = f"{seal} seal, {payload if payload == 'imix' else f'{payload} bytes'}, {sessions} sessions"
            say(what)
            try:
                rows.append(measure(bed, floors, say, seal, sessions, payload, options))
            except Skip as skip:
                rows.append({"seal": seal, "payload": payload, "sessions": sessions, "skipped": str(skip)})
                say(f"   skipped: {skip}")
            except LabError as error:
                failed[what] = str(error)
                say(f"   not measured: {error}")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was measured until then follows", file=sys.stderr)
        failed["interrupted"] = "the cases after it are missing"
    finally:
        if bed is not None:
            bed.close()
    if rows or failed:
        report(options, rows, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
