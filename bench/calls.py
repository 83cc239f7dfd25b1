#!/usr/bin/python3
"""Signed calls: signatures in the call path against the verifier alone, data beside calls, tenants beside one that floods, and
how many records a second go into the audit log. bench/README.md, "calls"."""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]
from machine import about_machine  # noqa: E402

PARTS = ("rates", "latency", "tenants", "audit", "observability")


def run(options, name, *arguments):
    """What the program found; it prints its own table."""
    out = options.build / "bench" / f"calls-{name}.json"
    out.unlink(missing_ok=True)  # figures of an earlier run are none of this one
    argv = [options.build / "bench" / name, *arguments, "--json", out]
    code = subprocess.run([str(a) for a in argv], check=False).returncode
    return json.loads(out.read_text()) if out.exists() else {}, code


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=pathlib.Path, help="write the figures there")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    p.add_argument("--agents", type=int, default=4096, help="that call each other (default %(default)s)")
    p.add_argument("--call-rate", type=float, default=50_000, help="calls a second beside data (default %(default).0f)")
    p.add_argument("--state", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="where store and audit log are made")
    p.add_argument("--short", action="store_true", help="for trials: a turn of each, moments long")
    options = p.parse_args()
    # What is not measured is there as null.
    out = dict.fromkeys(("calls_per_second", "verify_per_second", "ratio", "added_p99_us_inline", "added_p99_us_verifier",
                         "audit_records_per_second", "jain_index", "p99_change", "observability_cost"))
    out["machine"] = about_machine()
    code = 0
    parts = [part for part in options.only if part not in ("audit", "observability")]
    state = ("--state", options.state)
    if parts:
        short = ("--slices", 1, "--seconds", 0.05, "--turns", 1, "--turn-seconds", 0.02) if options.short else ()
        figures, code = run(options, "call_path", "--agents", options.agents, "--parts", ",".join(parts), "--call-rate",
                            options.call_rate, *state, *short)
        out.update(figures)
    if "audit" in options.only:
        print("\n   the audit log:", flush=True)
        figures, second = run(options, "audit", *state, *(("--runs", 1, "--seconds", 1) if options.short else ()))
        out.update({key: figures.get(key) for key in ("audit_records_per_second",)}, audit=figures)
        code = code or second
    if "observability" in options.only:
        print("\n   metrics and histograms:", flush=True)
        figures, second = run(options, "observability", *(("--pairs", 30, "--payload", 64) if options.short else ()))
        # The dearest case: the lower end of its interval, in percent and in ns.
        worst = max(figures.get("cases", []), key=lambda case: case["cost_percent"]["low"], default=None)
        if worst:
            out["observability_cost"] = {"percent": worst["cost_percent"]["low"], "ns": worst["cost_ns"]["low"]}
            print(f"   dearest case: {worst['cost_percent']['low']:.2f} % or {worst['cost_ns']['low']:.2f} ns at the lower end "
                  f"(target 2 % or 2 ns)")
        out["observability"] = figures
        code = code or second
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
