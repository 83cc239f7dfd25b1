#!/usr/bin/python3
"""Good traffic through the relay while floods of bad packets arrive: what a packet of each flood costs against a good
one, what becomes of good traffic under it, and how soon all is well after it. bench/README.md, "hostile"."""
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
from lab import LabError  # noqa: E402
from machine import about_machine  # noqa: E402
from memif_bed import MemifBed, Skip, check_cores, check_pages  # noqa: E402
from source import pin_self  # noqa: E402
from trial import Trial  # noqa: E402

KINDS = ("random", "forged", "forged-away", "replay", "unknown", "hello", "badmac")
FILL = 0.95  # of the worker's core, by good traffic at half load and a flood
TRICKLE = 0.01  # of the good traffic that the core could carry, beside a flood whose cost is measured
BACK = 0.99
WINDOW = 0.1  # of the generator's timeline
LEAST_PAGES = 128
TARGETS = {"goodput": 0.99, "recovery_ms": 100, "cost_ratio": {"unknown": 0.25, "forged": 0.6}}


def aftermath(timeline, flood_from, flood_until):
    """Where the first window after the flood begins whose goodput is good again, None if there is none; and what was offered
    and received in each window after the flood, as shares of what was received before it."""
    windows = [{"begin": a["t"], "seconds": b["t"] - a["t"], "offered": b["sent"] + b["blocked"], "received": b["received"]}
               for a, b in zip(timeline, timeline[1:-1])]
    calm = [w["received"] / w["seconds"] for w in windows if w["begin"] + WINDOW < flood_from]
    after = [w for w in windows if w["begin"] > flood_until - WINDOW / 10]
    if not calm:
        return None, []
    usual = statistics.median(calm)
    shares = [[round(w[k] / w["seconds"] / usual, 3) for k in ("offered", "received")] for w in after]
    back = next((w for w in after if w["offered"] and w["received"] >= BACK * w["offered"]), None)
    # In whole windows, which begin a little after their time.
    return (None if back is None else round((back["begin"] - flood_until) / WINDOW) * round(WINDOW * 1000)), shares


class Hostile:
    def __init__(self, bed, options, say):
        self.bed, self.options, self.say = bed, options, say

    def trial(self, *args, **kwargs):
        return Trial(self.bed, "full", self.options.sessions, ["--payload", self.options.payload], *args, **kwargs)

    def calibrate(self):
        """What a good packet costs, and good traffic at half load without any flood."""
        self.say("good traffic, as fast as the generator can")
        flat_out = [self.trial("max", self.options.seconds) for _ in range(self.options.rounds)]
        costs = [t.median(lambda i: i.ns_per_forwarded) for t in flat_out]
        self.good_ns, typical = min(costs), statistics.median(costs)
        if not self.good_ns:
            raise LabError("the relay forwarded nothing")
        self.capacity = 1e9 / typical
        # Of the slower of the two: a generator that has its hands full with good traffic makes no flood.
        self.half = min(self.capacity, statistics.median(t.out["received_pps"] for t in flat_out)) / 2
        self.half_share = self.half / self.capacity
        self.say(f"   {self.good_ns:.1f} ns each at best, {typical:.1f} in the median; now at half load, {self.half / 1e6:.3f} Mpps, {self.half_share * 100:.0f} % of "
                 "what the worker can do")
        calm = self.trial(self.half, self.options.seconds)
        return {"goodput": round(calm.goodput(True), 5), "sent_pps": round(calm.out["sent_pps"]),
                "latency_us": calm.out["latency_us"], "core_busy": round(calm.whole.busy_share, 3),
                "hiccups": calm.out["hiccups"]}

    def cost(self, kind):
        """Lowest and median of one packet of the flood, which comes beside a trickle of good ones (what is replayed must
        have been sent)."""
        self.say(f"{kind}: what one costs")
        found = []
        for _ in range(self.options.rounds):
            t = self.trial(TRICKLE * self.capacity, self.options.seconds, ["--flood", f"{kind}:max"])
            if t.flood_pps == 0:
                raise LabError(f"the generator sent no packet of the flood {kind}")
            found.append(t.median(lambda i: (i.busy_ns - i.forwarded * self.good_ns) / max(1, i.rx - i.forwarded)))
        return min(found), max(0.1, statistics.median(found))

    def beside_good(self, kind, cost):
        """Good traffic at half load; the flood fills the core."""
        planned = (FILL - self.half_share) * 1e9 / cost
        self.say(f"{kind}: {cost:.1f} ns; good traffic at half load and the flood at {planned / 1e6:.3f} Mpps")
        t = self.trial(self.half, self.options.seconds, ["--flood", f"{kind}:{planned:.0f}"])
        return {"planned_pps": round(planned), "flood_pps": round(t.flood_pps), "core_busy": round(t.whole.busy_share, 3),
                "goodput": round(t.goodput(True), 5), "sent_pps": round(t.out["sent_pps"]),
                "latency_us": t.out["latency_us"], "hiccups": t.out["hiccups"], "drops": t.whole.drops,
                "core_round_trip_ns": t.round_trip_ns}

    def at_maximum(self, kind):
        """As much of the flood as the generator can make, with calm before and after."""
        calm = self.options.calm
        flood = self.options.storm if kind == "hello" else self.options.seconds
        self.say(f"{kind}: as fast as the generator can for {flood:g} s, then what comes after")
        t = self.trial(self.half, calm + flood + calm, [
            "--flood", f"{kind}:max", "--flood-from", calm, "--flood-until", calm + flood],
            inside=((calm + 0.1 * flood) / (2 * calm + flood), (calm + 0.9 * flood) / (2 * calm + flood)))
        windows = [w for w in t.out["timeline"] if calm + WINDOW < w["t"] < calm + flood]
        sent, received = (sum(w[k] for w in windows) for k in ("sent", "received"))
        back, after = aftermath(t.out["timeline"], calm, calm + flood)
        return {"flood_pps": round(t.flood_pps), "flood_seconds": flood, "core_busy": round(t.whole.busy_share, 3),
                "goodput": round(min(1.0, received / sent), 5) if sent else 0.0,
                "good_pps": round(received / (len(windows) * WINDOW)) if windows else 0,
                "recovery_ms": back, "after": after, "rx_drops": t.out["blocked"],
                "renewals": t.out["handshakes"]["rekeys"], "drops": t.whole.drops}

    def case(self, kind):
        lowest, typical = self.cost(kind)
        row = {"kind": kind, "cost_ns": round(lowest, 1), "cost_ratio": round(lowest / self.good_ns, 3)}
        row.update(self.beside_good(kind, typical))
        row["maximum"] = self.at_maximum(kind)
        return row


