#!/usr/bin/python3
"""What holds the calls of a pair, as operators and agents meet it: a quota that outlives the relay's sudden death, an approver's own,
windows that a policy opens and closes, and a call that waits for somebody to approve it."""
import json
import signal
import subprocess
import time

from call_test import agree, call, call_json, connected, introduce
from common import check, main, run, wait_until


def policy(lab, yaml):
    path = lab.dir / "policy.yaml"
    path.write_text(yaml)
    return lab.ctl("policy", "apply", str(path))


def records(lab):
    lines = run(lab.build / "sluicectl", "--socket", lab.socket, "audit", "export").stdout
    return [json.loads(line) for line in lines.splitlines()]


def edge(lab):
    return next(e for e in lab.ctl("edges")["edges"] if e["from"] == "alice")


def meet(lab):
    introduce(lab)
    check(lab.agent("bob", "approve", "alice", "--quota", "5-1h", check=False).returncode == 2, "a quota that is none is a mistake")
    agree(lab, ("--scopes", "payments,reading"), ("--quota", "4/1h"))
    check(edge(lab)["calls"]["quotas"] == [{"calls": 4, "period_s": 3600, "used": 0, "ends_ms": None}], "the approver's quota holds")


def quotas(lab):
    server = lab.serve("bob", "--echo")
    check(call(lab, "alice", "bob", "--scope", "reading", data=b"1")[:2] == (0, b"1"), "a scope that was granted")
    check(call(lab, "alice", "bob", "--scope", "writing")[0] == 13, "and none that was not")
    check(call(lab, "alice", "bob", data=b"2")[:2] == (0, b"2"), "the second of four")
    wait_until("what is used to be kept", lambda: edge(lab)["calls"]["quotas"][0]["used"] == 2, 5)
    time.sleep(1.2)  # the period of the copy that a crash may forget
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    for n in ("alice", "bob"):
        wait_until(f"{n} to be back", lambda: connected(lab, n) and lab.peers(n), 60)
    wait_until("bob's edge", lambda: edge(lab)["calls"]["quotas"][0]["used"] == 2, 10)
    wait_until("the third", lambda: call(lab, "alice", "bob", data=b"3")[:2] == (0, b"3"), 40)
    check(call(lab, "alice", "bob", data=b"4")[:2] == (0, b"4"), "the fourth, after the relay was killed")
    code, answer, _ = call_json(lab, "alice", "bob", data=b"5")
    check((code, answer["decision"]) == (7, "quota_exhausted"), f"and no fifth: {answer['error']}")
    lab.end(server)


def windows_and_approvals(lab):
    """On another grant, without a quota."""
    lab.agent("alice", "untrust", "bob")
    agree(lab)
    server = lab.serve("bob", "--echo")
    policy(lab, "windows:\n  past: { zone: Europe/Berlin, from: \"2020-01-01 08:00\", to: \"2020-01-01 09:00\" }\n"
                "rules: [{ from: alice, to: bob, windows: [past] }]\n")
    check(edge(lab)["open"] is False, "the edge is closed by its window")
    wait_until("alice to hear of her edge", lambda: call_json(lab, "alice", "bob")[1].get("decision") == "outside_window", 10)
    policy(lab, "windows:\n  always: { hours: [\"00:00-24:00\"] }\n"
                "rules: [{ from: alice, to: bob, windows: [always], calls: { approval: { capabilities: [read] } } }]\n")
    wait_until("the window to be open", lambda: call(lab, "alice", "bob", data=b"x")[:2] == (0, b"x"), 10)
    child = subprocess.Popen(lab.agent_argv("alice", "call", "bob", "--capability", "read", "--timeout", "60s"), cwd=lab.dir,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdin.write(b"may I?")
    child.stdin.close()
    wait_until("the call to wait", lambda: lab.ctl("approvals")["approvals"], 20)
    waiting = lab.ctl("approvals")["approvals"][0]
    check(lab.ctl("approve", waiting["id"])["decided"] == "approved", "it is approved")
    check(child.wait(30) == 0 and child.stdout.read() == b"may I?", "and answered")
    check(b"approve" in child.stderr.read(), "alice was told that it waited")
    lab.end(server)
    wait_until("the log to have all of it", lambda: {"approve", "approval_required", "authorized"} <=
               {r.get("act") or r.get("decision") for r in records(lab) if r.get("trace") == waiting["trace"]}, 15, 0.3)
    print("ok: the log has the decisions, and who approved it", flush=True)


def test(lab):
    meet(lab)
    quotas(lab)
    windows_and_approvals(lab)


if __name__ == "__main__":
    main(test, enrol=False, agents=("alice", "bob"))
