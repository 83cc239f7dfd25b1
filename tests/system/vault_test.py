#!/usr/bin/python3
"""Credentials go into the vault by sluicectl and are not seen again: not in an answer, the store, the log or the audit log.
The vault opens after a kill at any moment of a rotation, and says in one sentence why it does not: without its key file, with
another one, one that others can read, a wrong passphrase, another TPM or none. A store that was put back is refused."""
import json
import os
import pty
import random
import secrets
import shutil
import signal
import subprocess
import time

from common import BUILD, check, main, run, wait_until

said = []  # everything that sluicectl has printed


def ctl(lab, *args, secret=None, code=0):
    result = subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "--json", *map(str, args)],
                            input=secret, capture_output=True, text=True, timeout=60,
                            stdin=subprocess.DEVNULL if secret is None else None)
    said.append(result.stdout + result.stderr)
    if result.returncode != code:
        raise AssertionError(f"sluicectl {args}: exit {result.returncode}, not {code}: {result.stderr}")
    return json.loads(result.stdout)


def refused(lab, words, *args, secret=None, code):
    message = ctl(lab, *args, secret=secret, code=code)["error"]["message"]
    check(words in message and "\n" not in message, f"{args[0]} {args[1]}: {message}")


def credentials(lab):
    return {c["name"]: c for c in ctl(lab, "credential", "list")["credentials"]}


def state(lab):
    return ctl(lab, "vault", "status")["state"]


def configure(lab, text):
    """The vault's section in the place of the one before."""
    lines = [line for line in lab.config.read_text().splitlines() if not line.startswith("vault:")]
    lab.config.write_text("\n".join([*lines, f"vault: {text}"]) + "\n")


def restart(lab, how=signal.SIGKILL):
    lab.end(lab.relay, how)
    lab.start_relay()


def unlocked(lab):
    wait_until("the vault to open by itself", lambda: state(lab) == "unlocked", 10, 0.02)


def secret_file(lab, name, text, mode=0o600):
    path = lab.dir / name
    path.write_text(text)
    path.chmod(mode)
    return path


