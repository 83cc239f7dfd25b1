#!/usr/bin/python3
"""The relay's key is replaced under traffic: nobody notices but the agents, which pin the new one; -9 in between, an agent that
was away, one that stayed away too long, and what a join string is then."""
import base64
import pathlib
import signal
import subprocess

from common import BUILD, Traffic, check, main, ping_ok, wait_until


def join_of(lab, name):
    return subprocess.run([BUILD / "sluiced", "-c", lab.config, "--join", lab.address(name, 1)],
                          capture_output=True, text=True, check=True).stdout


def key_of(lab, name):
    return lab.info(name)["relay"]["key"]


def up(lab, name):
    return bool((lab.info(name).get("session") or {}).get("up"))


def test(lab):
    lab.start_relay()
    for name in ("alpha", "beta"):
        lab.start_agent(name)
    connected = lambda *names: all(up(lab, n) and lab.peers(n) for n in names)  # noqa: E731
    wait_until("alpha and beta", lambda: connected("alpha", "beta"), 20, 0.1)
    first = lab.ctl("relay", "keys")
    check(first["id"] == first["key"] and first["previous"] is None and first["number"] == 0, "there is one key")
    check("~" not in join_of(lab, "alpha"), "which the join string names alone")

    traffic = Traffic(lab, "alpha", "beta", rate=200)
    second = lab.ctl("relay", "rotate-key", "--overlap", "1h")
    check(second["key"] != first["key"] and second["id"] == first["id"], "a new key, and the relay's name stays")
    check(second["previous"]["key"] == first["key"], "the first is still answered")
    old = key_of(lab, "gamma")
    wait_until("both to have pinned it", lambda: key_of(lab, "alpha") == key_of(lab, "beta") != old, 10, 0.1)
    traffic.stop()
    traffic.check_whole()
    check(True, "no message was lost over it")
    check(lab.ctl("relay", "rotate-key", check=False) is None and lab.ctl("relay", "keys") == second, "a third key waits")

    # -9, with the new key on disk alone; agents come back by themselves, with the new key.
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    check(lab.ctl("relay", "keys") == second, "both keys survive a crash")
    wait_until("messages after the restart", lambda: connected("alpha", "beta") and ping_ok(lab, "alpha", "beta", 3), 40, 0.2)

    # Gamma was away, knows the first key alone, and hears of the second.
    lab.start_agent("gamma")
    wait_until("gamma with the new key", lambda: up(lab, "gamma") and key_of(lab, "gamma") == key_of(lab, "alpha"), 20, 0.1)
    lab.end(lab.daemons["gamma"])
    lab.ctl("relay", "retire-key")
    check(lab.ctl("relay", "keys")["previous"] is None, "the first key is over")
    lab.start_agent("gamma")
    wait_until("gamma after the end of the first key", lambda: up(lab, "gamma"), 20, 0.1)
    files = [(p.name, p.stat().st_mode & 0o777) for p in pathlib.Path(lab.state).glob("*tunnel*")]
    public = base64.urlsafe_b64decode(second["key"] + "=").hex()
    check(files == [(f"tunnel-{public[:16]}.key", 0o600)], "the new key alone lies beside the store")

    # Delta stayed away for all of it: only a new join string helps, and is of the same relay.
    lab.start_agent("delta")
    wait_until("delta's HELLOs to die", lambda: lab.drops().get("bad_mac1", 0) > 0, 15, 0.1)
    check(not up(lab, "delta"), "an agent with the first key alone is not answered")
    refused = lab.agent("delta", "rejoin", check=False, input=join_of(lab, "delta"))
    check(refused.returncode != 0 and "running" in refused.stderr, "a running agent does not rejoin")
    lab.end(lab.daemons["delta"])
    foreign = join_of(lab, "delta").split("#")[0] + "#" + join_of(lab, "delta").split("#")[1].split("~")[0] + "\n"
    refused = lab.agent("delta", "rejoin", check=False, input=foreign)
    check(refused.returncode != 0 and "another relay" in refused.stderr, "nor does one with the name of another relay")
    lab.agent("delta", "rejoin", input=join_of(lab, "delta"))
    lab.start_agent("delta")
    wait_until("delta", lambda: up(lab, "delta"), 20, 0.1)
    wait_until("delta to reach alpha", lambda: ping_ok(lab, "delta", "alpha", 3), 20, 0.2)
    check(True, "its identity and its pairs are as before")

    # The first key's file may go: nobody needs it any more.
    lab.end(lab.relay, signal.SIGTERM, 10)
    (lab.state / "relay.key").unlink()
    lab.start_relay()
    wait_until("everybody once more", lambda: connected("alpha", "beta", "delta"), 40, 0.2)
    check(lab.ctl("relay", "keys")["id"] == first["id"], "and the relay keeps its name")
    kinds = [c["kind"] for c in lab.ctl("changes", "--limit", "1000")["changes"]]
    check(kinds.count("relay_key_replaced") == 1 and kinds.count("relay_key_retired") == 1, "the feed has both changes")


main(test, agents=("alpha", "beta", "gamma", "delta"))
