#!/usr/bin/python3
"""Holds scripts/pktgen to what its tools understand: Pktgen-DPDK's commands and Lua functions (23.03), and bash."""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
FOLDER = ROOT / "scripts" / "pktgen"

PORTS = r"(all|\d+(-\d+)?(,\d+(-\d+)?)*)"
MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"
IP = r"\d+\.\d+\.\d+\.\d+"
# Each form is one that the manual lists or that Pktgen writes itself with `save`.
COMMANDS = [re.compile(form + "$") for form in (
    rf"set {PORTS} (count|size|burst|sport|dport|ttl|prime) \d+",
    rf"set {PORTS} rate (100|\d\d?(\.\d+)?)",
    rf"set {PORTS} (src|dst) mac {MAC}",
    rf"set {PORTS} src ip {IP}/\d+",
    rf"set {PORTS} dst ip {IP}",
    rf"set {PORTS} type (ipv4|ipv6|vlan|arp)",
    rf"set {PORTS} proto (udp|tcp|icmp)",
    rf"set {PORTS} pattern (abc|none|zero|user)",
    rf"set {PORTS} rnd ([0-9]|[12]\d|3[01]) \d+ ([01.X]{{32}}|off)",
    rf"(enable|disable) {PORTS} (random|pcap|range|latency|capture|process)",
    r"pcap show", r"page (main|range|pcap|stats|xstats|rnd|latency|[0-7])",
    rf"clear {PORTS} stats", r"clr", rf"(start|stop) {PORTS}", r"delay \d+", r"quit")]
FUNCTIONS = {"screen", "set", "set_mac", "set_ipaddr", "set_type", "set_proto", "rnd", "clr", "start", "stop", "delay",
             "portStats", "quit"}


def command_faults(path):
    started = 0
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not any(form.match(line) for form in COMMANDS):
            yield f"{number}: Pktgen does not know: {line}"
        started += line.startswith("start ") - line.startswith("stop ")
        # A mask sets four bytes; Pktgen does not check that the frame (without its checksum) has them.
        match = re.match(r"set \S+ rnd \d+ (\d+) ", line)
        sizes = [int(m.group(1)) for m in (re.match(r"set \S+ size (\d+)", other) for other in lines) if m]
        if match and int(match.group(1)) + 4 > min(sizes, default=64) - 4:
            yield f"{number}: the mask lies behind the end of the frame"
    if started:
        yield "a port is left sending"
    if not lines or lines[-1] != "quit":
        yield "does not end with quit"


def lua_faults(path):
    text = path.read_text()
    for name in sorted(set(re.findall(r"\bpktgen\.(\w+)\(", text)) - FUNCTIONS):
        yield f"Pktgen has no function {name}"
    luac = next((tool for tool in ("luac", "luac5.4", "luac5.3", "luac5.2", "luac5.1") if shutil.which(tool)), None)
    if luac:
        result = subprocess.run([luac, "-p", str(path)], capture_output=True, text=True)
        if result.returncode:
            yield result.stderr.strip()
        return
    bare = re.sub(r'--[^\n]*|"[^"\n]*"', "", text)
    for opening, closing in ("()", "[]", "{}"):
        if bare.count(opening) != bare.count(closing):
            yield f"{opening} and {closing} do not match"
    blocks = len(re.findall(r"\b(function|do|then)\b", bare)) - len(re.findall(r"\belseif\b", bare))
    if blocks != len(re.findall(r"\bend\b", bare)):
        yield "a block has no end"


def shell_faults(path):
    result = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    if result.returncode:
        yield result.stderr.strip()
    if path.read_text().startswith("#!") != bool(path.stat().st_mode & 0o100):
        yield "a script with #! must be executable, and no other"


def unlisted(paths):
    readme = (FOLDER / "README.md").read_text()
    for path in paths:
        if path.name not in readme:
            yield f"README.md does not name {path.name}"


CHECKS = {".pkt": command_faults, ".lua": lua_faults, ".sh": shell_faults}


def main():
    paths = sorted(p for p in FOLDER.iterdir() if p.suffix in CHECKS)
    found = [f"scripts/pktgen/{p.name}: {fault}" for p in paths for fault in CHECKS[p.suffix](p)]
    found += unlisted(paths)
    print("\n".join(found) or f"{len(paths)} scripts are in order")
    sys.exit(1 if found or not paths else 0)


if __name__ == "__main__":
    main()
