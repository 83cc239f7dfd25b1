#!/usr/bin/python3
"""An agent goes on under another key: its peers see that both signed, its trust stays, the old key is worth nothing; a stop in
between, an answer that never comes, and a relay that dies afterwards."""
import json
import shutil
import signal

from common import Traffic, check, main, ping_ok, run, wait_until


def up(lab, name):
    return bool((lab.info(name).get("session") or {}).get("up"))


def peer(lab, of, did):
    return next((p for p in lab.peers(of) if p["did"] == did), {})


def deaf(lab, name, on):
    """Nothing that arrives reaches the agent; what it sends still leaves."""
    def rule(*args):
        run("ip", "-n", lab.ns(name), "rule", *args)
    if on:
        rule("add", "pref", "10", "lookup", "local")
        rule("add", "pref", "5", "iif", "eth0", "blackhole")
        rule("del", "pref", "0")
    else:
        rule("del", "pref", "5")


def test(lab):
    lab.make_relay()
    lab.start_relay()
    lab.ctl("tenant", "add", "acme")
    for name in ("alice", "bob"):
        lab.join(name, lab.ctl("token", "create", "--tenant", "acme", "--uses", "9", "--host", lab.address(name, 1))["join"])
        lab.start_agent(name)
    wait_until("both to connect", lambda: up(lab, "alice") and up(lab, "bob"), 20)
    lab.agent("alice", "handshake", lab.dids["bob"], "weekly report")
    wait_until("the request", lambda: json.loads(lab.agent("bob", "pending", "--json").stdout)["incoming"], 5)
    lab.agent("bob", "approve", "alice")
    wait_until("alice and bob", lambda: lab.peers("alice") and ping_ok(lab, "alice", "bob", 3), 15, 0.2)
    address = lab.info("alice")["address"]

    home = lab.dir / "alice" / "state"
    before = json.loads((home / "identity.json").read_text())
    first = lab.dids["alice"]
    done = json.loads(lab.agent("alice", "rotate-identity", "--json").stdout)
    second = done["did"]
    check(done["former_did"] == first and second != first, "alice has another DID")
    wait_until("bob to see it, verified", lambda: peer(lab, "bob", second).get("verified"), 15, 0.1)
    check(len(lab.peers("bob")) == 1 and peer(lab, "bob", second)["name"] == "alice", "under her name, in the place of the old one")
    check(f"{first} goes on as {second}" in (lab.dir / "bob.log").read_text(), "because both keys signed it")
    wait_until("messages both ways", lambda: ping_ok(lab, "alice", "bob", 3) and ping_ok(lab, "bob", "alice", 3), 15, 0.2)
    info = lab.info("alice")
    check(info["did"] == second and info["address"] == address, "her address stays")
    wait_until("alice to hold bob verified", lambda: lab.peers("alice")[0]["verified"], 5, 0.1)
    traffic = Traffic(lab, "alice", "bob", rate=200)
    shown = next(a for a in lab.ctl("agents")["agents"] if a["name"] == "alice")
    check(shown["did"] == second and shown["former_dids"] == [first], "the operator sees both")
    traffic.stop()
    traffic.check_whole()
    check(lab.agent("alice", "rotate-identity", check=False).returncode != 0, "not again within a minute")
    check(up(lab, "alice") and lab.info("alice")["did"] == second, "and nothing came of it")

    saved = json.loads((home / "identity.json").read_text())
    check(saved["token"] == "", "the token is not kept longer than it was needed")

    # The answer of the relay is lost with the agent: the next start finds out who it is.
    lab.end(lab.daemons["alice"])
    shutil.copy2(home / "identity.json", home / "identity.next.json")
    shutil.chown(home / "identity.next.json", (home / "identity.json").owner(), (home / "identity.json").group())
    (home / "identity.json").write_text(json.dumps(before))
    lab.start_agent("alice")
    wait_until("alice to find out who she is", lambda: up(lab, "alice") and lab.info("alice")["did"] == second, 40, 0.2)
    wait_until("that to be on disk", lambda: not (home / "identity.next.json").exists(), 10, 0.1)
    wait_until("bob", lambda: ping_ok(lab, "bob", "alice", 3), 20, 0.2)
    check(json.loads((home / "identity.json").read_text())["identity_seed"] == saved["identity_seed"], "with the new key in its place")

    # The relay has it, and its answer never comes.
    bob_was = lab.dids["bob"]
    deaf(lab, "bob", True)
    lost = lab.agent("bob", "rotate-identity", check=False)
    check(lost.returncode != 0 and "goes on by itself" in lost.stderr, f"bob hears nothing: {lost.stderr.strip()}")
    wait_until("the relay to have it all the same",
               lambda: next(a for a in lab.ctl("agents")["agents"] if a["name"] == "bob").get("former_dids") == [bob_was], 5)
    deaf(lab, "bob", False)
    wait_until("bob to find out who he is", lambda: up(lab, "bob") and lab.info("bob")["did"] != bob_was, 60, 0.2)
    wait_until("alice to see it, verified", lambda: peer(lab, "alice", lab.info("bob")["did"]).get("verified"), 20, 0.2)
    wait_until("messages both ways again", lambda: ping_ok(lab, "alice", "bob", 3) and ping_ok(lab, "bob", "alice", 3), 20, 0.2)

    # And everything is there after the relay died, too.
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    wait_until("alice and bob to be back", lambda: up(lab, "alice") and ping_ok(lab, "alice", "bob", 3), 40, 0.2)
    check(peer(lab, "bob", second)["verified"], "bob's pair with alice is verified still")
    kinds = [c for c in lab.ctl("changes", "--limit", "1000")["changes"] if c["kind"] == "identity_rotated"]
    check([(c["subject"], c["object"]) for c in kinds] == [(first, second), (bob_was, lab.info("bob")["did"])],
          "the feed has each once, with both")
    cut = lab.ctl("revoke", first, "--reason", "test over")
    check(cut["state"] == "cut" and cut["name"] == "alice", "the operator may still call her by the old DID")
    wait_until("bob to be alone", lambda: not lab.peers("bob"), 10)


main(test, enrol=False, agents=("alice", "bob"))
