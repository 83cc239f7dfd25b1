#!/usr/bin/python3
"""Jumbo frames over net_af_packet, whole in one buffer, under both seals: messages of every size up to what
9,000 bytes of IP carry arrive unchanged both ways; one byte more is refused at the sender with the limit."""
import base64
import json

from common import LabError, check, main, run, wait_until

MTU = 9000
# IPv4, UDP, outer header, tag and frame header, end-to-end header and tag.
LARGEST = MTU - 20 - 8 - 48 - 33


def exchange(lab, sender, receiver, text):
    lab.agent(sender, "send", receiver, text)
    out = lab.agent(receiver, "recv", "--count", "1", "--timeout", "10", "--json").stdout
    return base64.b64decode(json.loads(out.splitlines()[0])["data"]).decode() == text


def test(lab):
    # An interface that carries less would drop what the relay sends, without a word.
    run("ip", "-n", lab.ns("relay"), "link", "set", "r0", "mtu", "1500")
    try:
        lab.start_relay()
        raise AssertionError("the relay started on an interface with too small an MTU")
    except LabError as error:
        check("carries an MTU of 1500, not 9000: ip link set r0 mtu 9000" in str(error), "it says what to do")
    run("ip", "-n", lab.ns("relay"), "link", "set", "r0", "mtu", str(MTU))

    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    seals = {(e["from"], e["to"]): e["seal"] for e in lab.ctl("edges")["edges"]}
    check(seals["alpha", "beta"] == seals["beta", "alpha"] == "full", "alpha and beta: full seal")
    check(seals["alpha", "gamma"] == seals["gamma", "alpha"] == "header", "alpha and gamma: header seal")
    for peer in ("beta", "gamma"):
        for size in (1, 1372, 1500, 4096, LARGEST):
            text = "".join(chr(97 + (i * 7 + size) % 26) for i in range(size))
            check(exchange(lab, "alpha", peer, text), f"alpha -> {peer}: {size} bytes arrive unchanged")
            check(exchange(lab, peer, "alpha", text), f"{peer} -> alpha: {size} bytes arrive unchanged")
        too_long = lab.agent("alpha", "send", peer, "x" * (LARGEST + 1), check=False)
        check(too_long.returncode != 0 and str(LARGEST) in too_long.stderr,
              f"{LARGEST + 1} bytes are refused with the limit: {too_long.stderr.strip()}")
    bad = {r: n for r, n in lab.drops().items() if r in ("mtu", "gso_frame", "fragment", "bad_tag", "seal_not_allowed")}
    check(not any(bad.values()), f"nothing died on the way: {bad}")
    wait_until("the relay's own count", lambda: lab.ctl("counters")["workers"][0]["forwarded"] >= 20, 5)


main(test, agents=("alpha", "beta", "gamma"), pairs=[("alpha", "beta"), ("alpha", "gamma")], mtu=MTU,
     seals={("alpha", "gamma"): "header"})
