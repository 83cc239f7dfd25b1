#!/usr/bin/python3
"""Plots a benchmark's figures as SVG: bench/plot.py NAME JSON FOLDER. scripts/bench calls it; bench/README.md says
what the figures are. Without matplotlib it says so and changes nothing."""
import json
import pathlib
import sys

try:
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("no plots: matplotlib is missing (apt install python3-matplotlib)")

matplotlib.rcParams.update({"svg.fonttype": "none", "figure.figsize": (7, 4.2), "axes.grid": True,
                            "grid.alpha": 0.3, "legend.frameon": False, "font.size": 9})


class Plots:
    def __init__(self, name, folder):
        self.name, self.folder = name, pathlib.Path(folder)
        self.written = []

    def write(self, what, title, x, y, lines, log_x=True, log_y=False):
        """`lines`: {label: [(x, y)]}; without points there is no plot."""
        lines = {label: sorted(points) for label, points in lines.items() if points}
        if not lines:
            return
        figure, axes = plt.subplots()
        for label, points in lines.items():
            axes.plot(*zip(*points), marker="o", markersize=3, linewidth=1.2, label=label)
        if log_x:
            axes.set_xscale("log", base=2 if "byte" in x else 10)
            ticks = sorted({p[0] for points in lines.values() for p in points})
            axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
            axes.minorticks_off()
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        self.save(figure, what)

    def bars(self, what, title, y, groups, log_y=False):
        """`groups`: {label: {category: value}}."""
        categories = list(dict.fromkeys(c for values in groups.values() for c in values))
        if not categories:
            return
        figure, axes = plt.subplots()
        width = 0.8 / len(groups)
        for i, (label, values) in enumerate(groups.items()):
            at = [n + i * width for n, c in enumerate(categories) if c in values]
            axes.bar(at, [values[c] for c in categories if c in values], width, label=label)
        axes.set_xticks([n + 0.4 - width / 2 for n in range(len(categories))], categories, rotation=20)
        if log_y:
            axes.set_yscale("log")
        axes.set(title=title, ylabel=y)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        self.save(figure, what)

    def save(self, figure, what):
        path = self.folder / f"{self.name}-{what}.svg"
        figure.savefig(path, bbox_inches="tight")  # the legend stands beside the axes
        plt.close(figure)
        self.written.append(path.name)


def relay(p, data):
    cases = [c for c in data["cases"] if "relay_ns" in c]
    for seal in dict.fromkeys(c["seal"] for c in cases):
        one = [c for c in cases if c["seal"] == seal and c["workers"] == 1]
        fewest = min((c["sessions"] for c in one), default=0)
        lines = {f"{n:,} sessions": [(c["payload"], c["relay_ns"]) for c in one if c["sessions"] == n]
                 for n in sorted({c["sessions"] for c in one})}
        lines["both floors"] = [(c["payload"], c["gcm_floor_ns"] + c["forward_floor_ns"]) for c in one
                                if c["sessions"] == fewest]
        p.write(f"{seal}-size", f"One worker, {seal} seal", "payload, bytes", "ns per packet", lines)
        p.write(f"{seal}-sessions", f"One worker, {seal} seal", "sessions", "Mpps",
                {f"{size} bytes": [(c["sessions"], c["mpps"]) for c in one if c["payload"] == size]
                 for size in sorted({c["payload"] for c in one})})


def stages(p, data):
    names = ("rx", "parse", "lookup", "open", "commit", "authorize", "seal", "deliver")
    cases = [c for c in data["cases"] if "skipped" not in c]
    p.bars("ns", "A packet's time by stage", "ns",
           {f"{c['seal']}, {c['payload']} bytes, {c['sessions']:,} sessions":
            {n: c["ns"][n] for n in names} for c in cases})


def scale(p, data):
    for what in ("sessions", "edges", "workers"):
        p.write(what, "One worker, 64 bytes, full seal" if what != "workers" else "64 bytes, full seal", what,
                "ns per packet and core", {"relay": [(r[what], r["relay_ns"]) for r in data[what] if "relay_ns" in r]})


def wire(p, data):
    cases = [c for c in data["cases"] if "zero_loss_pps" in c]
    sized = [c for c in cases if c["payload"] != "imix"]
    p.write("rate-sessions", "Highest rate without loss over memif", "sessions", "Mpps",
            {f"{c['seal']}, {c['payload']} bytes": [(d["sessions"], d["zero_loss_pps"] / 1e6) for d in cases
                                                    if (d["seal"], d["payload"]) == (c["seal"], c["payload"])]
             for c in cases})
    p.write("rate-size", "Highest rate without loss over memif", "payload, bytes", "Mpps",
            {f"{c['seal']}, {c['sessions']:,} sessions": [(d["payload"], d["zero_loss_pps"] / 1e6) for d in sized
                                                          if (d["seal"], d["sessions"]) == (c["seal"], c["sessions"])]
             for c in sized})
    p.bars("latency", "Latency at 80 % of that rate", "µs",
           {q: {f"{c['seal']} {c['payload']} B, {c['sessions']:,}": c["latency_us"]["80"][q] for c in cases
                if c.get("latency_us", {}).get("80")} for q in ("p50", "p99", "p999")}, log_y=True)


def hostile(p, data):
    p.bars("cost", "What a flood's packet costs the worker, against a good one", "ratio",
           {"cost": {c["kind"]: c["cost_ratio"] for c in data["cases"]}})
    p.bars("goodput", "Good traffic that came back", "share of what was sent",
           {"half load, core 95 % full": {c["kind"]: c["goodput"] for c in data["cases"]},
            "flood as fast as the generator can": {c["kind"]: c["maximum"]["goodput"] for c in data["cases"]}})


def revoke(p, data):
    steps = ("report_us", "fence_us", "wipe_us", "sync_us", "durable_us", "ack_us")
    p.bars("steps", f"{data['revocations']:,} revocations under full load", "µs",
           {q: {s[:-3]: data[s][q] for s in steps if s in data} for q in ("p50", "p99", "p999", "max")}, log_y=True)


def peers(p, data):
    rows = data["peers"]
    sizes = sorted({r["payload"] for r in rows})
    p.bars("rate", "One core of the relay's host, veth pairs", "packets/s",
           {f"{size} bytes": {r["title"]: r["pps"] for r in rows if r["payload"] == size} for size in sizes})


def main():
    name, source, folder = sys.argv[1:4]
    draw = globals().get(name)
    if draw is None or name == "main":
        return
    plots = Plots(name, folder)
    draw(plots, json.loads(pathlib.Path(source).read_text()))
    if plots.written:
        print(f"   plots in {folder}: {' '.join(plots.written)}")


main()
