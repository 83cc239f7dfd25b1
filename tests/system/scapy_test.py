#!/usr/bin/python3
"""100,000 mutated packets from an agent's own wire while good traffic goes on without a lost message."""
import subprocess

from common import ROOT, Traffic, check, main, ping_ok, wait_until

COUNT = 100_000


def test(lab):
    lab.start_relay()
    for name in ("alpha", "beta"):
        lab.start_agent(name)
    wait_until("alpha and beta to connect", lambda: ping_ok(lab, "alpha", "beta", 3), 20, 0.2)
    before = lab.ctl("counters")["totals"]["rx_packets"]
    macs = {p["name"]: p["mac"] for p in lab.ctl("status")["ports"]}
    flows = [Traffic(lab, "alpha", "beta", 300), Traffic(lab, "beta", "alpha", 300)]
    noise = []
    for name, share in (("gamma", COUNT // 2), ("alpha", COUNT - COUNT // 2)):
        noise.append(subprocess.Popen(
            ["ip", "netns", "exec", lab.ns(name), "/usr/bin/python3", str(ROOT / "tests/system/mutate.py"),
             "--interface", "eth0", "--relay", lab.address(name, 1), "--own", lab.address(name, 2),
             "--relay-mac", macs[f"to-{name}"], "--count", str(share), "--rate", "6000", "--seed", str(share + len(noise))],
            stdout=subprocess.PIPE, text=True))
        lab.children.append(noise[-1])
    sent = sum(int(n.communicate(timeout=300)[0]) for n in noise)
    for flow in flows:
        flow.stop().check_whole()
    totals = lab.ctl("counters")["totals"]
    check(sent == COUNT, f"{sent} mutated packets sent")
    # The af_packet driver asks the kernel to reassemble, so mutated fragments (a seventh of the corpus) never arrive.
    check(totals["rx_packets"] - before > COUNT * 0.83, f"{totals['rx_packets'] - before} packets received meanwhile")
    drops = lab.drops()
    check(sum(drops.values()) > COUNT // 2 and len(drops) >= 10, f"dropped for {len(drops)} different reasons: {drops}")
    balance = totals["rx_packets"] + totals["injected"] + totals["handed_in"] + totals["challenges"] + totals["credentials"] + totals["resumed"]
    spent = totals["tx_packets"] + totals["punted"] + totals["handed_out"] + totals["parked"] + totals["drops"]
    check(abs(balance - spent) <= 64, f"the books balance: {balance} in, {spent} out")
    check(lab.end(lab.relay) == 0, "the relay still ends in order")


main(test, agents=("alpha", "beta", "gamma"), pairs=[("alpha", "beta")])
