#!/usr/bin/python3
"""What stays of the audit log: older records go, said in the log before they do; a relay that is killed in the middle of it leaves a
log that verifies and goes on removing; what is missing without such a record, or changed, is found; a tenant's auditor gets its
tenant's records, with proofs, and nobody else's."""
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time

from audit_oracle import index_path, proof_holds, read_log
from common import BUILD, check, main, wait_until

AUDITOR = "nobody"
EXIT = {"not_found": 5, "permission": 6, "store": 14, "outdated": 16}
KEEP = "  keep_for: 1s\n"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def audit(lab, *args, relay=True):
    argv = [BUILD / "sluicectl", "--json", *(["--socket", lab.socket] if relay else []), "audit", *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.strip()


def as_auditor(lab, *args):
    entry = pwd.getpwnam(AUDITOR)
    return subprocess.run(["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", lab.dir / "bin" / "sluicectl",
                           "--socket", lab.socket, "audit", *args], capture_output=True, text=True, cwd=lab.dir, timeout=60)


def status(lab):
    return json.loads(audit(lab, "status")[1])


def published(lab, at_least):
    wait_until(f"{at_least} records", lambda: status(lab)["size"] >= at_least, 20, 0.1)


def make_records(lab, count):
    """A token made and one ended are two changes, and two records."""
    before = status(lab)
    connection = UnixConnection(lab.socket)

    def post(path, body):
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        text = json.loads(answer.read())
        assert answer.status == 200, text
        return text
    for _ in range((count + 1) // 2):
        token = post("/v1/tokens", {"tenant": "acme", "ttl_s": 600, "uses": 1, "host": "192.0.2.1"})
        post("/v1/tokens/end", {"id": token["id"]})
    connection.close()
    published(lab, before["size"] + before["unpublished"] + count)


def verify(lab, *args, code=0, folder=None):
    relay = folder is None
    done, out, err = audit(lab, "verify", *args, *([] if relay else ["--folder", str(folder)]), relay=relay)
    check(done == code, f"verify ends with {code}: {err or out.strip()}")
    return json.loads(out) if code == 0 else err


def bundle(folder, index, level="entries"):
    return folder / f"tile/{level}/{index_path(index)}"


def configure(lab, text):
    lab.config.write_text(lab.base_config + text)


def killed_while_it_removes(lab, folder):
    """One file that cannot be removed stops the relay in the middle; there it is killed."""
    lab.end(lab.relay)
    # A hash tile that is a folder: the bundles before it go.
    tile = bundle(folder, 4, "0")
    kept = tile.read_bytes()
    tile.unlink()
    tile.mkdir()
    configure(lab, f"audit:\n{KEEP}")
    lab.start_relay()
    make_records(lab, 600)  # the journal begins anew at a whole bundle
    wait_until("half of it to be removed", lambda: not bundle(folder, 4).exists(), 30, 0.05)
    check(bundle(folder, 5).exists() and status(lab)["first"] > 6 * 256, "the rest waits")
    said = status(lab)["first"]
    check("cannot be pruned" in lab.relay_log(), "the relay's log says why")
    make_records(lab, 10)
    check(status(lab)["available"], "records go on meanwhile")
    lab.end(lab.relay, signal.SIGKILL)
    tile.rmdir()
    tile.write_bytes(kept)
    found = verify(lab, folder=folder)
    check(found["first"] == said and found["pruned"]["reason"] == "age", "what a kill left verifies")
    log = read_log(folder)
    check(log.first == said, f"also by an implementation of its own: of {log.size} records {len(log.entries)} are kept")
    lab.start_relay()
    wait_until("the rest to go", lambda: not bundle(folder, said // 256 - 1).exists() and not tile.exists(), 30, 0.05)
    check(bundle(folder, said // 256).exists() or status(lab)["first"] > said, "and no more than that")
    verify(lab)


def killed_at_random(lab, folder):
    for _ in range(6):
        make_records(lab, 520)
        lab.end(lab.relay, signal.SIGKILL)
        before = verify(lab, folder=folder)["first"]
        time.sleep(1.1)  # until they are old enough
        lab.start_relay()
        time.sleep(random.uniform(0, 0.05))
        lab.end(lab.relay, signal.SIGKILL)
        after = verify(lab, folder=folder)["first"]
        check(after >= before, f"killed while it prunes, from {before} to {after}: the log verifies")
        lab.start_relay()


def used_when_pruned(lab, folder, early):
    first = status(lab)["first"]
    check(first > 0 and status(lab)["alert"] is None, f"the log begins with record {first}")
    code, _, err = audit(lab, "prove", "3")
    check(code == EXIT["not_found"] and "record 3 was pruned: the log begins with record" in err, f"a pruned record is not proven: {err}")
    code, out, err = audit(lab, "export", "--jsonl")
    exported = [json.loads(line) for line in out.splitlines()]
    check(code == 0 and exported[0]["index"] >= first and "were pruned" in err, f"an export begins with the first that is kept: {err}")
    check([r["index"] for r in exported] == list(range(exported[0]["index"], exported[-1]["index"] + 1)), "and leaves nothing out")
    check(any(r["kind"] == "pruned" and r["to"] >= first for r in exported), "who reads it sees what is gone")
    code, out, _ = audit(lab, "tail", "--count", "1000000")
    check(code == 0 and json.loads(out.splitlines()[0])["index"] >= first, "so does a tail")
    out = lab.dir / "last.tlog-proof"
    check(audit(lab, "prove", str(exported[-1]["index"]), "--out", str(out))[0] == 0, "one that is kept is proven")
    check(proof_holds(out.read_text(), out.with_name(out.name + ".record").read_bytes(), (folder / "audit.vkey").read_text().strip()), "and the proof holds")
    err = verify(lab, "--since", str(early), code=EXIT["outdated"])
    check("cannot be compared" in err, "a checkpoint from within what is gone is too old")
    now = lab.dir / "checkpoint.now"
    now.write_text((folder / "checkpoint").read_text())
    make_records(lab, 20)
    check(verify(lab, "--since", str(now))["continues"], "a later one is continued")


def lies(lab, folder):
    lab.end(lab.relay)
    configure(lab, "")
    lab.start_relay()
    make_records(lab, 600)
    lab.end(lab.relay)
    copy = lab.dir / "copy"
    shutil.copytree(folder, copy)
    first = verify(lab, folder=copy)["first"] // 256
    size = verify(lab, folder=copy)["size"]
    whole = [i for i in range(first, size // 256)]
    check(whole, "there are whole bundles")
    path = bundle(copy, whole[0])
    good = path.read_bytes()
    path.unlink()
    err = verify(lab, folder=copy, code=EXIT["store"])
    check(f"records {256 * whole[0]} to {256 * whole[0] + 255}, is missing, and no record of the log says that it was pruned" in err, f"one that others removed is named: {err}")
    path.write_bytes(good[:130 * 9] + good[130 * 10:130 * 11] + good[130 * 9:130 * 10] + good[130 * 11:])
    check(f"record {256 * whole[0] + 9} " in verify(lab, folder=copy, code=EXIT["store"]), "two that changed places are found")
    path.write_bytes(good[:500] + bytes([good[500] ^ 4]) + good[501:])
    check(f"record {256 * whole[0] + 3} " in verify(lab, folder=copy, code=EXIT["store"]), "and one that was changed")
    path.write_bytes(good)
    said = (copy / "pruned").read_text()
    (copy / "pruned").write_text("7\n")
    verify(lab, folder=copy, code=EXIT["store"])
    (copy / "pruned").write_text(said)
    verify(lab, folder=copy)


def for_one_tenant(lab):
    """alice is acme's, bob beta's."""
    addresses = {a["name"]: a["address"] for a in lab.ctl("agents")["agents"]}
    done = as_auditor(lab, "export", "--with-proofs")
    check(done.returncode == 0, f"an auditor of acme exports with proofs {done.stderr.strip()}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    acme = addresses["alice"].split(":")[0]

    def is_acmes(r):
        return any(a is not None and a.split(":")[0] == acme for a in (r["subject"], r["object"]))
    check(len(lines) > 1 and all(is_acmes(line["record"]) for line in lines), f"{len(lines)} records, of acme alone")
    code, out, _ = audit(lab, "export")
    everything = [json.loads(line) for line in out.splitlines()]
    check(any(r["subject"] == addresses["bob"] for r in everything), "there are beta's, too")
    check([line["record"] for line in lines] == [r for r in everything if is_acmes(r)][:len(lines)], "and none of acme's is left out")
    vkey = (lab.state / "audit" / "audit.vkey").read_text().strip()
    export = lab.dir / "acme.jsonl"
    export.write_text(done.stdout)
    code, out, err = audit(lab, "check-proof", str(export), "--verifier", vkey, relay=False)
    check(code == 0 and json.loads(out)["records"] == len(lines), f"each is proven, without a relay {err}")
    for change in ("record", "bytes", "proof"):
        bad = [dict(line) for line in lines]
        bad[0][change] = {**bad[0]["record"], "kind": "act"} if change == "record" else lines[-1][change]
        export.write_text("".join(json.dumps(line) + "\n" for line in bad))
        code, _, err = audit(lab, "check-proof", str(export), "--verifier", vkey, relay=False)
        check(code == EXIT["store"] and "line 1:" in err, f"a line whose {change} was changed is found: {err}")
    for args in (("export", "--tenant", "beta"), ("verify",), ("status",), ("prove", "0")):
        done = as_auditor(lab, *args)
        check(done.returncode == EXIT["permission"], f"what is others' is not for it: audit {' '.join(args)}: {done.stderr.strip()}")
    done = as_auditor(lab, "tail", "--count", "1000")
    check(done.returncode == 0 and addresses["bob"] not in done.stdout and addresses["alice"] in done.stdout, "a tail is acme's alone")


def test(lab):
    shutil.copy2(BUILD / "sluicectl", lab.dir / "bin" / "sluicectl")
    os.chmod(lab.dir / "bin" / "sluicectl", 0o755)
    lab.make_relay()
    lab.base_config = lab.config.read_text().replace('group: ""', f"group: nogroup, roles: [{{ user: {AUDITOR}, role: auditor, tenant: acme }}]")
    configure(lab, "")
    lab.start_relay()
    folder = lab.state / "audit"
    for tenant, name in (("acme", "alice"), ("beta", "bob")):
        lab.ctl("tenant", "add", tenant)
        lab.join(name, lab.ctl("token", "create", "--tenant", tenant, "--host", lab.address(name, 1))["join"])
        lab.start_agent(name)
        wait_until(f"{name} to connect", lambda: lab.info(name).get("session", {}).get("up"), 15)
    wait_until("the names", lambda: {"alice", "bob"} <= {a["name"] for a in lab.ctl("agents")["agents"]}, 10, 0.1)
    make_records(lab, 10)
    for_one_tenant(lab)
    for name in lab.names:
        lab.ctl("revoke", name)
    early = lab.dir / "checkpoint.early"
    early.write_text((folder / "checkpoint").read_text())
    check(int(early.read_text().splitlines()[1]) % 256 != 0, "an early checkpoint is kept")
    make_records(lab, 2000)
    now = status(lab)
    check(now["first"] == 0 and now["keep_for_s"] is None and now["when_unavailable"] == "deny", "by default everything stays")
    killed_while_it_removes(lab, folder)
    killed_at_random(lab, folder)
    used_when_pruned(lab, folder, early)
    lies(lab, folder)


main(test, enrol=False, agents=("alice", "bob"))
