"""What benches of agents in network namespaces are asked for, the same by each."""
import argparse
import pathlib


def parser(description, seconds, of_seconds, rounds):
    out = argparse.ArgumentParser(description=description)
    out.add_argument("--json", metavar="FILE", help="write the figures there")
    out.add_argument("--seconds", type=type(seconds), default=seconds, help=f"{of_seconds} ({seconds:g})")
    out.add_argument("--rounds", type=int, default=rounds, help=f"one after the other, in turn ({rounds})")
    out.add_argument("--idle", choices=["backoff", "spin"], default="backoff", help="what the relay's worker does without packets (backoff)")
    out.add_argument("--short", action="store_true", help="one short round of all, to see that it runs")
    out.add_argument("--build", default=str(pathlib.Path(__file__).resolve().parent.parent / "build"), help=argparse.SUPPRESS)
    return out