def goes_in_and_is_not_seen_again(lab, words):
    refused(lab, "sluicectl vault init", "credential", "set", "early", "--tenant", "7", "--query", "k", secret="x", code=5)
    check(state(lab) == "uninitialised", "there is no vault at first")
    check(ctl(lab, "vault", "init")["state"] == "unlocked", "init makes it")
    refused(lab, "there already", "vault", "init", code=8)
    key = lab.state / "vault.key"
    check(key.stat().st_mode & 0o7777 == 0o600 and key.stat().st_size == 32, "its key is a file of its owner alone")

    made = ctl(lab, "credential", "set", "search", "--tenant", "7", "--target", "beta", "--protocol", "mcp",
               "--header", "Authorization: Bearer {}", "--max-age", "90d", secret=words["header"] + "\n")
    check((made["version"], made["parts"], made["max_age_s"]) == (1, ["header"], 90 * 86400), "a header")
    check([(b["target"], b["protocol"]) for b in made["bindings"]] == [("beta", "mcp")], "bound to beta's mcp calls")
    ctl(lab, "credential", "set", "query", "--tenant", "7", "--query", "api_key", secret=words["query"])
    endpoint = secret_file(lab, "endpoint", f"https://{words['endpoint']}.example/v1\n")
    ctl(lab, "credential", "set", "both", "--tenant", "7", "--header", "X-API-Key: …", "--header", "X-Org: acme", "--endpoint-file", endpoint,
        secret=words["header2"])
    ctl(lab, "credential", "set", "hook", "--tenant", "7", "--webhook-file", "-", secret=f"https://h.example/{words['webhook']}")
    for name, what in (("cert", "CERTIFICATE"), ("key", "PRIVATE KEY")):
        secret_file(lab, name, f"-----BEGIN {what}-----\n{words['client_key']}\n-----END {what}-----\n")
    ctl(lab, "credential", "set", "mtls", "--tenant", "7", "--client-cert", lab.dir / "cert", "--client-key", lab.dir / "key")
    ctl(lab, "credential", "set", "oauth", "--tenant", "7", "--oauth2", "--client-id", "me", "--scope", "read",
        "--token-url-file", secret_file(lab, "token", f"https://{words['token_url']}.example/token"), secret=words["client_secret"])
    shown = credentials(lab)
    check({n: c["parts"] for n, c in shown.items()} ==
          {"search": ["header"], "query": ["query"], "both": ["header", "endpoint"], "hook": ["webhook"],
           "mtls": ["client_certificate"], "oauth": ["oauth2"]}, "the list says what each consists of")
    check(all(c["state"] == "usable" and c["version"] == 1 for c in shown.values()), "that it is set, and its version")

    # What is refused says why, and nothing else.
    refused(lab, "chmod 600", "credential", "set", "x", "--tenant", "7", "--endpoint-file",
            secret_file(lab, "open", f"https://{words['endpoint']}/", 0o644), code=6)
    refused(lab, "one line of ASCII", "credential", "set", "x", "--tenant", "7", "--header", "A: {}",
            secret=words["header"] + "\nX: y", code=2)
    refused(lab, "more than 8192 bytes", "credential", "set", "x", "--tenant", "7", "--query", "k", secret="x" * 9000, code=15)
    refused(lab, "standard input is one of them", "credential", "set", "x", "--tenant", "7", "--header", "A: {}",
            "--endpoint-file", "-", secret=words["header"], code=2)
    refused(lab, "does not belong on the command line", "credential", "set", "x", "--tenant", "7", "--header", "x-API-key: typed",
            secret="x", code=2)
    refused(lab, "unbind that one first", "credential", "bind", "query", "--tenant", "7", "--target", "beta", "--protocol", "mcp", code=8)
    refused(lab, "no credential nothing", "credential", "delete", "nothing", "--tenant", "7", code=5)

    # When it may be used.
    made = ctl(lab, "credential", "set", "query", "--tenant", "7", "--query", "api_key", "--not-before", "2099-01-01T00:00",
               secret=words["query"])
    check((made["version"], made["state"], made["opens_at_ms"]) == (2, "outside_window", 4070908800000), "not before its time")
    made = ctl(lab, "credential", "set", "query", "--tenant", "7", "--query", "api_key", "--no-limits", secret=words["query"])
    check((made["version"], made["state"], made["not_before_ms"]) == (3, "usable", None), "then at any")
    refused(lab, "not business hours", "credential", "set", "query", "--tenant", "7", "--query", "k", "--hours", "never",
            secret=words["query"], code=2)

    ctl(lab, "credential", "unbind", "--tenant", "7", "--target", "beta", "--protocol", "mcp")
    ctl(lab, "credential", "bind", "query", "--tenant", "7", "--target", "beta", "--protocol", "mcp")
    ctl(lab, "credential", "unbind", "--tenant", "7", "--target", "beta", "--protocol", "mcp")
    made = ctl(lab, "credential", "bind", "search", "--tenant", "7", "--target", "beta", "--protocol", "mcp")
    check(len(made["bindings"]) == 1, "bindings change hands")
    ctl(lab, "credential", "delete", "hook", "--tenant", "7")
    check("hook" not in credentials(lab), "a deleted one is gone")


def is_nowhere(lab, words):
    """In what was printed, the store with its backup, the logs, and what the relay shows of changes and audit."""
    lab.ctl("backup", str(lab.dir / "copy.db"))
    for shown in (("changes", "--limit", "1000"), ("audit", "tail", "--count", "1000"), ("events",)):
        def look(shown=shown):
            out = subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "--json", *shown], capture_output=True, text=True, timeout=30)
            said.append(out.stdout)
            return out.returncode == 0 and "credential_set" in out.stdout
        # The audit log takes up changes a moment after they are answered.
        wait_until(f"sluicectl {shown[0]} to know of credentials", look, 10, 0.1)
    everything = "".join(said)
    check(not [w for w in words.values() if w in everything], "no secret, endpoint or webhook is in any answer")
    files = [p for folder in (lab.state,) for p in folder.rglob("*") if p.is_file()] + [lab.dir / "copy.db", lab.dir / "relay.log"]
    held = [p for p in files if any(w.encode() in p.read_bytes() for w in words.values())]
    check(not held, f"nor in {len(files)} files: {held}")
    check((lab.dir / "copy.db").read_bytes().find(b"search") > 0, "where its name is")


