#!/usr/bin/python3
"""Captures of a call and of messages: what the key log of an agent opens and what stays sealed, the Wireshark dissector in
tshark against the project's own parser over thousands of mutated packets, and key logs that must not be written."""
import json
import os
import random
import re
import shutil
import struct
import subprocess

import captures
from common import BUILD, ROOT, check, main, ping_ok, wait_until

PCAP = BUILD / "sluice-pcap"
LUA = ROOT / "config/wireshark/sluice.lua"
FIELDS = ["verdict", *re.findall(r'^field\("([\w.]+)"', LUA.read_text(), re.M)[1:]]
VERDICTS = set(re.findall(r'X\(k\w+, "(\w+)"', (ROOT / "src/pcap/verdict.h").read_text()))
MUTATED = 6000
TRACE, KEY = "1f" * 16, "2e" * 16
CALLED, SENT = b"CANARY-of-the-call", b"CANARY-of-the-message"


def pcap(*args, code=0):
    done = subprocess.run([PCAP, *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"sluice-pcap {args[0]} ends with {done.returncode}: {done.stderr.strip()}"
    return done.stdout if code == 0 else done.stderr


def tshark(lab, path):
    """Number and fields of every packet, by an ordinary user without settings of its own."""
    script = lab.dir / "sluice.lua"
    shutil.copyfile(LUA, script)
    path.chmod(0o644)
    home = lab.dir / "home"
    home.mkdir(exist_ok=True)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "tshark", "-n", "-X", f"lua_script:{script}",
            "-r", str(path), "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-e", "frame.number",
            "-e", "_ws.lua.error", *[a for f in FIELDS for a in ("-e", f"sluice.{f}")]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120,
                          env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
    if done.returncode != 0 or "Lua" in done.stderr:
        raise AssertionError(f"tshark: {done.stderr[-1000:]}")
    rows = {}
    for line in done.stdout.splitlines():
        number, problem, *values = line.split("\t")
        assert not problem, f"packet {number}: the dissector broke off: see it with tshark -V"
        fields = {name: value for name, value in zip(FIELDS, values) if value != ""}
        if fields:
            rows[int(number)] = fields
    return rows


def shown(path):
    return [json.loads(line) for line in pcap("show", "--json", path).splitlines()]


def as_number(text):
    return {"True": 1, "False": 0}.get(text) if text in ("True", "False") else int(text, 0)


def same(mine, theirs):
    """A value of sluice-pcap's, and tshark's text of it."""
    if isinstance(mine, list):
        parts = theirs.split(",")
        return len(parts) == len(mine) and all(same(m, p) for m, p in zip(mine, parts))
    if isinstance(mine, int):
        return as_number(theirs) == mine
    return theirs.replace(":", "") == mine


def compare(lab, path):
    """Both readings of a capture, packet by packet and field by field; sluice-pcap's."""
    rows, ours = tshark(lab, path), shown(path)
    assert set(rows) == {p["packet"] for p in ours}, f"other packets: {set(rows) ^ {p['packet'] for p in ours}}"
    values = 0
    for packet in ours:
        theirs = rows[packet["packet"]]
        mine = {k: v for k, v in packet.items() if k not in ("packet", "time", "from", "to") and v != ""}
        assert set(mine) == set(theirs), f"packet {packet['packet']} of {path}: {mine} against {theirs}"
        for name, value in mine.items():
            assert same(value, theirs[name]), f"packet {packet['packet']} of {path}: {name}: {value} is {theirs[name]}"
        values += len(mine)
    check(ours, f"{path.name}: parser and dissector agree on {values:,} values of {len(ours):,} packets")
    return ours


# --- key logs that are refused -----------------------------------------------------------------------------------------


def refused(lab, path, code, words):
    done = lab.agent("alpha", "up", "--keylog", path, check=False, timeout=20)
    check(done.returncode == code and words in done.stderr, f"refused: {done.stderr.strip()}")


def key_logs_refused(lab):
    home = lab.dir / "alpha"
    (home / "target").touch(0o600)
    os.chown(home / "target", 65534, 65534)
    (home / "link").symlink_to(home / "target")
    refused(lab, home / "link", 12, "symbolic link")
    os.link(home / "target", home / "second")
    refused(lab, home / "second", 12, "hard link")
    (home / "second").unlink()
    for mode in (0o640, 0o604, 0o620):
        (home / "target").chmod(mode)
        refused(lab, home / "target", 6, "chmod 600")
    (home / "foreign").touch(0o600)
    (home / "foreign").chmod(0o666)
    refused(lab, home / "foreign", 6, "another user")
    os.mkfifo(home / "pipe", 0o600)
    os.chown(home / "pipe", 65534, 65534)
    refused(lab, home / "pipe", 12, "not a regular file")
    refused(lab, home, 7, "cannot open")
    (home / "state/agent.yaml").write_text("keylog: relative/path\n")
    done = lab.agent("alpha", "up", check=False, timeout=20)
    check(done.returncode == 2 and "not an absolute path" in done.stderr, f"refused: {done.stderr.strip()}")
    check((home / "target").stat().st_size == 0 and (home / "foreign").stat().st_size == 0, "nothing was written to any")
    for name in ("target", "link", "foreign", "pipe"):
        (home / name).unlink()
    (home / "state/agent.yaml").unlink()


# --- a capture of a call and of messages --------------------------------------------------------------------------------


def call(lab, *args):
    return subprocess.run(lab.agent_argv("alpha", "call", "beta", "--idempotency-key", KEY, *args), input=CALLED,
                          capture_output=True, cwd=lab.dir, timeout=30)


def capture(lab, log):
    """alpha says everything to beta, and alone writes a key log; both wires."""
    for name in lab.names:
        lab.capture(name)
    lab.start_relay()
    lab.start_agent("alpha", "--keylog", log)
    lab.start_agent("beta")
    wait_until("alpha and beta to connect", lambda: ping_ok(lab, "alpha", "beta", 3), 20, 0.2)
    served = lab.dir / "serve.log"
    lab.spawn_agent("beta", "serve", "--echo", stdout=open(served, "wb"), stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL)
    wait_until("the server", lambda: b"serving calls" in served.read_bytes(), 10)
    done = call(lab, "--trace", TRACE, "--capability", "read", "--protocol", "mcp", "--service", "7", "--scope", "x")
    check((done.returncode, done.stdout) == (0, CALLED), f"the call is answered {done.stderr.decode().strip()}")
    check(call(lab).returncode == 8, "the same idempotency key is denied")
    lab.agent("alpha", "send", "beta", SENT.decode())
    got = lab.agent("beta", "recv", "--count", "1", "--timeout", "10").stdout
    check(SENT.decode() in got, "the message arrives")
    wire = lab.captures["alpha"][1]
    wait_until("it to be in the capture", lambda: SENT in subprocess.run([PCAP, "decrypt", log, wire, "-"],
                                                                         capture_output=True).stdout, 10, 0.1)
    return lab.stop_captures()


def sealed_alone(lab, wires):
    for name, path in wires.items():
        data = path.read_bytes()
        check(CALLED not in data and SENT not in data, f"{name}'s wire shows neither call nor message")
        packets = compare(lab, path)
        check({p["type"] for p in packets} >= {1, 2, 4} and not any(p["opened"] for p in packets) and
              not any(k.split(".")[0] in ("frame", "e2e", "envelope") for p in packets for k in p) and
              all(p["verdict"] == "ok" for p in packets), "and both readers see it sealed")


def opened(lab, wire, log):
    out = lab.dir / "clear.pcap"
    summary = json.loads(pcap("decrypt", "--json", log, wire, out))
    check(out.stat().st_mode & 0o777 == 0o600, "what is in clear is its owner's alone")
    packets = compare(lab, out)
    data = [p for p in packets if p["type"] == 4]
    check(all(p["opened"] for p in data) and summary["data"]["opened"] == len(data) == summary["data"]["sealed"],
          f"every DATA is opened: {summary}")
    messages = [p for p in packets if p.get("e2e.type") == 3]
    check(messages and all(p["e2e.opened"] for p in messages) and summary["messages"]["opened"] == len(messages),
          "and every message in it")
    check(all(p["verdict"] == "ok" for p in packets), "nothing of it is malformed")
    check({p["frame.type"] for p in data} >= {0, 1, 2, 3, 4, 5, 6, 7}, "frames of all types are among them")
    check({p["data.seal"] for p in data} == {1, 2}, "in both seals")
    sizes = [len(a) for a, _ in captures.read(wire)], [len(a) for a, _ in captures.read(out)]
    check(sizes[0] == sizes[1], "every packet keeps its size")
    who = {a["name"]: a["address"] for a in lab.ctl("agents")["agents"]}
    number = {n: int(a.split(":")[0]) << 32 | int(a.split(":")[1].replace(".", ""), 16) for n, a in who.items()}
    first = next(p for p in data if p["frame.type"] == 2)
    check((first["envelope.trace"], first["envelope.idempotency"], first["envelope.issuer"], first["envelope.audience"],
           first["envelope.capability"], first["envelope.protocol"], first["envelope.service"], first["envelope.tenant"],
           first["envelope.scope_count"], first["envelope.counter"]) ==
          (TRACE, KEY, number["alpha"], number["beta"], 1, 2, 7, 7, 1, first["frame.call_id"]),
          "the envelope says what the caller asked for")
    deny = next(p for p in data if p["frame.type"] == 6)
    check(deny["deny.reason"] == 10, "and the denial why")
    texts = [bytes.fromhex(p["e2e.data"]) for p in messages if p["e2e.kind"] == 0]
    check(texts == [SENT], "the message's text stands in its DATAGRAM")
    carried = [bytes.fromhex(p["e2e.sctp"]) for p in messages if p["e2e.kind"] == 3]
    check(sum(CALLED in c for c in carried) >= 2, "the call's bytes in its packets, both ways")
    check("duplicate_idempotency_key" in pcap("show", out), "for people it has words")
    again = lab.dir / "again.pcap"
    check(json.loads(pcap("decrypt", "--json", log, out, again))["data"]["sealed"] == 0 and
          again.read_bytes() == out.read_bytes(), "what is open stays as it is")
    return out


def not_opened(lab, wire, log):
    out = lab.dir / "beta.clear.pcap"
    check("no session of this capture" in pcap("decrypt", log, wire, out, code=5), "alpha's keys open nothing of beta's")
    check([p for p, _ in captures.read(out)] == [p for p, _ in captures.read(wire)], "and change nothing")
    check("exists already" in pcap("decrypt", log, wire, out, code=8), "a file that stands there is not overwritten")
    spoilt = lab.dir / "spoilt.txt"
    lines = [w.split(" ") for w in log.read_text().splitlines()]
    for words in lines:
        if not words[0].startswith("#"):
            words[3] = words[6] = "00" * 32
    spoilt.write_text("\n".join(" ".join(w) for w in lines) + "\nSLUICE_TUNNEL_9 1 2 3\nSLUICE_E2E_1 torn")
    spoilt.chmod(0o600)
    done = subprocess.run([PCAP, "decrypt", "--json", spoilt, lab.dir / "alpha.pcap", lab.dir / "none.pcap"],
                          capture_output=True, text=True)
    summary = json.loads(done.stdout)
    check(done.returncode == 5 and summary["data"]["opened"] == 0 and summary["data"]["refused_tag"] > 0 and
          summary["key_log"]["ignored_lines"] == 2, f"wrong keys are refused by the tags: {summary}")
    spoilt.chmod(0o640)
    check("chmod 600" in pcap("decrypt", spoilt, wire, lab.dir / "x.pcap", code=6), "nor is a key log read that others can")


def key_log_written(lab, log):
    text = log.read_text()
    lines = [w.split(" ") for w in text.splitlines() if not w.startswith("#")]
    check(text.startswith("# Sluice key log") and log.stat().st_mode & 0o777 == 0o600, "the key log is this user's alone")
    check({w[0] for w in lines} == {"SLUICE_TUNNEL_1", "SLUICE_E2E_1"} and all(len(w) == 8 for w in lines),
          f"with a line for each of {len(lines)} sessions")
    keys = [w[i] for w in lines for i in (3, 6)]
    found = [p for p in lab.dir.rglob("*") if p.is_file() and p != log and p.name != "spoilt.txt"
             for data in [p.read_bytes()] for k in keys if k.encode() in data or bytes.fromhex(k) in data]
    check(not found, "no key of it is in any other file")
    check("KEY LOG ON" in (lab.dir / "alpha.log").read_text() and "KEY LOG" not in (lab.dir / "beta.log").read_text(),
          "alpha's log warns of it, beta's does not")
    check(json.loads(lab.agent("alpha", "status", "--json").stdout)["key_log"] == str(log) and
          "WARNING: the keys of all sessions" in lab.agent("alpha", "status").stdout, "so does the status")
    check(json.loads(lab.agent("beta", "status", "--json").stdout)["key_log"] is None, "beta writes none")
    before = text.count("SLUICE_TUNNEL_1")
    lab.end(lab.daemons["alpha"])
    (lab.dir / "alpha/state/agent.yaml").write_text(f"keylog: {log}\n")
    lab.start_agent("alpha")
    wait_until("the next session in it", lambda: log.read_text().count("SLUICE_TUNNEL_1") > before, 20)
    check(log.read_text().startswith(text), "agent.yaml asks for it as well, and it is appended to")


# --- the dissector against the parser -----------------------------------------------------------------------------------


def outer(kind, version=1, sealed=0, receiver=1, counter=9):
    return struct.pack("<BBHIQ", kind, version, sealed, receiver, counter)


def in_clear(frame, flags, after, extension=None, label=5, call=7):
    extension = len(after) if extension is None else extension
    head = struct.pack("<BBHIQ", frame, flags, extension, label, call)
    return outer(0x84, sealed=16 + len(after)) + bytes(16) + head + after


def message(kind, text, counter=0):
    return struct.pack("<BBHIQ", kind, 0, 0, 3, counter) + text


def envelope(call, issued=1000, expires=2000, scopes=(3, 4, 5, 6), count=None, zero=0):
    return struct.pack("<16sQQ16sQQQQHHBBBB4QQ16s64s", bytes(16), 5, call, bytes(16), issued, expires, 7 << 32 | 1, 7 << 32 | 2,
                       7, 9, 3, 2, len(scopes) if count is None else count, zero, *(*scopes, 0, 0, 0, 0)[:4], 8, bytes(16),
                       bytes(64))


def envelopes():
    """At the edges of what is well formed: call id, envelope."""
    last = (1 << 64) - 1 - 65536
    for call in (0, last, last + 1, (1 << 64) - 1):
        yield call, envelope(call)
    yield 8, envelope(7)
    for issued, expires in ((5, 5), (5, 4), (0, 1), (1, 1 << 62), (1, (1 << 62) + 1), (1 << 63, (1 << 63) + 1)):
        yield 7, envelope(7, issued, expires)
    for scopes in ((), (0,), (1,), (3, 3), (4, 3), (3, 1 << 63), (1 << 63, 3), (1, 2, 3, 3)):
        yield 7, envelope(7, scopes=scopes)
    for count in (0, 1, 3, 5, 255):
        yield 7, envelope(7, count=count)
    yield 7, envelope(7, zero=1)


def made():
    """Of what the wire above had none: payloads, and whether they go to the relay."""
    yield outer(3, sealed=32, counter=0) + bytes(range(56)), False
    yield outer(5, version=0, sealed=3) + b"\1\2\3", False
    yield in_clear(8, 0, struct.pack("<IBBBB", 9, 0, 1, 1, 0) + b"secret"), False
    for text in (b"", b"\0", b"\1" + bytes(8), b"\2abc", b"\3" + bytes(7), b"\4\1", b"\4", b"\5zz", b"\0" + bytes(900)):
        yield in_clear(1, 0, message(0x83, text + bytes(16)), 0, call=0), True
    yield in_clear(1, 0, message(1, bytes(56)), 0, call=0), False
    yield in_clear(3, 1, message(2, bytes(52)), 0), True
    for body in (b"\x0a\0", b"\x0b", b"\x80\1", bytes(1200), bytes(1201)):
        yield in_clear(7, 0, body, label=0), False
    for call, body in envelopes():
        yield in_clear(2, 0, body, call=call), True
    for kind in range(10):
        for flags in (0, 1, 2, 3):
            for size in (0, 16, 24, 96, 208):
                yield in_clear(kind, flags, bytes(size)), flags % 2 == 0


def mutate(payload, rng):
    out = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Where headers stand, mostly; and values at which something ends.
        at = rng.randrange(min(len(out), rng.choice((16, 64, 120, 1500)))) if out else 0
        if out:
            out[at] = rng.choice((0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0x83, 0x84, 0xff, out[at] ^ 1 << rng.randrange(8)))
    kind = rng.random()
    if kind < 0.1:
        del out[rng.randrange(len(out) + 1):]
    elif kind < 0.2:
        out += rng.randbytes(rng.randint(1, 300))
    if kind < 0.15 and len(out) >= 48:
        struct.pack_into("<H", out, 2, len(out) - 32)  # so that it is whole again
    # Wireshark asks no dissector about nothing.
    return bytes(out) or b"\0"


def fuzzed(lab, wire, clear):
    seed = random.SystemRandom().randrange(1 << 32) if os.environ.get("SLUICE_FUZZ_ANEW") else 7
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    base = [p for path in (wire, clear) for frame, _ in captures.read(path) for p in [captures.payload_of(frame)] if p]
    # One of each kind that there is: sizes tell them apart, and pings by the hundred add nothing.
    kinds = list({(p[0], p[32] if p[0] == 0x84 else 0, len(p), d): (p, d) for p, d in base if p}.values()) + list(made())
    packets = [captures.ethernet(p, d) for p, d in kinds]
    while len(packets) < len(kinds) + MUTATED:
        payload, to_relay = rng.choice(kinds)
        turn = rng.random()
        frame = captures.ethernet(mutate(payload, rng), to_relay ^ (turn < 0.1), v6=turn > 0.9, vlan=turn > 0.8)
        if turn < 0.5 or len(frame) < 80:
            packets.append(frame)
        else:
            packets.append((frame[:rng.randint(67, len(frame))], len(frame)) if turn < 0.53 else frame)
    path = lab.dir / "fuzzed.pcap"
    captures.write(path, packets)
    seen = compare(lab, path)
    verdicts = {p["verdict"] for p in seen}
    check(verdicts == VERDICTS, f"every verdict came about: {sorted(verdicts ^ VERDICTS) or len(verdicts)}")
    check({p["frame.type"] for p in seen if p["verdict"] == "ok" and "frame.type" in p} == set(range(9)),
          "and good frames of every type")
    return packets


def other_links(lab, clear):
    found = [captures.payload_of(frame) for frame, _ in captures.read(clear)]
    payload = next(p[0] for p in found if p and p[0][0] == 0x84)
    for number, (link_type, packet) in enumerate(captures.encapsulations(payload)):
        path = lab.dir / f"link{number}.pcap"
        captures.write(path, [packet], link_type)
        packets = shown(path)
        assert len(packets) == 1 and packets[0]["opened"] == 1, (link_type, packets)
    subprocess.run(["editcap", "-F", "pcapng", clear, lab.dir / "clear.pcapng"], check=True, capture_output=True)
    check(len(shown(lab.dir / "clear.pcapng")) == len(shown(clear)), "other link types and pcapng are read as well")


def hostile(lab, packets, log):
    """What no capture program writes: an end in order, whatever it is; and credentials that stay hidden."""
    rng = random.Random(11)
    whole = lab.dir / "hostile.pcap"
    captures.write(whole, packets[:40])
    data = whole.read_bytes()
    codes = set()
    for _ in range(40):
        spoilt = bytearray(data[:rng.randrange(len(data))] if rng.random() < 0.5 else data)
        for _ in range(rng.randint(1, 30)):
            if spoilt:
                spoilt[rng.randrange(min(len(spoilt), rng.choice((24, 400, 1 << 30))))] = rng.randrange(256)
        whole.write_bytes(spoilt)
        for args in (["show", "--json", whole], ["decrypt", log, whole, "-"]):
            done = subprocess.run([PCAP, *args], capture_output=True, timeout=20)
            codes.add(done.returncode)
            assert done.returncode in (0, 2, 5, 13) and b"terminate" not in done.stderr, (args, done)
    check({0, 2} <= codes, f"spoilt capture files end in order: {sorted(codes)}")
    secret = captures.ethernet(in_clear(8, 0, struct.pack("<IBBBB", 9, 0, 1, 1, 0) + b"very secret"), False)
    captures.write(whole, [secret])
    blank = lab.dir / "blank.pcap"
    check(json.loads(pcap("decrypt", "--json", log, whole, blank))["credentials_blanked"] == 1 and
          b"secret" not in blank.read_bytes(), "a credential does not get into what is in clear")


def test(lab):
    log = lab.dir / "alpha/keys.txt"
    key_logs_refused(lab)
    wires = capture(lab, log)
    sealed_alone(lab, wires)
    clear = opened(lab, wires["alpha"], log)
    not_opened(lab, wires["beta"], log)
    packets = fuzzed(lab, wires["alpha"], clear)
    other_links(lab, clear)
    hostile(lab, packets, log)
    key_log_written(lab, log)


main(test, seals={("alpha", "beta"): "header"})
