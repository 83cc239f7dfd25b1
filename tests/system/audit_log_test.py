#!/usr/bin/python3
"""The audit log as those see it who do not trust the relay: read from its files by an implementation of its own of RFC 6962 and
C2SP's tlog-tiles, tlog-checkpoint and tlog-proof; every change of the store is in it once, through crashes; nothing that was
said or called by a name is; a log or a store that was put back to an earlier state is found at the start."""
import json
import shutil
import signal
import subprocess

from audit_oracle import Log, proof_holds, read_log
from common import BUILD, check, main, ping_ok, wait_until

CANARY = "canary-7f3a"


def audit(lab, *args, relay=True):
    argv = [BUILD / "sluicectl", "--json", *(["--socket", lab.socket] if relay else []), "audit", *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.strip()


def records(lab):
    code, out, err = audit(lab, "export", "--jsonl")
    check(code == 0, f"the log is exported {err}")
    return [json.loads(line) for line in out.splitlines()]


def every_change_once(lab):
    changes = lab.ctl("changes", "--limit", "1000")["changes"]
    wanted = [c["sequence"] for c in changes]
    recorded = []

    def there():
        recorded[:] = [r for r in records(lab) if r["kind"] == "change"]
        return recorded and recorded[-1]["sequence"] >= wanted[-1]
    wait_until("all changes in the audit log", there, 15, 0.1)
    check([r["sequence"] for r in recorded] == wanted, f"each of {len(wanted)} changes is recorded once, in order")
    check([r["change"] for r in recorded] == [c["kind"] for c in changes], "as what it was")
    check([r["time_ms"] for r in recorded] == [c["at_ms"] for c in changes], "when it was")


def refuses_to_start(lab, sentence):
    relay = subprocess.run(["ip", "netns", "exec", lab.ns("relay"), BUILD / "sluiced", "--config", lab.config], capture_output=True, text=True, timeout=60)
    check(relay.returncode == 14 and sentence in relay.stderr, f"the relay does not start: {relay.stderr.strip().splitlines()[-1]}")


def test(lab):
    lab.make_relay()
    lab.start_relay()
    folder = lab.state / "audit"
    lab.ctl("tenant", "add", "acme")
    for name in lab.names:
        lab.join(name, lab.ctl("token", "create", "--tenant", "acme", "--host", lab.address(name, 1))["join"])
        lab.start_agent(name)
        wait_until(f"{name} to connect", lambda: lab.info(name).get("session", {}).get("up"), 15)
    wait_until("their names", lambda: {a["name"] for a in lab.ctl("agents")["agents"]} == set(lab.names), 10, 0.1)
    early = lab.dir / "early.db"
    lab.ctl("backup", early)
    lab.agent("alice", "handshake", lab.dids["bob"], f"{CANARY} why")
    wait_until("the request", lambda: json.loads(lab.agent("bob", "pending", "--json").stdout)["incoming"], 10, 0.1)
    lab.agent("bob", "approve", "alice")
    wait_until("alice and bob", lambda: ping_ok(lab, "alice", "bob", 3), 20, 0.2)
    lab.agent("alice", "send", "bob", f"{CANARY} payload", check=False)
    lab.ctl("revoke", "carol", "--reason", f"{CANARY} reason")
    every_change_once(lab)

    # As others read it.
    log = read_log(folder)
    check(log.size > 10, f"{log.size} records verify with an implementation of its own")
    check(not any(CANARY.encode() in e or b"alice" in e for e in log.entries.values()), "nothing that was said or named is in it")
    all_records = records(lab)
    kinds = {}
    for r in all_records:
        kinds.setdefault(r["kind"], []).append(r)
    addresses = {a["name"]: a["address"] for a in lab.ctl("agents")["agents"]}
    sessions = {r["subject"]: r for r in kinds["session"]}
    check(set(addresses.values()) <= set(sessions), "who connected is in it")
    check(sessions[addresses["alice"]]["did"] == lab.dids["alice"] and sessions[addresses["alice"]]["endpoint"].startswith(lab.address("alice", 2) + ":"),
          f"with the identity and from where: {sessions[addresses['alice']]['endpoint']}")
    pair = next(r for r in kinds["change"] if r["change"] == "pair_made")
    check({pair["subject"], pair["object"]} == {addresses["alice"], addresses["bob"]}, "who came to trust whom")
    revoked = next(r for r in kinds["change"] if r["change"] == "agent_revoked")
    proof = next(r for r in kinds["proof"])
    check(revoked["subject"] == proof["subject"] == addresses["carol"] and proof["state"] == "cut" and revoked["actor"] == "uid 0",
          f"who was revoked by whom, and that it was proven in {proof['cut_us']} us")

    # A proof for who has nothing else.
    out = lab.dir / "carol.tlog-proof"
    code, _, err = audit(lab, "prove", str(revoked["index"]), "--out", str(out))
    check(code == 0, f"a record is proven {err}")
    record = out.with_name(out.name + ".record").read_bytes()
    check(proof_holds(out.read_text(), record, log.vkey), "and the proof holds")
    check(audit(lab, "check-proof", str(out), "--verifier", log.vkey, relay=False)[0] == 0, "by sluicectl too, without a relay")
    out.with_name(out.name + ".record").write_bytes(record[:50] + b"x" + record[51:])
    check(audit(lab, "check-proof", str(out), "--verifier", log.vkey, relay=False)[0] == 14, "and of another record it does not")

    # Through a crash.
    kept = lab.dir / "checkpoint.kept"
    kept.write_text(log.note)
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    every_change_once(lab)
    wait_until("the log to say that there was a crash", lambda: any(r["kind"] == "gap" and r["reason"] == "crash" for r in records(lab)), 10, 0.1)
    code, text, err = audit(lab, "verify", "--verifier", log.vkey, "--since", str(kept))
    check(code == 0 and json.loads(text)["continues"] == log.size, f"which continues the one before {err}")
    code, text, _ = audit(lab, "tail", "--count", "3", "--tenant", "acme")
    check(code == 0, "its end is shown")

    # Whoever changes a record is found.
    lab.end(lab.relay)
    copy = lab.dir / "copy"
    shutil.copytree(folder, copy)
    check(audit(lab, "verify", "--folder", str(copy), "--verifier", log.vkey, relay=False)[0] == 0, "a copy verifies without a relay")
    bundle = next(copy.glob("tile/entries/000.p/" + str(Log(copy).size)))
    good = bundle.read_bytes()
    at = 130 * 7 + 2 + 40
    bundle.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
    code, _, err = audit(lab, "verify", "--folder", str(copy), "--verifier", log.vkey, relay=False)
    check(code == 14 and "record 7 " in err, f"a changed record is found: {err}")

    # A store that was put back.
    late = lab.dir / "late.db"
    shutil.copy(lab.state / "sluice.db", late)
    shutil.copy(early, lab.state / "sluice.db")
    refuses_to_start(lab, "put back to an earlier state")
    def restore(*args):
        return subprocess.run([BUILD / "sluicectl", "restore", early, "--state-dir", lab.state, *args], capture_output=True, text=True, timeout=60)
    refused = restore()
    check(refused.returncode == 13 and "audit log" in refused.stderr, f"a restore tells of it: {refused.stderr.strip()}")
    check(restore("--forget-changes").returncode == 0, "and goes on when told to")
    lab.start_relay()
    wait_until("the log to say so", lambda: any(r.get("change") == "changes_forgotten" for r in records(lab)), 10, 0.1)
    forgotten = next(r for r in records(lab) if r.get("change") == "changes_forgotten")
    check(forgotten["names"] < forgotten["and"] < forgotten["sequence"], f"changes {forgotten['names'] + 1} to {forgotten['and']} are said to be forgotten")
    lab.end(lab.relay)

    # A log that was put back, is gone, and is given up.
    shutil.move(folder, lab.dir / "audit.late")
    shutil.copytree(copy, folder)
    (folder / "tile/entries/000.p" / bundle.name).write_bytes(good)
    refuses_to_start(lab, "was known to have")
    shutil.rmtree(folder)
    refuses_to_start(lab, "there was one of")
    check(not folder.exists(), "and makes none in its place")
    code, _, err = audit(lab, "begin-anew", "--state-dir", str(lab.state), relay=False)
    check(code == 5 and "--lost" in err, f"one that is gone is not given up by mistake: {err}")
    code, _, err = audit(lab, "begin-anew", "--lost", "--state-dir", str(lab.state), relay=False)
    check(code == 0, f"it is given up when told to {err}")
    lab.start_relay()
    every_change_once(lab)
    wait_until("the new one to say so", lambda: any(r.get("change") == "audit_log_forgotten" for r in records(lab)), 10, 0.1)
    second = read_log(folder).vkey
    check(second != log.vkey, "under a key of its own")
    lab.end(lab.relay)
    code, out, err = audit(lab, "begin-anew", "--state-dir", str(lab.state), relay=False)
    kept_as = json.loads(out)["kept_as"]
    check(code == 0 and (folder / kept_as / "checkpoint").exists() and not (folder / "checkpoint").exists(), f"one that is there is kept aside {err}")
    lab.start_relay()
    every_change_once(lab)
    lab.end(lab.relay)


main(test, enrol=False, agents=("alice", "bob", "carol"))