def print_table(good_ns, calm, rows):
    print(f"\na good packet costs {good_ns:.1f} ns; half load, {calm['sent_pps'] / 1e6:.3f} Mpps, without a flood: "
          f"goodput {calm['goodput']:.4f}, p50 {calm['latency_us']['p50']:.1f} us, p99 {calm['latency_us']['p99']:.1f} us\n")
    print(f"{'':12} {'a packet costs':>14}  {'beside good traffic at half load':^44}  {'as fast as the generator can':^43}")
    print(f"{'flood':12} {'ns':>7} {'x good':>6}  {'Mpps':>7} {'core busy':>9} {'goodput':>8} {'p50 us':>8} {'p99 us':>8}  "
          f"{'Mpps':>7} {'goodput':>8} {'RX ring drops':>13} {'back after ms':>13}")
    for r in rows:
        m, q = r["maximum"], r["latency_us"]
        back = "never" if m["recovery_ms"] is None else str(m["recovery_ms"])
        print(f"{r['kind']:12} {r['cost_ns']:7.1f} {r['cost_ratio']:6.2f}  {r['flood_pps'] / 1e6:7.3f} "
              f"{r['core_busy'] * 100:7.0f} % {r['goodput']:8.4f} {q['p50']:8.1f} {q['p99']:8.1f}  "
              f"{m['flood_pps'] / 1e6:7.3f} {m['goodput']:8.4f} {m['rx_drops']:13,} {back:>13}")
    for r in rows:
        if r["flood_pps"] < 0.97 * r["planned_pps"]:
            print(f"{r['kind']}: {r['planned_pps'] / 1e6:.3f} Mpps would have filled the core to {FILL * 100:.0f} %; the generator "
                  f"made {r['flood_pps'] / 1e6:.3f}, the worker was busy for {r['core_busy'] * 100:.0f} % of the time")


