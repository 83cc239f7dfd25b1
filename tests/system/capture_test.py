#!/usr/bin/python3
"""DPDK's own tools on a running relay in eal.mode shared: dpdk-dumpcap captures what is on the wires, sealed, and leaves
the relay as it was; dpdk-telemetry.py asks it; nobody but root can do either."""
import json
import pathlib
import re
import shutil
import signal
import stat
import subprocess

from common import Traffic, check, main, run, wait_until
from lab import Lab, LabError
from scapy.layers.inet import UDP
from scapy.utils import rdpcap

PORT = 7600
SECRET = b"traffic-alpha-"


def in_relay(lab, *argv):
    return ["ip", "netns", "exec", lab.ns("relay"), *map(str, argv)]


def share(lab):
    """Hugepages in files, in a hugetlbfs of this test's own."""
    pages = lab.dir / "huge"
    pages.mkdir()
    run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M,mode=0700", "hugetlbfs", pages)
    text = lab.config.read_text()
    lab.config.write_text(text.replace("mode: in_memory", f'mode: shared, args: ["--huge-dir", "{pages}"]'))
    return pages


def dumpcap(lab, *args):
    return in_relay(lab, "dpdk-dumpcap", f"--file-prefix={lab.tag}", *args)


def capture(lab, port, file, *more):
    """Runs until `end_capture`; whoever waits for it sees packets being counted."""
    child = subprocess.Popen(dumpcap(lab, "-i", port, "-P", "-w", file, *more), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    lab.children.append(child)
    wait_until("a capture", lambda: child.poll() is not None or (file.exists() and file.stat().st_size > 24), 20)
    if child.poll() is not None:
        raise LabError(f"dpdk-dumpcap ends with {child.returncode}: {child.stdout.read()}")
    return child


def end_capture(child, file):
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=20)[0]
    check(child.returncode == 0, f"dpdk-dumpcap ends in order: {' '.join(said.split())[-120:]}")
    return rdpcap(str(file))


def settled(traffic, more):
    """As much again has arrived."""
    goal = len(traffic.got) + more
    wait_until("traffic", lambda: len(traffic.got) >= goal, 30)


def check_capture(lab):
    listed = run(*dumpcap(lab, "-D")).stdout
    check(len(re.findall(r"^\d+\. net_af_packet\d", listed, re.M)) == 2,
          f"dpdk-dumpcap -D lists the ports: {' '.join(listed.split())}")
    file = lab.dir / "alpha.dumpcap"
    child = capture(lab, "net_af_packet0", file)
    wait_until("600 packets", lambda: len(rdpcap(str(file))) >= 600, 30, 0.2)
    packets = end_capture(child, file)
    tunnel = [bytes(p[UDP].payload) for p in packets if UDP in p and PORT in (p[UDP].sport, p[UDP].dport)]
    there = sum(1 for p in packets if UDP in p and p[UDP].dport == PORT)
    check(there >= 100 and len(tunnel) - there >= 100,
          f"alpha's wire was captured: {there} tunnel packets to the relay, {len(tunnel) - there} from it")
    check(not any(SECRET in t for t in tunnel), "and all of it is sealed")
    outside = lab.captures["alpha"][1]  # tcpdump gets frames from the kernel in blocks, up to a second later

    def missing():
        return set(tunnel) - {bytes(p[UDP].payload) for p in rdpcap(str(outside)) if UDP in p}
    wait_until("each of them on the wire, byte for byte,", lambda: not missing(), 15, 0.5)
    lab.stop_captures()
    print("ok: each of them was on the wire, byte for byte")


def check_filter(lab):
    file = lab.dir / "filtered.dumpcap"
    run(*dumpcap(lab, "-i", "net_af_packet1", "-P", "-w", file, "-f", f"udp and src host {lab.address('beta', 1)}", "-s", "60",
                 "-c", "100"),
        timeout=30)
    packets = rdpcap(str(file))
    check(len(packets) >= 100 and {p["IP"].src for p in packets} == {lab.address("beta", 1)},
          f"a filter and a length: {len(packets)} packets to beta alone")
    check(max(len(bytes(p)) for p in packets) <= 60, "of 60 bytes each")


def check_killed(lab, traffic):
    """Its callbacks stay on the workers; traffic goes on all the same."""
    file = lab.dir / "killed.dumpcap"
    child = capture(lab, "net_af_packet0", file)
    child.kill()
    child.wait()
    settled(traffic, 1100)  # more than its ring holds
    again = run(*dumpcap(lab, "-i", "net_af_packet0", "-P", "-c", "5", "-w", lab.dir / "again.dumpcap"), check=False,
                timeout=30)
    check(again.returncode != 0 and "Packet dump enable failed" in again.stderr, "and nobody captures on that port any more")


def check_closed(lab):
    """Root's alone: the runtime folder, its sockets, the pages."""
    folder = pathlib.Path("/var/run/dpdk", lab.tag)
    check(stat.S_IMODE(folder.stat().st_mode) == 0o700, "the runtime folder is its owner's alone")
    nobody = in_relay(lab, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "RUNTIME_DIRECTORY=/var/run",
                      "dpdk-dumpcap", f"--file-prefix={lab.tag}", "-D")
    refused = run(*nobody, check=False)
    check(refused.returncode != 0 and "Permission denied" in refused.stderr and "net_af_packet" not in refused.stdout,
          "somebody else does not attach")


def check_telemetry(lab):
    asked = run("dpdk-telemetry.py", "-f", lab.tag, input="/sluice/workers,0\n/sluice/drops\n/ethdev/list\nquit\n",
                timeout=20).stdout
    answers = {}
    decoder = json.JSONDecoder()
    for at in (m.start() for m in re.finditer(r"\{", asked)):
        try:
            answers.update(decoder.raw_decode(asked[at:])[0])
        except ValueError:
            continue
    check(answers["/sluice/workers"]["forwarded"] > 0 and answers["/ethdev/list"] == [0, 1],
          "dpdk-telemetry.py has the relay's counters and DPDK's ports")
    check(set(answers["/sluice/drops"]) == {d["reason"] for d in lab.ctl("counters")["drops"]}, "and every reason of a drop")


def test(lab):
    if not lab.huge:
        print("skipped: dpdk-dumpcap attaches to hugepages in files, and there are not enough free ones (scripts/setup)")
        raise SystemExit(77)
    if shutil.which("dpdk-dumpcap") is None:
        print("skipped: dpdk-dumpcap is not installed (scripts/setup)")
        raise SystemExit(77)
    pages = share(lab)
    try:
        lab.start_relay()
        for name in lab.names:
            lab.start_agent(name)
        lab.wait_connected(60)
        lab.capture("alpha")
        traffic, back = Traffic(lab, "alpha", "beta", rate=300), Traffic(lab, "beta", "alpha", rate=300)
        wait_until("traffic", lambda: len(traffic.got) > 50, 20)
        check_closed(lab)
        check_capture(lab)
        check_filter(lab)
        check_telemetry(lab)
        check_killed(lab, traffic)
        settled(traffic, 100)
        for flow in (traffic, back):
            flow.stop().check_whole()
        check(lab.end(lab.relay) == 0, "the relay ends in order")
    finally:
        for child in lab.children:
            lab.end(child)
        run("umount", pages)


if Lab.free_hugepages() * 2 < 256:
    print("skipped: dpdk-dumpcap attaches to hugepages in files, and there are not enough free ones (scripts/setup)")
    raise SystemExit(77)
main(test, idle="backoff", limits={"agents": 64, "edges": 256, "sessions": 256})
