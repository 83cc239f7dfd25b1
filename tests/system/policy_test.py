#!/usr/bin/python3
"""Who may do what: the operator's policy over agents that ask, operators with roles in one tenant, and requests from
one tenant to another, which the operators of both have to let through."""
import json
import os
import pwd
import shutil
import signal
import subprocess

from common import BUILD, Traffic, check, main, ping_ok, wait_until

# Users that every Debian has, none of whom owns anything here.
AUDITOR, OPERATOR, NOBODY_HERE = "nobody", "daemon", "games"
GROUP = "nogroup"
EXIT = {"usage": 2, "config": 3, "not_found": 5, "permission": 6, "conflict": 8}


def as_user(lab, user, *args):
    """sluicectl as that user, in the socket's group: its exit code and what it says."""
    entry = pwd.getpwnam(user)
    group = pwd.getpwnam("nobody").pw_gid
    done = subprocess.run(["setpriv", f"--reuid={entry.pw_uid}", f"--regid={group}", "--clear-groups",
                           lab.dir / "bin" / "sluicectl", "--socket", lab.socket, "--json", *args],
                          capture_output=True, text=True, cwd=lab.dir, timeout=30)
    return done.returncode, json.loads(done.stdout or "{}")


def refused(lab, user, *args):
    code, body = as_user(lab, user, *args)
    check(code == EXIT["permission"] and body["error"]["code"] == "permission",
          f"{user}: {' '.join(map(str, args))} is refused: {body.get('error', {}).get('message')}")


def policy(lab, text, *options, code=0):
    path = lab.dir / "policy.yaml"
    path.write_text(text)
    done = subprocess.run([lab.build / "sluicectl", "--socket", lab.socket, "--json", "policy", "apply", path, *options],
                          capture_output=True, text=True, timeout=30)
    check(done.returncode == code, f"policy apply {' '.join(options)} ends with {code}: {done.stderr.strip()[:200]}")
    return json.loads(done.stdout)


def agent(lab, name, *args):
    return json.loads(lab.agent(name, *args, "--json").stdout)


def pending(lab, name):
    return agent(lab, name, "pending")["incoming"]


def roles(lab):
    code, body = as_user(lab, AUDITOR, "agents")
    check(code == 0 and {a["name"] for a in body["agents"]} == {"alice", "bob"}, "an auditor of acme sees acme's agents alone")
    code, body = as_user(lab, AUDITOR, "tenant", "list")
    check([t["name"] for t in body["tenants"]] == ["acme"], "and its tenant alone")
    refused(lab, AUDITOR, "revoke", "alice")
    refused(lab, AUDITOR, "token", "create", "--tenant", "acme")
    refused(lab, AUDITOR, "changes")
    refused(lab, AUDITOR, "policy", "show")
    refused(lab, NOBODY_HERE, "status")
    code, body = as_user(lab, OPERATOR, "token", "create", "--tenant", "beta", "--host", "192.0.2.1")
    check(code == 0 and body["tenant_name"] == "beta", "an operator of beta makes tokens for beta")
    refused(lab, OPERATOR, "token", "create", "--tenant", "acme", "--host", "192.0.2.1")
    for who in ("alice", lab.dids["alice"], "nosuch"):
        check(as_user(lab, OPERATOR, "revoke", who)[0] == EXIT["not_found"], "other tenants' agents are nobody to it")
    refused(lab, OPERATOR, "revoke", "--tenant", "acme")
    code, body = as_user(lab, OPERATOR, "revoke", "--match", "a*")
    check(code == EXIT["not_found"], "its patterns mean agents of beta alone")
    refused(lab, OPERATOR, "tenant", "add", "gamma")
    check(as_user(lab, OPERATOR, "token", "end", body_id(lab))[0] == 0, "and takes its own token back")
    entry = [c for c in lab.ctl("changes", "--limit", "1000")["changes"] if c["kind"] == "token_ended"][-1]
    check(entry["actor"] == f"uid {pwd.getpwnam(OPERATOR).pw_uid}", "the feed says who it was")


