#!/usr/bin/python3
"""The relay dies with -9 and comes back: agents return by themselves, the revoked stay out, addresses
stay. SIGHUP takes a new trust section and refuses a broken one. SIGTERM drains and exits 0."""
import os
import pathlib
import signal
import time

from common import check, main, ping_ok, wait_until


def busy_share(pid, seconds=1.0):
    """The part of `seconds` that the process's main thread, control's, spent on a core."""
    def ticks():
        fields = pathlib.Path(f"/proc/{pid}/task/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    before = ticks()
    time.sleep(seconds)  # a measured time, not a wait
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    check(ping_ok(lab, "alpha", "beta"), "alpha reaches beta")
    addresses = {a["name"]: a["address"] for a in lab.ctl("agents")["agents"]}
    epoch = lab.ctl("status")["epoch"]
    share = busy_share(lab.relay.pid)
    check(share < 0.4, f"after requests, too, control rests between its rounds: busy for {share:.0%}")

    lab.ctl("revoke", "gamma")
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    check(lab.ctl("status")["epoch"] != epoch, "a new epoch after the crash")
    agents = {a["name"]: a for a in lab.ctl("agents")["agents"]}
    check({n: a["address"] for n, a in agents.items()} == addresses, "addresses are for good")
    check(agents["gamma"]["state"] == "revoked", "gamma is revoked before anything is polled")
    wait_until("alpha and beta to come back by themselves",
               lambda: all(a["session"] for a in lab.ctl("agents")["agents"] if a["name"] != "gamma"), 30, 0.1)
    wait_until("messages after the restart", lambda: ping_ok(lab, "alpha", "beta", 5), 20, 0.2)
    check(True, "messages flow again without a hand's turn")
    check(lab.ctl("counters")["handshakes"]["welcomed"] >= 2, "by new handshakes")
    wait_until("a refused HELLO of gamma",
               lambda: lab.ctl("counters")["handshakes"]["revoked_identity"] > 0, 20, 0.1)
    check(not [a for a in lab.ctl("agents")["agents"] if a["name"] == "gamma" and a["session"]],
          "gamma has no session")

    # A broken file changes nothing.
    good = lab.config.read_text()
    lab.config.write_text(good + "nonsense: 1\n")
    lab.relay.send_signal(signal.SIGHUP)
    wait_until("the refusal in the log", lambda: "reload refused" in lab.relay_log(), 5)
    check(len(lab.ctl("edges")["edges"]) == 2, "the edges stay as they were")
    # Without its pair, alpha's messages are refused; with it they pass again.
    lab.write_config(lab.names, [])
    lab.relay.send_signal(signal.SIGHUP)
    wait_until("no edges", lambda: not lab.ctl("edges")["edges"], 5)
    wait_until("alpha's set to be empty", lambda: not lab.peers("alpha"), 5)
    check(lab.agent("alpha", "send", "beta", "x", check=False).returncode != 0, "alpha is refused")
    lab.config.write_text(good)
    lab.relay.send_signal(signal.SIGHUP)
    wait_until("messages after the pair came back", lambda: ping_ok(lab, "alpha", "beta", 5), 10, 0.2)
    check(True, "and admitted again after the next reload")

    check(lab.end(lab.relay, signal.SIGTERM, 10) == 0, "SIGTERM drains and exits 0")
    check(not lab.socket.exists(), "the admin socket is gone")


main(test, agents=("alpha", "beta", "gamma"))
