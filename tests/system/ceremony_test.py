#!/usr/bin/python3
"""Agents that no configuration names: enrolled by token or by the operator, invisible until they say
otherwise, trusted by request and approval, after a kill of the relay as before, and cut when one side says so."""
import json
import signal
import time

from common import Lab, check, main, ping_ok, wait_until


def pending(lab, name, which="incoming"):
    return json.loads(lab.agent(name, "pending", "--json").stdout)[which]


def refused(lab, name, *args):
    """The error code of a command that must fail."""
    result = lab.agent(name, *args, "--json", check=False)
    check(result.returncode != 0, f"{name}: {args[0]} {args[1] if len(args) > 1 else ''} is refused")
    return json.loads(result.stdout)["error"]["code"]


def connected(lab, name):
    return lab.info(name).get("session", {}).get("up")


def test(lab):
    lab.make_relay()
    lab.start_relay()
    check(lab.ctl("tenant", "add", "acme") == {"id": 1, "name": "acme"}, "a tenant has a name and a number")
    tokens = {n: lab.ctl("token", "create", "--tenant", "acme", "--ttl", "1h", "--host", lab.address(n, 1))
              for n in ("alice", "bob")}
    check(tokens["alice"]["join"].startswith(f"sluice://{lab.address('alice', 1)}:7600/#"), "a token comes as a join string")
    secret = tokens["alice"]["join"].split(".")[-1]
    for n in ("alice", "bob"):
        lab.join(n, tokens[n]["join"])
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda: connected(lab, n), 10)
    # A token with one use is spent; one that was never made is no better.
    lab.join("carol", tokens["alice"]["join"].replace(lab.address("alice", 1), lab.address("carol", 1)))
    lab.start_agent("carol")
    wait_until("alice's name to be known", lambda: {"alice", "bob"} <= {a["name"] for a in lab.ctl("agents")["agents"]}, 10)
    check(lab.ctl("token", "list")["tokens"] == [], "spent tokens are gone")
    check(not connected(lab, "carol"), "a spent token lets nobody else in")
    check(lab.peers("alice") == [] and not lab.ctl("edges")["edges"], "whoever is enrolled reaches nobody")

    # Nobody is found that has not said so, whoever asks, and it looks as if there were nobody.
    check(refused(lab, "alice", "handshake", "bob", "a question") == "not_found", "a private name is not found")
    check(refused(lab, "alice", "handshake", "nosuch", "a question") == "not_found", "nor is one that does not exist")
    stranger = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    asked = json.loads(lab.agent("alice", "handshake", stranger, "is somebody there?", "--json").stdout)
    check(asked["state"] == "pending", "a request to a DID is taken whether somebody has it or not")
    lab.agent("alice", "untrust", stranger)
    wait_until("the request to be gone", lambda: pending(lab, "alice", "outgoing") == [], 5)
    lab.agent("bob", "visibility", "public")
    asked = json.loads(lab.agent("alice", "handshake", "bob", "we share the report", "--for", "30d", "--json").stdout)
    check(asked["peer"] == lab.dids["bob"] and asked["state"] == "pending", "a public name is found")
    wait_until("the request to reach bob", lambda: pending(lab, "bob"), 5)
    one = pending(lab, "bob")[0]
    check((one["name"], one["did"], one["justification"]) == ("alice", lab.dids["alice"], "we share the report"),
          "bob sees who asks and why")
    check(lab.peers("alice") == [] and not ping_ok(lab, "alice", "bob", 1), "asking opens nothing")
    check(refused(lab, "alice", "approve", "bob") == "not_found", "who asked cannot approve")

    began = time.monotonic()
    approved = json.loads(lab.agent("bob", "approve", "alice", "--json").stdout)
    wait_until("alice to know her peer", lambda: lab.peers("alice"), 5)
    took = time.monotonic() - began
    check(approved["state"] == "approved", f"bob approves; both know {took * 1e3:.0f} ms later, two commands included")
    wait_until("both to have seen the other's signature",
               lambda: all(p["verified"] for n in ("alice", "bob") for p in lab.peers(n)), 5)
    check(ping_ok(lab, "alice", "bob"), "they reach each other")
    edges = lab.ctl("edges")["edges"]
    check(len(edges) == 2 and {e["source"] for e in edges} == {"agreement"}, "the relay has both edges by agreement")
    check(all(2591000e3 < p["expires_ms"] - time.time() * 1e3 < 2593000e3 for p in lab.peers("bob")), "for 30 days")

    # A kill loses nothing of it.
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    wait_until("alice and bob to be back", lambda: ping_ok(lab, "alice", "bob", 3), 30, 0.2)
    check(all(p["verified"] for p in lab.peers("alice")), "after a kill the pair stands, and is verified")

    # The operator lets carol in; a rejection is told.
    check(lab.ctl("agent", "add", lab.dids["carol"], "--tenant", "acme", "--name", "bob", check=False) is None,
          "a name is given once in a tenant")
    added = lab.ctl("agent", "add", lab.dids["carol"], "--tenant", "acme", "--name", "carol")
    check(added["name"] == "carol" and added["address"].startswith("1:"), "the operator enrols by DID")
    wait_until("carol to connect", lambda: connected(lab, "carol"), 20)
    lab.agent("carol", "handshake", "bob", "let me in")
    wait_until("carol's request", lambda: pending(lab, "bob"), 5)
    check([r["from"] for r in lab.ctl("requests")["requests"]] == ["carol"], "the operator sees what waits")
    lab.agent("bob", "reject", "carol", "--reason", "who are you?")
    wait_until("carol to be told", lambda: "who are you?" in (lab.dir / "carol.log").read_text(), 5)
    check(not lab.peers("carol") and pending(lab, "bob") == [], "a rejection opens nothing")

    # Both asked: that is an agreement.
    lab.agent("carol", "handshake", lab.dids["alice"], "hello")
    crossed = json.loads(lab.agent("alice", "handshake", lab.dids["carol"], "hello to you", "--json").stdout)
    check(crossed["state"] == "approved", "requests that cross make a pair")
    wait_until("carol to reach alice", lambda: lab.peers("carol") and ping_ok(lab, "carol", "alice", 3), 10, 0.2)

    # One side's word ends it, and only it.
    ended = json.loads(lab.agent("alice", "untrust", "bob", "--reason", "project ended", "--json").stdout)
    check(ended["state"] == "ended", "alice ends the trust with bob")
    wait_until("bob to have no peer", lambda: not lab.peers("bob"), 5)
    check("project ended" in (lab.dir / "bob.log").read_text(), "bob is told why, signed")
    check(not ping_ok(lab, "bob", "alice", 1) and ping_ok(lab, "carol", "alice", 3), "the other pair stands")
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    wait_until("carol and alice to be back", lambda: ping_ok(lab, "carol", "alice", 3), 30, 0.2)
    check(not lab.peers("bob"), "what was ended stays ended after a kill")
    # Newer statements make it anew.
    lab.agent("bob", "handshake", lab.dids["alice"], "once more")
    wait_until("bob's request", lambda: pending(lab, "alice"), 5)
    lab.agent("alice", "approve", "bob", "--for", "8h")
    wait_until("bob to reach alice again", lambda: ping_ok(lab, "bob", "alice", 3), 10, 0.2)

    # The operator's knife: a pair, then all whose name fits.
    cut = lab.ctl("revoke", "--pair", "alice", "carol", "--reason", "audit")
    check(cut["state"] == "cut" and cut["pairs"] == 1 and cut["edges_closed"] == 2, f"the operator ends a pair: {cut['cut_us']:.0f} us")
    wait_until("carol to have no peer", lambda: not lab.peers("carol"), 5)
    cut = lab.ctl("revoke", "--match", "[bc]*", "--reason", "test over")
    check(cut["state"] == "cut" and cut["agents"] == 2, "one command revokes everybody whose name fits")
    wait_until("alice to be alone", lambda: not lab.peers("alice"), 5)
    check(lab.ctl("agent", "add", lab.dids["bob"], "--tenant", "acme", "--name", "bob2", check=False) is None,
          "a revoked identity does not come back")

    changes = lab.ctl("changes", "--limit", "1000")["changes"]
    kinds = [c["kind"] for c in changes]
    check([c["sequence"] for c in changes] == list(range(1, len(changes) + 1)), "the feed has no gap")
    check(kinds.count("pair_made") == 3 and kinds.count("pair_revoked") >= 2 and kinds.count("agent_revoked") == 2,
          "every change is in the feed")
    by = {c["kind"]: c["actor"] for c in changes}
    check(by["token_created"] == "uid 0" and by["agent_revoked"] == "uid 0", "with who did it")
    check(any(c["kind"] == "pair_made" and c["actor"] == lab.dids["bob"] for c in changes), "agents by their DID")
    everything = lab.relay_log() + json.dumps(changes) + "".join(p.read_text() for p in lab.dir.glob("*.log"))
    check(secret not in everything, "no token stands in a log or in the feed")


main(test, enrol=False, agents=("alice", "bob", "carol"))
