#!/usr/bin/python3
"""What two agents say to each other, and the token by which one of them was enrolled, stand nowhere at the relay: not in its
memory, its files, its log, its metrics and events, nor where a core dump would take them from. That the search finds what
is there is shown with a name that the relay knows, and with the message where it is at home."""
import base64
import json
import os
import pathlib
import re
import resource
import secrets
import signal
import subprocess

from common import BUILD, check, main, ping_ok, wait_until
from process_memory import mappings, search, where

def forms(text):
    """As it is, and as it stands in JSON's base64 and in hex, wherever it begins."""
    raw = text if isinstance(text, bytes) else text.encode()
    out = [raw, raw.hex().encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        out.append(encoded[4 if shift else 0:len(encoded) - 4])  # what its neighbours do not change
    return out


def folder_holds(folder, needles):
    return [p for p in folder.rglob("*") if p.is_file() and any(n in p.read_bytes() for n in needles)]


def say_it(lab, canary):
    """Datagrams both ways, and calls with their answers."""
    for a, b in (("alice", "bob"), ("bob", "alice")):
        lab.agent(a, "send", b, f"{canary} {a} {{}}", "--count", "200", "--rate", "2000")
    lab.serve("bob", "--echo")
    asked = f"{canary} asked"

    def answered():
        done = lab.agent("alice", "call", "bob", input=asked, check=False)
        return done.returncode == 0 and done.stdout == asked
    wait_until("bob to serve", answered, 20, 0.2)
    check(all(answered() for _ in range(5)), "bob answers with what he was asked")


def test(lab):
    canary = f"canary-{secrets.token_hex(12)}"
    known = f"known-{secrets.token_hex(12)}"
    # The relay is to forbid dumps itself, whatever it inherits.
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    lab.make_relay()
    lab.start_relay()
    relay = lab.relay.pid
    lab.ctl("tenant", "add", "acme")
    tokens = {}
    for name in lab.names:
        made = lab.ctl("token", "create", "--tenant", "acme", "--host", lab.address(name, 1))
        tokens[name] = made["join"]
        lab.join(name, made["join"])
        lab.start_agent(name)
    wait_until("both to connect", lambda: all(lab.info(n).get("session", {}).get("up") for n in lab.names), 20)
    lab.agent("alice", "handshake", lab.dids["bob"], "to talk and to call", "--capabilities", "tool_call", "--protocols", "raw")
    wait_until("the request", lambda: json.loads(lab.agent("bob", "pending", "--json").stdout)["incoming"], 10, 0.1)
    lab.agent("bob", "approve", "alice")
    wait_until("alice and bob", lambda: lab.peers("alice") and ping_ok(lab, "alice", "bob", 3), 20, 0.2)
    did = subprocess.run([BUILD / "sluice-agent", "--state", lab.dir / "known", "init", "--name", "n"],
                         input=lab.ctl("token", "create", "--tenant", "acme", "--host", "192.0.2.1")["join"],
                         capture_output=True, text=True, check=True).stdout.strip()
    lab.ctl("agent", "add", did, "--tenant", "acme", "--name", known)

    sealed = a_credential(lab, relay)
    before = lab.ctl("counters")["totals"]["forwarded"]
    say_it(lab, canary)
    flow = lab.spawn_agent("alice", "send", "bob", f"{canary} on its way {{}}", "--count", "100000", "--rate", "500",
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    forwarded = lab.ctl("counters")["totals"]["forwarded"] - before
    check(forwarded > 400, f"{forwarded} packets with the canary went through")

    needles = forms(canary)
    # While it goes on: what is on its way counts, too.
    found, size = search(relay, [*needles, known.encode()])
    in_memory = {n: found[n] for n in needles}
    check(found[known.encode()], f"in {size >> 20} MiB of the relay's memory the search finds an agent's name that the relay knows")
    check(any(m.dumped for m in found[known.encode()]), "which a core dump would show")
    check(not any(in_memory.values()), f"and what they said: {where(in_memory)}")
    check(flow.poll() is None, "while messages were on their way")
    at_home, _ = search(lab.daemons["bob"].pid, needles)
    check(at_home[needles[0]], f"in bob's own daemon, who has not read them, it is found: {where(at_home)}")
    lab.end(flow)

    secrets_of = [s for join in tokens.values() for s in secrets_in(join)]
    check(secrets_of, "the tokens' secrets are known to the test")
    # As bytes, as the relay made it and a HELLO brought it; its text was an answer to the operator.
    spent, _ = search(relay, secrets_of[1::2])
    check(not any(spent.values()), f"tokens that are spent are nowhere in its memory: {where(spent)}")

    kept_apart(relay, sealed, "at the end")
    keys = [m for m in mappings(relay) if "sluice" in m.path and "memfd" in m.path]
    check(keys and not any(m.dumped for m in keys), f"what holds keys is in no dump: {[m.path for m in keys]}")

    everything = [*needles, *secrets_of, *(n for what in sealed.values() for n in what)]
    check([p.name for p in folder_holds(lab.state, sealed.pop("the vault's key"))] == ["vault.key"], "the vault's key is in its file alone")
    everything = [*needles, *secrets_of, *(n for what in sealed.values() for n in what)]
    check(not folder_holds(lab.state, everything), "nothing of it in the store, the audit log and the relay's other files")
    check(folder_holds(lab.state, [known.encode()]), "where the name is")
    check(not any(n in (lab.dir / "relay.log").read_bytes() for n in everything), "nor in its log")
    for shown in (("counters",), ("agents",), ("edges",), ("changes", "--limit", "1000"), ("audit", "tail", "--count", "1000"), ("events",)):
        out = subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "--json", *shown], capture_output=True, timeout=30)
        check(out.returncode == 0 and not any(n in out.stdout for n in everything), f"nor in what sluicectl {shown[0]} shows")
    out = subprocess.run(["curl", "-s", "--unix-socket", lab.socket, "http://relay/metrics"], capture_output=True, timeout=30)
    check(b"sluice_" in out.stdout and not any(n in out.stdout for n in everything), "nor in its metrics")

    # A crash leaves no dump of it.
    limits = pathlib.Path(f"/proc/{relay}/limits").read_text()
    check(re.search(r"Max core file size\s+0\s+0\s", limits), "the relay allows itself no core file")
    lab.relay.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(relay, 0)
    lab.relay.returncode = -os.WTERMSIG(status)
    check(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV, "it is made to crash")
    check(not os.WCOREDUMP(status), "and dumps nothing")


