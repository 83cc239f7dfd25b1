#!/usr/bin/python3
"""A backup of a running relay, a restore where none runs: traffic goes on, nothing revoked is forgotten without being asked
for, and what was restored is what the relay then does."""
import json
import signal
import subprocess

from common import BUILD, Traffic, check, main, ping_ok, wait_until


def restore(lab, copy, *args):
    done = subprocess.run([BUILD / "sluicectl", "--json", "restore", copy, "--state-dir", lab.state, *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.strip(), json.loads(done.stdout) if done.stdout else {}


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    check(ping_ok(lab, "alpha", "beta"), "alpha reaches beta")
    traffic = Traffic(lab, "alpha", "beta", 500)
    copy = lab.dir / "copy.db"
    done = lab.ctl("backup", copy)
    check(done["bytes"] == copy.stat().st_size and copy.stat().st_mode & 0o777 == 0o600, f"a backup of {done['bytes']} bytes, 0600")
    check(lab.ctl("changes")["changes"][-1]["sequence"] == done["last_change"], "up to the last change")
    again = subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "backup", copy], capture_output=True, text=True)
    check(again.returncode == 8 and "overwrites nothing" in again.stderr, "a second one to the same file is refused")
    nowhere = subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "backup", "/nonexistent/copy"], capture_output=True,
                             text=True)
    check(nowhere.returncode != 0 and "/nonexistent/copy" in nowhere.stderr, "one to nowhere says where")
    traffic.stop().check_whole()

    lab.ctl("revoke", "gamma", "--reason", "after the backup")
    code, text, _ = restore(lab, copy)
    check(code == 8 and "in use" in text, "nothing is restored under a running relay")
    lab.end(lab.relay, signal.SIGKILL)
    code, text, body = restore(lab, copy)
    check(code == 13 and "of them revocations" in text and body["error"]["code"] == "refused", f"refused: {text}")
    lab.start_relay()
    check({a["name"]: a["state"] for a in lab.ctl("agents")["agents"]}["gamma"] == "revoked", "and gamma stays revoked")
    lab.end(lab.relay, signal.SIGKILL)
    code, text, body = restore(lab, copy, "--forget-changes")
    check(code == 0 and body["forgotten_revocations"] == 1 and body["replaced"], f"restored when told to: {body}")
    lab.start_relay()
    check({a["name"]: a["state"] for a in lab.ctl("agents")["agents"]}["gamma"] == "active", "as the backup knew it")
    wait_until("alpha and beta to come back", lambda: ping_ok(lab, "alpha", "beta", 3), 40, 0.2)
    lab.end(lab.relay)


main(test, agents=("alpha", "beta", "gamma"), pairs=[("alpha", "beta")])
