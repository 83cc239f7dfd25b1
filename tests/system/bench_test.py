#!/usr/bin/python3
"""scripts/bench's wire, hostile, calls and inject: all run to their end with hugepages, what they write is complete and
consistent, and nothing stays behind. Their figures are not judged here: other tests may load the machine."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from common import BUILD, LabError, check
from lab import ROOT, Lab

PAGES = 200
LIMIT = 240  # seconds for each


def bench(name, *options):
    script = ROOT / "bench" / f"{name}.py"
    argv = [sys.executable, script, "--build", BUILD] if script.exists() else [BUILD / "bench" / name]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        child = subprocess.Popen([*argv, "--json", out, *options],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            table, progress = child.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            child.terminate()
            _, progress = child.communicate(timeout=30)
            raise LabError(f"{name} took more than {LIMIT} s:\n{progress[-2000:]}") from None
        check(child.returncode == 0, f"{name} ends with 0 (it wrote {len(progress)} bytes)" +
              (f":\n{table[-1000:]}\n{progress[-2000:]}" if child.returncode else ""))
        left = list(pathlib.Path("/var/run/dpdk").glob(f"sb{child.pid}*"))
        check(not left, f"it leaves no runtime folder: {left}")
        return json.loads(out.read_text()), table


def wire():
    out, table = bench("wire", "--sessions", "64", "--payload", "imix", "--seal", "header", "--seconds", "0.5",
                       "--slices", "1", "--rounds", "2", "--resolution", "20", "--loss-tolerance", "5")
    check(not out["failed"] and [c["payload"] for c in out["cases"]] == ["imix"], "the case is there")
    for c in out["cases"]:
        floors = c["gcm_floor_ns"] + c["forward_floor_ns"]
        check(c["busy_ns"] > 0 and abs(c["efficiency"] - floors / c["busy_ns"]) < 0.01, f"efficiency: {c['efficiency']}")
        check(0 < c["packets_per_poll"] <= out["burst"] and 0 <= c["idle_polls_flat_out"] <= 1, "polls add up")
        check(c["limited_by"] in ("relay", "generator") and c["flat_out_pps"] >= c["zero_loss_pps"], "rates make sense")
        # With other tests on the machine there may be no rate that holds.
        check(set(c["latency_us"]) == set(c["hiccups"]) == ({"50", "80"} if c["zero_loss_pps"] else set()),
              "latency and stalls stand beside each other")
    check("efficiency" in table or "effi-" in table, "and a table for people")


def hostile():
    out, table = bench("hostile", "--short", "--sessions", "64", "--kinds", "unknown", "hello")
    check(not out["failed"] and [c["kind"] for c in out["cases"]] == ["unknown", "hello"], "both floods are there")
    check(out["good_ns"] > 0 and 0 < out["half_load_share"] <= 0.5, f"a good packet costs {out['good_ns']} ns")
    for c in out["cases"]:
        check(c["flood_pps"] > 0 and 0 <= c["goodput"] <= 1 and c["latency_us"]["count"] > 0, f"{c['kind']} was measured")
        check(c["maximum"]["flood_pps"] > 0 and c["maximum"]["good_pps"] > 0, "and at the generator's maximum")
    check(out["cases"][0]["drops"].get("unknown_receiver", 0) > 1000, "unknown ones died as unknown_receiver")
    storm = out["cases"][1]["maximum"]["drops"]
    check(storm.get("hello_budget", 0) + storm.get("punt_full", 0) > 0, f"the storm was cut off: {storm}")
    check("a good packet costs" in table, "and a table for people")


def calls():
    """With fewer agents than pages suffice for; no figure is judged, but those of one run belong together."""
    out, table = bench("calls", "--short", "--agents", "400", "--call-rate", "2000")
    keys = {"calls_per_second", "verify_per_second", "ratio", "added_p99_us_inline", "added_p99_us_verifier",
            "audit_records_per_second", "jain_index", "p99_change", "observability_cost"}
    check(keys <= set(out), "every figure has its place")
    check(out["calls_per_second"] > 0 and abs(out["verify_per_second"] / out["calls_per_second"] - 2) < 0.01,
          f"two signatures a call: {out['calls_per_second']} calls/s")
    alone = max(out["verifier_alone_per_second"].values())
    check(alone > 0 and 0 < out["ratio"] < 1.5 and all(ns >= 0 for ns in out["call_ns"].values()), f"ratio: {out['ratio']}")
    check(out["latency"]["p99_us_alone"] > 0 and out["latency"]["p99_us_beside"] > 0, "latency was measured both ways")
    check(0 < out["jain_index"] <= 1 and set(out["tenants"]) == {"flood_within_load", "flood_beyond_load"}, "both floods are there")
    check(out["latency_with_verifier"]["p99_us_beside"] > 0, "with a verifier as well")
    check(out["audit_records_per_second"] > 0, "and the audit log")
    check(set(out["observability_cost"]) == {"percent", "ns"}, "and what metrics cost")
    check("a call: 4 frames, 2 signatures" in table, "and a table for people")


def inject():
    out, table = bench("inject", "--agents", "400", "--turns", "1", "--seconds", "0.05", "--rotations", "20")
    check(out["call_ns"]["with"] > 0 and out["call_ns"]["without"] > 0 and out["ratio"] > 0, "calls with and without were measured")
    check((out["failed_calls"], out["old_value_after_ack"]) == (0, 0) and out["calls_under_rotation"] > 0,
          f"{out['calls_under_rotation']} calls under rotation")
    check("added" in table, "and a table for people")


def main():
    if len(os.sched_getaffinity(0)) < 2 or Lab.free_hugepages() < PAGES or os.geteuid() != 0:
        print(f"skipped: needs root, two cores and {PAGES} free hugepages (scripts/setup)")
        raise SystemExit(77)
    tests = (wire, hostile, calls, inject)
    for test in [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]:
        print(f"--- {test.__name__}", flush=True)
        test()
    print("passed")


main()