def survives_kills(lab):
    for i in range(20):
        ctl(lab, "credential", "set", f"many-{i}", "--tenant", "7", "--query", "k", secret=secrets.token_hex(2000))
    names = set(credentials(lab))
    for kind in (["rotate"], ["rotate", "--master"]) * 2:
        child = subprocess.Popen([BUILD / "sluicectl", "--socket", lab.socket, "vault", *kind],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.002, 0.03))  # anywhere in it
        restart(lab)
        child.wait(10)
        unlocked(lab)
        wait_until("the rotation to be over", lambda: len(ctl(lab, "vault", "status")["data_keys"]) == 1, 10, 0.05)
        shown = credentials(lab)
        check(set(shown) == names and all(c["state"] == "usable" for c in shown.values()),
              f"killed within {' '.join(kind)}: all {len(names)} are there and open")
    before = ctl(lab, "vault", "status")
    done = ctl(lab, "vault", "rotate")
    check(done["records"] == len(names), "and one that nobody stops seals all anew")
    done = ctl(lab, "vault", "rotate", "--master")
    after = ctl(lab, "vault", "status")
    check(after["master"]["number"] == before["master"]["number"] + 1 and not (lab.state / "vault.key.next").exists(),
          "another master key is in the file's place")


def says_what_is_wrong_with_its_file(lab):
    key = lab.state / "vault.key"
    good = key.read_bytes()

    def locked(words, what):
        restart(lab)
        wait_until("it to try", lambda: not ctl(lab, "vault", "status")["unlocking"], 10, 0.02)
        status = ctl(lab, "vault", "status")
        check(status["state"] == "locked" and words in status["why"], f"{what}: {status['why']}")
        check(credentials(lab)["search"]["state"] == "unavailable", "calls get nothing")
        refused(lab, words, "vault", "unlock", code=6 if what.startswith("others") else 12)

    key.chmod(0o640)
    locked("chmod 600", "others can read it")
    key.chmod(0o600)
    key.write_bytes(secrets.token_bytes(32))
    locked("holds another master key", "another key")
    key.unlink()
    locked("put its file back", "no key")
    key.write_bytes(good)
    key.chmod(0o600)
    ctl(lab, "vault", "unlock")
    check(credentials(lab)["search"]["state"] == "usable", "with its file nothing is lost")
    ctl(lab, "vault", "lock")
    refused(lab, "an operator locked it", "credential", "set", "x", "--tenant", "7", "--query", "k", secret="x", code=13)
    ctl(lab, "vault", "unlock")


def knows_a_store_that_was_put_back(lab):
    lab.end(lab.relay, signal.SIGTERM, 15)
    copy = lab.dir / "earlier"
    copy.mkdir()
    for f in lab.state.glob("sluice.db*"):
        shutil.copy2(f, copy)
    lab.start_relay()
    unlocked(lab)
    ctl(lab, "credential", "delete", "oauth", "--tenant", "7")
    wait_until("the audit log to know", lambda: "credential_deleted" in subprocess.run(
        [BUILD / "sluicectl", "--socket", lab.socket, "--json", "audit", "tail", "--count", "20"], capture_output=True, text=True).stdout, 10, 0.1)
    lab.end(lab.relay, signal.SIGTERM, 15)
    later = lab.dir / "later"
    later.mkdir()
    for f in lab.state.glob("sluice.db*"):
        shutil.move(f, later)
    for f in copy.iterdir():
        shutil.copy2(f, lab.state)
    done = subprocess.run(["ip", "netns", "exec", lab.ns("relay"), BUILD / "sluiced", "-c", lab.config], capture_output=True, text=True, timeout=30)
    check(done.returncode != 0 and "audit" in done.stderr, f"a deleted credential does not come back: {done.stderr.strip().splitlines()[-1][:200]}")
    for f in lab.state.glob("sluice.db*"):
        f.unlink()
    for f in later.iterdir():
        shutil.copy2(f, lab.state)
    lab.start_relay()
    unlocked(lab)


