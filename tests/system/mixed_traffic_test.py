#!/usr/bin/python3
"""30 s of everything at once (meant for the sanitizer build): messages both ways, pings, garbage, floods
of HELLOs, reloads, an agent that restarts. No message is lost, and nothing is reported."""
import os
import signal
import subprocess
import time

from common import ROOT, Traffic, check, main, wait_until

SECONDS = float(os.environ.get("SLUICE_MIXED_SECONDS", "30"))


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected(30)
    flows = [Traffic(lab, "alpha", "beta", 200), Traffic(lab, "beta", "alpha", 200)]
    noise = subprocess.Popen(
        ["ip", "netns", "exec", lab.ns("gamma"), "/usr/bin/python3", str(ROOT / "tests/system/mutate.py"),
         "--interface", "eth0", "--relay", lab.address("gamma", 1), "--own", lab.address("gamma", 2),
         "--count", "10000000", "--rate", "2000"], stdout=subprocess.DEVNULL)
    lab.children.append(noise)
    end = time.monotonic() + SECONDS
    reloads = 0
    while time.monotonic() < end:
        lab.relay.send_signal(signal.SIGHUP)
        reloads += 1
        lab.ctl("counters")
        lab.ctl("agents")
        time.sleep(1)
        if reloads % 10 == 5:
            lab.end(lab.daemons["gamma"])
            lab.start_agent("gamma")
    lab.end(noise, signal.SIGKILL)
    for flow in flows:
        flow.stop().check_whole()
    check(reloads > 5, f"{reloads} reloads")
    check(sum(lab.drops().values()) > 1000, "the noise arrived and was dropped")
    for name in lab.names:
        check(lab.end(lab.daemons[name], signal.SIGTERM, 30) == 0, f"{name}'s daemon ends with 0")
    check(lab.end(lab.relay, signal.SIGTERM, 30) == 0, "the relay ends with 0, so no sanitizer spoke")
    for log in lab.dir.glob("*.log"):
        text = log.read_text(errors="replace")
        check("Sanitizer" not in text and "runtime error" not in text, f"{log.name} is clean")


main(test, agents=("alpha", "beta", "gamma"), pairs=[("alpha", "beta")])