def top(lab):
    traffic = Traffic(lab, "alice", "bob", rate=200)
    out = subprocess.run([lab.build / "sluicectl", "--socket", lab.socket, "--json", "top", "--interval", "0.5", "--count", "3"],
                         capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    traffic.stop()
    looks = [json.loads(line) for line in out]
    check(len(looks) == 3 and all(0.4 < s["interval_s"] < 5 for s in looks), "top looks as often as it is told to")
    last = looks[-1]
    check(last["forwarded_pps"] > 50 and last["workers"][0]["rx_pps"] > 50 and 0 <= last["workers"][0]["busy"] <= 1,
          f"top shows what passes: {last['forwarded_pps']:.0f} packets/s")
    check([a["name"] for a in last["busiest"]][:1] == ["alice"], "and who sends it")


def body_id(lab):
    return [t["id"] for t in lab.ctl("token", "list")["tokens"] if t["tenant_name"] == "beta"][0]


def rules(lab):
    bad = policy(lab, "default: maybe\nrules:\n  - { from: 'a b', to: '*' }\n", code=EXIT["config"])
    lines = [line.split(":")[0] for line in bad["error"]["message"].splitlines()]
    check(lines == ["line 1", "line 3"], "all mistakes are told, with lines")
    check(lab.ctl("policy", "show")["number"] == 0, "a bad file changes nothing")
    denying = "rules:\n  - { from: alice, to: bob, action: deny }\n"
    shown = policy(lab, denying, "--dry-run")
    check(shown["added"] == ["alice -> bob: deny"] and not shown["applied"] and lab.ctl("policy", "show")["number"] == 0,
          "a dry run tells the difference and changes nothing")
    approving = "rules:\n  - { from: alice, to: 'b*@acme', action: approve, for: 1h }\n"
    check(policy(lab, approving)["applied"], "a policy is applied")
    asked = agent(lab, "alice", "handshake", lab.dids["bob"], "the report")
    check(asked["state"] == "approved", "who is approved by policy need not be answered")
    wait_until("both to know", lambda: lab.peers("alice") and lab.peers("bob"), 5)
    check(ping_ok(lab, "alice", "bob", 3), "they reach each other")
    check(not any(p["verified"] for p in lab.peers("alice")), "an approval by policy does not pass for the peer's signature")
    top(lab)
    wait_until("bob to be told", lambda: "policy pairs this agent" in (lab.dir / "bob.log").read_text(), 5)
    shown = policy(lab, denying, "--dry-run")
    check(shown["pairs_suspended"] == 1 and ping_ok(lab, "alice", "bob", 3), "what it would suspend is told first")
    done = policy(lab, denying)
    check(done["pairs_suspended"] == 1 and done["cut_us"] > 0, f"then it is cut, with the proof: {done['cut_us']:.0f} us")
    check(lab.ctl("edges")["edges"] == [], "no edge is left")
    wait_until("alice to know it", lambda: not lab.peers("alice"), 5)
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    check(lab.ctl("policy", "show")["number"] == 2, "a policy is kept")
    # The relay's word: an agent notices only after a while that its session is one of the dead relay's.
    wait_until("the agents", lambda: all(a["session"] for a in lab.ctl("agents")["agents"]), 40, 0.1)
    check(lab.ctl("edges")["edges"] == [], "and in force from the start on")
    check(policy(lab, "default: ask\n")["pairs_resumed"] == 1, "a later one brings the pair back")
    wait_until("alice and bob", lambda: ping_ok(lab, "alice", "bob", 3), 15, 0.2)


def across(lab):
    asked = agent(lab, "alice", "handshake", lab.dids["carol"], "we share a customer")
    check(asked["state"] == "pending", "a request to another tenant is taken")
    waiting = lab.ctl("requests")["requests"]
    check([w["waits_for"] for w in waiting] == ["consent"] and pending(lab, "carol") == [], "it waits for the operators")
    digest = waiting[0]["request"]
    refused(lab, OPERATOR, "consent", digest[:12], "--tenant", "acme")
    check(as_user(lab, OPERATOR, "consent", digest[:12], "--tenant", "beta")[0] == 0, "beta's operator consents for beta")
    check(lab.ctl("requests")["requests"][0]["waits_for"] == "consent", "one of two is not enough")
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    check(lab.ctl("requests")["requests"][0]["consents"] == [2], "a consent outlives a kill")
    lab.ctl("consent", digest[:12], "--tenant", "acme")
    wait_until("carol to be shown the request", lambda: lab.info("carol").get("session", {}).get("up") and pending(lab, "carol"), 40, 0.1)
    lab.agent("carol", "approve", "alice")
    wait_until("alice and carol", lambda: lab.peers("carol") and ping_ok(lab, "alice", "carol", 3), 15, 0.2)
    check(True, "agents of two tenants talk once both tenants agree")
    cut = lab.ctl("revoke", "--pair", "alice", "carol", "--reason", "over")
    check(cut["state"] == "cut", "either side's operator may end it")


def test(lab):
    shutil.copy2(BUILD / "sluicectl", lab.dir / "bin" / "sluicectl")
    os.chmod(lab.dir / "bin" / "sluicectl", 0o755)
    lab.make_relay()
    text = lab.config.read_text()
    entries = f"[{{ user: {AUDITOR}, role: auditor, tenant: acme }}, {{ user: {OPERATOR}, role: operator, tenant: beta }}]"
    lab.config.write_text(text.replace('group: ""', f"group: {GROUP}, roles: {entries}"))
    lab.start_relay()
    for tenant, names in (("acme", ("alice", "bob")), ("beta", ("carol",))):
        lab.ctl("tenant", "add", tenant)
        for n in names:
            lab.join(n, lab.ctl("token", "create", "--tenant", tenant, "--host", lab.address(n, 1))["join"])
            lab.start_agent(n)
            wait_until(f"{n} to connect", lambda: lab.info(n).get("session", {}).get("up"), 15)
    wait_until("the names", lambda: {"alice", "bob", "carol"} <= {a["name"] for a in lab.ctl("agents")["agents"]}, 10)
    roles(lab)
    rules(lab)
    across(lab)


main(test, enrol=False, agents=("alice", "bob", "carol"))
