#!/usr/bin/python3
"""What goes wrong before anything runs: one clear sentence with the remedy and the right exit code."""
import os
import socket
import subprocess

from common import BUILD, check, main, run, wait_until


def test(lab):
    def relay(config, **kwargs):
        path = lab.dir / "bad.yaml"
        path.write_text(config)
        return subprocess.run(["ip", "netns", "exec", lab.ns("relay"), str(BUILD / "sluiced"), "-c", str(path)],
                              capture_output=True, text=True, timeout=60, **kwargs)

    def refused(result, code, *words):
        text = result.stderr
        check(result.returncode == code and all(w in text for w in words),
              f"exit {code}: {text.strip().splitlines()[-1] if text.strip() else '(nothing)'} "
              f"[wanted {code} {words}, got {result.returncode}]")

    good = lab.config.read_text()
    result = relay(good.replace("iface=r0", "iface=nosuch0"))
    refused(result, 7, "DPDK")
    refused(relay(good.replace("in_memory", "shared").replace("no_huge", "shared")
                  .replace("agents: 256", "agents: 1000000").replace("sessions: 1024", "sessions: 4000000")),
            7, "hugepages", "host-setup", "no_huge")
    key = lab.state / "relay.key"
    saved = key.read_bytes()
    key.write_text("not a key\n")
    refused(relay(good), 12, "relay.key")
    os.chmod(key, 0o644)
    refused(relay(good), 6, "chmod 600")
    key.unlink()
    refused(relay(good), 12, "sluiced --new-key")
    key.write_bytes(saved)
    os.chmod(key, 0o600)
    refused(subprocess.run([str(BUILD / "sluiced"), "--new-key", str(key)], capture_output=True, text=True), 8, "exists")
    refused(subprocess.run([str(BUILD / "sluiced"), "-c", "/nonexistent.yaml"], capture_output=True, text=True), 3,
            "/nonexistent.yaml")
    refused(subprocess.run([str(BUILD / "sluicectl"), "--socket", str(lab.dir / "none.sock"), "status"],
                           capture_output=True, text=True), 4, "sluiced", "running")
    refused(subprocess.run([str(BUILD / "sluicectl"), "dance"], capture_output=True, text=True), 2)

    # An occupied admin socket, and then an occupied state directory.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(lab.socket))
    listener.listen()
    refused(relay(good), 8, str(lab.socket))
    listener.close()
    lab.socket.unlink()
    lab.start_relay()
    refused(relay(good), 8, str(lab.state))

    # An agent without its relay says so within 5 s; one with a broken identity does not start.
    lab.end(lab.relay)
    lab.start_agent("alpha")
    wait_until("the agent's complaint", lambda: "no answer" in (lab.dir / "alpha.log").read_text(), 5.5)
    check(True, "an unanswered agent says so: " +
          [line for line in (lab.dir / "alpha.log").read_text().splitlines() if "no answer" in line][0][:160])
    second = lab.agent("alpha", "up", check=False)
    check(second.returncode == 8, f"a second daemon is refused: {second.stderr.strip()}")
    join = run(BUILD / "sluiced", "-c", lab.config, "--join", "10.0.0.1").stdout
    again = lab.agent("alpha", "init", "--name", "alpha", check=False, input=join)
    check(again.returncode == 8, f"init does not replace an identity: {again.stderr.strip()}")
    bad = lab.agent("beta", "init", "--name", "x", check=False, input="http://nonsense")
    check(bad.returncode != 0 and len(bad.stderr.strip().splitlines()) == 1, f"a bad join string: {bad.stderr.strip()}")

    # Without privilege: exit 77.
    probe = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3",
                            str(lab.dir / "scripts" / "demo_run.py")], capture_output=True, text=True, cwd="/") \
        if (lab.dir / "scripts").exists() else None
    if probe:
        check(probe.returncode == 77, f"no privilege: {probe.stdout.strip()}")


def prepare(lab):
    import shutil
    from common import ROOT
    (lab.dir / "scripts").mkdir()
    for name in ("lab.py", "demo_run.py"):
        shutil.copy2(ROOT / "scripts" / name, lab.dir / "scripts" / name)
    test(lab)


main(prepare)