def print_targets(rows):
    def told(good, text):
        print(f"{'holds' if good else 'MISSED'}: {text}")

    print()
    for r in rows:
        m = r["maximum"]
        told(r["goodput"] >= TARGETS["goodput"], f"{r['kind']}: goodput {r['goodput']:.4f} at half load (target "
             f"{TARGETS['goodput']}; the longest of {r['hiccups']['count']} stalls of the generator {r['hiccups']['max_us']:.0f} us)")
        told(m["recovery_ms"] is not None and m["recovery_ms"] <= TARGETS["recovery_ms"],
             f"{r['kind']}: " + ("good traffic does not come back" if m["recovery_ms"] is None else
                                 f"good traffic is back {m['recovery_ms']} ms after the flood's end")
             + f" (target {TARGETS['recovery_ms']})")
        if r["kind"] in TARGETS["cost_ratio"]:
            most = TARGETS["cost_ratio"][r["kind"]]
            told(r["cost_ratio"] <= most, f"{r['kind']}: a packet costs {r['cost_ratio']:.2f} of a good one (target {most})")


def parse():
    cores = sorted(os.sched_getaffinity(0))
    p = argparse.ArgumentParser(
        prog="scripts/bench hostile", description="Good traffic through the relay over a memif while floods of bad packets "
        "arrive: their cost, goodput and latency beside them, and the time until all is well after them.",
        epilog="Takes about 9 minutes, --short about 2. Exit: 0 measured, 1 something could not be measured.")
    p.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help="some of: " + ", ".join(KINDS))
    p.add_argument("--payload", type=int, default=64, metavar="BYTES", help="of good packets, after the frame header (64)")
    p.add_argument("--sessions", type=int, default=1000, metavar="N", help="agents connected (1000)")
    p.add_argument("--seconds", type=float, default=4, metavar="S", help="length of each measurement (4)")
    p.add_argument("--rounds", type=int, default=3, metavar="N", help="in which a packet's cost is measured; the lowest counts (3)")
    p.add_argument("--storm", type=float, default=200, metavar="S",
                   help="of the HELLO storm; a session lives for 180 s without renewal (200)")
    p.add_argument("--short", action="store_true", help="for trials: 1 s each, one round, and a HELLO storm of 3 s, which every session outlives")
    p.add_argument("--ring", type=int, default=1024, metavar="SLOTS", help="of each memif ring, a power of two (1024)")
    p.add_argument("--relay-core", type=int, default=cores[-1], metavar="N", help=f"of the relay's worker ({cores[-1]})")
    p.add_argument("--generator-core", type=int, default=cores[0], metavar="N", help=f"of everything else ({cores[0]})")
    p.add_argument("--build", default=str(ROOT / "build"), metavar="DIR", help="where the programs are (build)")
    o = p.parse_args()
    o.calm = 2.0
    if o.short:
        o.seconds, o.storm, o.calm, o.rounds = 1.0, 3.0, 1.0, 1
    if not 16 <= o.payload <= 1424:
        p.error("--payload is from 16 to 1424: a memif's frame has 1518 bytes at most")
    if not 2 <= o.sessions <= 20000 or o.sessions % 2:
        p.error("--sessions is an even number from 2 to 20000, so that all can be renewed during the HELLO storm")
    if not 64 <= o.ring <= 4096 or o.ring & (o.ring - 1):
        p.error("--ring is a power of two from 64 to 4096")
    if not 1 <= o.rounds <= 20:
        p.error("--rounds is from 1 to 20")
    if not (1 <= o.seconds <= 60 and 1 <= o.storm <= 3600):
        p.error("--seconds is from 1 to 60, --storm from 1 to 3600")
    return o


def main():
    options = parse()
    began = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    rows, failed, bed, hostile, calm = [], {}, None, None, None
    try:
        check_cores(options.relay_core, options.generator_core)
        check_pages(LEAST_PAGES)
        pin_self(options.generator_core)
        bed = MemifBed(options.build, options.relay_core, options.generator_core, options.ring,
                       say=lambda text: say("   " + text))
        hostile = Hostile(bed, options, say)
        calm = hostile.calibrate()
        for kind in options.kinds:
            try:
                rows.append(hostile.case(kind))
            except LabError as error:
                failed[kind] = str(error)
                say(f"   not measured: {error}")
    except (LabError, Skip) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was measured until then follows", file=sys.stderr)
        failed["interrupted"] = "the floods after it are missing"
    finally:
        if bed is not None:
            bed.close()
    if calm is None:
        return 1
    print_table(hostile.good_ns, calm, rows)
    print_targets(rows)
    for kind, text in failed.items():
        print(f"not measured: {kind}: {text}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            {"machine": about_machine(), "payload": options.payload, "sessions": options.sessions, "ring": options.ring,
             "good_ns": round(hostile.good_ns, 1), "half_load_pps": round(hostile.half),
             "half_load_share": round(hostile.half_share, 3), "calm": calm, "cases": rows,
             "failed": failed}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
