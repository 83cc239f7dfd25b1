#!/usr/bin/python3
"""Sessions renew themselves after 120 s while messages flow both ways: none is lost, none comes twice.
Runs past 180 s, so that the first sessions have expired, too."""
import os
import time

from common import Traffic, check, main

SECONDS = float(os.environ.get("SLUICE_REKEY_SECONDS", "190"))


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    first = {a["name"]: a["session"]["index"] for a in lab.ctl("agents")["agents"]}
    flows = [Traffic(lab, "alpha", "beta", 300), Traffic(lab, "beta", "alpha", 300)]
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(1)
    for flow in flows:
        flow.stop().check_whole()
    now = {a["name"]: a["session"]["index"] for a in lab.ctl("agents")["agents"]}
    check(all(now[n] != first[n] for n in lab.names), f"every session was renewed: {first} -> {now}")
    drops = lab.drops()
    check(not set(drops) - {"keepalive", "ping_rate", "ndp_ignored", "arp_ignored", "ip_extension", "not_for_us"},
          f"nothing was dropped on the way: {drops}")
    check(lab.ctl("status")["sessions"]["confirmed"] <= 4, "old sessions are reclaimed")


main(test)