def opens_with_a_passphrase(lab):
    phrase = f"phrase-{secrets.token_hex(8)}"
    configure(lab, "{ source: passphrase, passphrase: { memory_mb: 64, passes: 1 } }")
    restart(lab)
    unlocked(lab)
    refused(lab, "at least 12", "vault", "rotate", "--master", secret="short", code=2)
    ctl(lab, "vault", "rotate", "--master", secret=phrase + "\n")
    restart(lab)
    check(state(lab) == "locked", "with a passphrase it is locked at the start")
    refused(lab, "not the vault's passphrase", "vault", "unlock", secret="something else", code=13)
    check(state(lab) == "locked", "a wrong one opens nothing")
    ctl(lab, "vault", "unlock", "--passphrase-file", secret_file(lab, "phrase", phrase))
    check(credentials(lab)["search"]["state"] == "usable", "the right one does")
    ctl(lab, "vault", "lock")
    asks_without_showing(lab, phrase)
    return phrase


class Tpm:
    def __init__(self, lab, name, port):
        self.lab, self.dir, self.port = lab, lab.dir / name, port
        self.dir.mkdir()
        self.start()

    def start(self):
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", self.lab.ns("relay"), "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir}",
             "--server", f"type=tcp,port={self.port}", "--ctrl", f"type=tcp,port={self.port + 1}",
             "--flags", "not-need-init,startup-clear"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.lab.children.append(self.child)
        wait_until("swtpm to listen", lambda: self.child.poll() is not None or f":{self.port + 1} " in run(
            "ip", "netns", "exec", self.lab.ns("relay"), "ss", "-Hltn").stdout, 5, 0.02)
        if self.child.poll() is not None:
            raise OSError("swtpm does not start here")

    def stop(self):
        self.lab.end(self.child)


def asks_without_showing(lab, phrase):
    """On a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(BUILD / "sluicectl", ["sluicectl", "--socket", str(lab.socket), "vault", "unlock"])
    shown = b""
    while b": " not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, phrase.encode() + b"\n")
    try:
        while piece := os.read(terminal, 1000):
            shown += piece
    except OSError:  # it has ended
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    check(status == 0 and b"Passphrase: " in shown and b"unlocked" in shown and phrase.encode() not in shown, "a prompt shows nothing of what is typed")


def opens_with_a_tpm(lab, phrase):
    if shutil.which("swtpm") is None:
        print("skipped: TPM, for there is no swtpm", flush=True)
        return
    run("ip", "-n", lab.ns("relay"), "link", "set", "lo", "up")
    try:
        tpm = Tpm(lab, "tpm", 2321)
    except OSError as why:
        print(f"skipped: TPM, for {why}", flush=True)
        return
    configure(lab, '{ source: tpm, tpm: { tcti: "swtpm:host=127.0.0.1,port=2321", pcrs: [7, 16] } }')
    restart(lab)
    ctl(lab, "vault", "unlock", secret=phrase)
    check(ctl(lab, "vault", "rotate", "--master")["rotated"] == "master", "the TPM takes the master key over")
    restart(lab)
    unlocked(lab)
    check(credentials(lab)["search"]["state"] == "usable", "and gives it at each start")
    tpm.stop()
    check(credentials(lab)["search"]["state"] == "usable", "once open, it is not needed")
    restart(lab)
    wait_until("it to try", lambda: not ctl(lab, "vault", "status")["unlocking"], 10, 0.05)
    refused(lab, "does not answer", "vault", "unlock", code=7)
    other = Tpm(lab, "other", 2321)
    refused(lab, "another one has", "vault", "unlock", code=12)
    other.stop()
    tpm.start()
    ctl(lab, "vault", "unlock")
    check(credentials(lab)["search"]["state"] == "usable", "with its own TPM nothing is lost")


def test(lab):
    words = {n: f"{n.replace('_', '-')}-{secrets.token_hex(8)}" for n in
             ("header", "header2", "query", "endpoint", "webhook", "client_key", "client_secret", "token_url")}
    lab.start_relay()
    goes_in_and_is_not_seen_again(lab, words)
    is_nowhere(lab, words)
    survives_kills(lab)
    says_what_is_wrong_with_its_file(lab)
    knows_a_store_that_was_put_back(lab)
    phrase = opens_with_a_passphrase(lab)
    opens_with_a_tpm(lab, phrase)
    words["phrase"] = phrase
    everything = "".join(said) + lab.relay_log()
    check(not [w for w in words.values() if w in everything], "and still no answer or log has any of it")


if __name__ == "__main__":
    main(test)