def a_credential(lab, relay):
    """Put into the vault; what of it and its keys is nowhere but there, by what it is."""
    lab.ctl("vault", "init")
    secret, endpoint, phrase = (f"{what}-{secrets.token_hex(12)}" for what in ("credential", "endpoint", "phrase"))
    sealed = {"a credential": forms(secret), "an endpoint": forms(endpoint), "a passphrase": forms(phrase),
              "the vault's key": [(lab.state / "vault.key").read_bytes()]}
    where = lab.dir / "endpoint"
    where.write_text(f"https://{endpoint}.example/")
    where.chmod(0o600)
    # After each, before another request takes the memory of the one before.
    for name in ("canary", "canary", "Refused!"):
        subprocess.run([BUILD / "sluicectl", "--socket", lab.socket, "credential", "set", name, "--tenant", "acme",
                        "--header", "Authorization: Bearer {}", "--endpoint-file", where], input=secret, text=True,
                       check=name == "canary", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kept_apart(relay, sealed, f"after set {name}")
    # A passphrase that the vault has no use for, by other hands than sluicectl's.
    subprocess.run(["curl", "-s", "--unix-socket", lab.socket, "-H", "Content-Type: application/octet-stream", "--data-binary", phrase,
                    "http://relay/v1/vault/unlock"], check=True, stdout=subprocess.DEVNULL)
    kept_apart(relay, sealed, "after unlock")
    lab.ctl("vault", "lock")
    lab.ctl("vault", "unlock")
    lab.ctl("vault", "rotate")
    return sealed


def kept_apart(relay, sealed, when):
    """Outside of memory that is locked and in no dump there is nothing of it."""
    found, _ = search(relay, [n for needles in sealed.values() for n in needles])
    for what, needles in sealed.items():
        open_to_dumps = {n: [m for m in found[n] if m.dumped or "lo" not in m.flags] for n in needles}
        check(not any(open_to_dumps.values()), f"{when} {what} is in no memory that a dump shows: {where(open_to_dumps)}")
    check(found[sealed["the vault's key"][0]], "the vault's key is found where it is in use")


def secrets_in(join):
    """The token of a join string, as text and as bytes."""
    text = join.strip().split("#", 1)[1].split(".", 1)[1]
    return [text.encode(), base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))]


if __name__ == "__main__":
    main(test, enrol=False, agents=("alice", "bob"))
