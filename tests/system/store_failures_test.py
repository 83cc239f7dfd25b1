#!/usr/bin/python3
"""The disk under the relay's store fills up, is read-only, is damaged: what is said, what goes on, and what is there again
afterwards."""
import errno
import os
import pathlib
import shutil
import signal
import subprocess

from common import BUILD, LabError, Traffic, check, main, ping_ok, run, wait_until


def ctl(lab, *args):
    return subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, *args], capture_output=True, text=True)


def fill(path):
    """Until not a byte more fits."""
    with open(path, "ab", buffering=0) as f:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise


def refusal(lab):
    """Why the relay does not start."""
    try:
        lab.start_relay()
    except LabError as e:
        return str(e)
    raise LabError("the relay started")


def test(lab):
    keys = {p.name: p.read_bytes() for p in lab.state.iterdir()}
    run("mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", lab.state)
    for name, content in keys.items():
        (lab.state / name).write_bytes(content)
        (lab.state / name).chmod(0o600)
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    copy = lab.dir / "copy.db"
    lab.ctl("backup", copy)

    # Full.
    flow = Traffic(lab, "alpha", "beta", 200)
    fill(lab.state / "filler")
    # What the log has room for without growing still goes.
    for n in range(500):
        added = ctl(lab, "tenant", "add", f"acme-{n}")
        if added.returncode != 0:
            break
        fill(lab.state / "filler")
    check(added.returncode != 0 and "full" in added.stderr, f"a change is refused with its reason: {added.stderr.strip()}")
    tenants = [t["name"] for t in lab.ctl("tenant", "list")["tenants"] if t["name"]]
    check(tenants == [f"acme-{i}" for i in range(n)], f"and did not happen, as {n} before it did")
    fill(lab.state / "filler")
    cut = ctl(lab, "revoke", "gamma", "--reason", "full")
    check(cut.returncode == 9 and "full" in cut.stderr, f"a revocation cuts, and says that it would not last: {cut.stderr.strip()}")
    wait_until("gamma's peers to be told", lambda: all(p["name"] != "gamma" for p in lab.peers("alpha")), 5)
    check(not ping_ok(lab, "gamma", "alpha", 1), "gamma is cut")
    key = ctl(lab, "relay", "rotate-key")
    check(key.returncode != 0 and lab.ctl("relay", "keys")["number"] == 0, "the relay's key stays what it was")
    flow.stop()
    flow.check_whole()
    check(True, "messages went on all the time")
    (lab.state / "filler").unlink()
    lab.ctl("tenant", "add", "acme-more")
    check(lab.ctl("revoke", "gamma", "--reason", "again")["state"] == "cut", "with room, the same is done, and lasts")
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    check({a["name"]: a["state"] for a in lab.ctl("agents")["agents"]}["gamma"] == "revoked", "also over a kill")
    check([t["name"] for t in lab.ctl("tenant", "list")["tenants"] if t["name"]] == [*tenants, "acme-more"], "as do the changes")
    lab.end(lab.relay)

    # Read-only.
    run("mount", "-o", "remount,ro", lab.state)
    why = refusal(lab)
    check("Read-only" in why and str(lab.state) in why, f"from a read-only disk it does not start: {why.splitlines()[-1]}")
    run("mount", "-o", "remount,rw", lab.state)
    lab.start_relay()
    wait_until("alpha and beta", lambda: ping_ok(lab, "alpha", "beta", 3), 40, 0.2)
    check(True, "and does once it is not")
    lab.end(lab.relay)

    # Damaged.
    store = pathlib.Path(lab.state) / "sluice.db"
    whole = store.read_bytes()
    page = 4096
    spoilt = whole[:page] + os.urandom(page * 3) + whole[4 * page:]
    store.write_bytes(spoilt)
    why = refusal(lab)
    check("damaged" in why and "restore" in why, f"from a damaged store it does not start: {why.splitlines()[-1]}")
    check(store.read_bytes() == spoilt, "and leaves it as it is")
    refused = run(BUILD / "sluicectl", "restore", copy, "--state-dir", lab.state, check=False)
    check(refused.returncode != 0, "a restore says first what it would forget")
    run(BUILD / "sluicectl", "restore", copy, "--state-dir", lab.state, "--forget-changes")
    lab.start_relay()
    lab.ctl("revoke", "gamma", "--reason", "once more")
    wait_until("alpha and beta on the copy", lambda: ping_ok(lab, "alpha", "beta", 3), 40, 0.2)
    check(True, "a backup brings it back")


def with_disk(lab):
    try:
        test(lab)
    finally:
        for child in reversed(lab.children):
            lab.end(child)
        subprocess.run(["umount", "-l", lab.state], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(lab.state, ignore_errors=True)


main(with_disk, agents=("alpha", "beta", "gamma"))
