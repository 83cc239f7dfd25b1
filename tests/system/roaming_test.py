#!/usr/bin/python3
"""An agent's own address changes while messages flow to it: the relay follows after its challenge."""
from common import check, main, ping_ok, run, wait_until


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    check(ping_ok(lab, "alpha", "beta"), "alpha reaches beta")
    endpoint = {a["name"]: a["session"]["endpoint"] for a in lab.ctl("agents")["agents"]}["alpha"]
    address = lab.address("alpha", 2)
    moved = address.rsplit(".", 1)[0] + ".99"
    run("ip", "-n", lab.ns("alpha"), "addr", "add", f"{moved}/24", "dev", "eth0")
    run("ip", "-n", lab.ns("alpha"), "addr", "del", f"{address}/24", "dev", "eth0")
    if not run("ip", "-n", lab.ns("alpha"), "addr", "show", "dev", "eth0").stdout.count(moved):
        run("ip", "-n", lab.ns("alpha"), "addr", "add", f"{moved}/24", "dev", "eth0")
    wait_until("messages from the new address", lambda: ping_ok(lab, "alpha", "beta", 3), 15, 0.2)
    wait_until("messages to the new address", lambda: ping_ok(lab, "beta", "alpha", 3), 15, 0.2)
    now = {a["name"]: a["session"]["endpoint"] for a in lab.ctl("agents")["agents"]}["alpha"]
    check(now.startswith(moved), f"the endpoint moved from {endpoint} to {now}")
    totals = lab.ctl("counters")["totals"]
    check(totals["roamed"] >= 1 and lab.ctl("counters")["handshakes"]["welcomed"] == 2,
          f"{totals['challenges']} challenges sent, {totals['roamed']} answered, no new handshake")


main(test)
