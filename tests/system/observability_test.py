#!/usr/bin/python3
"""What monitoring sees of a running relay: metrics through a strict parser and against the counters, the port that has
nothing else, DPDK's telemetry socket, events as they happen, latency."""
import json
import pathlib
import re
import socket
import subprocess
import time

from common import ROOT, Traffic, check, main, run, wait_until
from prometheus_client.parser import text_string_to_metric_families

PORT = 9497


def in_relay(lab, *argv):
    return ["ip", "netns", "exec", lab.ns("relay"), *map(str, argv)]


def ctl_argv(lab, *args):
    return [lab.build / "sluicectl", "--socket", lab.socket, *args]


def ask(lab, text, seconds=5):
    """The raw answer of the metrics port to `text`."""
    script = (f"import socket,sys\ns=socket.create_connection(('127.0.0.1',{PORT}),{seconds})\n"
              f"s.sendall({text!r}.encode())\nwhile d:=s.recv(65536): sys.stdout.buffer.write(d)")
    out = run(*in_relay(lab, "/usr/bin/python3", "-c", script)).stdout.replace("\n", "\r\n").replace("\r\r\n", "\r\n")
    head, _, body = out.partition("\r\n\r\n")
    return int(head.split()[1]), head.lower(), body.replace("\r\n", "\n")


def scrape(lab):
    status, head, body = ask(lab, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check_quietly(status == 200 and "text/plain; version=0.0.4" in head, f"status {status}: {head}")
    return body


def check_quietly(good, text):
    if not good:
        check(good, text)


def families(body):
    """By name; the parser raises at what is not the format. It also takes repeated samples, so those are looked for."""
    out = {}
    for f in text_string_to_metric_families(body):
        check_quietly(f.name not in out, f"{f.name} comes twice")
        check_quietly(f.documentation and f.type != "unknown", f"{f.name} has HELP and TYPE")
        seen = [(s.name, tuple(sorted(s.labels.items()))) for s in f.samples]
        check_quietly(len(seen) == len(set(seen)), f"samples of {f.name} are unique")
        out[f.name] = f
    return out


def values(family, label):
    return {s.labels[label]: s.value for s in family.samples if s.name in (family.name, family.name + "_total")}


def documented():
    """Names of docs/metrics.md, without the _total that the parser takes off."""
    return {name.removesuffix("_total") for name in
            re.findall(r"^\| `([a-z_0-9]+)` \|", (ROOT / "docs/metrics.md").read_text(), re.M)}


def check_metrics(lab):
    # Two looks at counters around one scrape; at rest they agree.
    def at_rest():
        before = lab.ctl("counters")
        body = scrape(lab)
        after = lab.ctl("counters")
        still = [c for c in before["totals"] if "poll" not in c and "busy" not in c]
        return body, before if all(before["totals"][c] == after["totals"][c] for c in still) else None
    body, counters = wait_until("a moment of rest", lambda: (r := at_rest())[1] and r, 20, 0.3)
    found = families(body)
    check(len(found) > 50, f"{len(found)} families are valid in the text format")
    optional = {"sluice_audit_days_left"}
    check(set(found) - {"process_start_time_seconds"} <= documented() and documented() - set(found) <= optional,
          f"what is served is what docs/metrics.md says: {set(found) ^ documented()}")
    for worker, one in enumerate(counters["workers"]):
        for name, value in one.items():
            if "poll" in name or "busy" in name:
                continue
            check_quietly(values(found[f"sluice_worker_{name}"], "worker")[str(worker)] == value, f"{name} of worker {worker}")
    check(values(found["sluice_drops"], "reason") == {d["reason"]: d["count"] for d in counters["drops"]}, "drops are those of the counters")
    check(values(found["sluice_call_decisions"], "reason") == counters["calls"], "and decisions on calls")
    check(values(found["sluice_handshakes"], "outcome") == counters["handshakes"], "and outcomes of HELLOs")
    check(values(found["sluice_control_messages"], "kind") == counters["control_messages"], "and CONTROL messages")
    latency = found["sluice_forward_latency_seconds"]
    total = sum(s.value for s in latency.samples if s.name.endswith("_count"))
    check(total == counters["totals"]["forwarded"] > 0, f"latency is of all {total:.0f} forwarded packets")
    for worker in range(len(counters["workers"])):
        buckets = [(float(s.labels["le"]), s.value) for s in latency.samples
                   if s.name.endswith("_bucket") and s.labels["worker"] == str(worker)]
        check_quietly(buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets), "buckets grow")
    for name in lab.names:
        check(f'"{name}"' not in body and lab.dids[name] not in body, f"{name} is not in it: labels are bounded")
    return found


def telemetry(lab, *commands):
    """As dpdk-telemetry.py talks: a sequenced-packet socket, a greeting, a command and an answer each."""
    path = next(pathlib.Path("/var/run/dpdk").glob(f"{lab.tag}/dpdk_telemetry.v2*"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(str(path))
        size = json.loads(s.recv(1024))["max_output_len"]
        out = []
        for c in commands:
            s.send(c.encode())
            answer = json.loads(s.recv(size))
            out.append(answer[c.split(",")[0]])
        return out


def check_telemetry(lab, workers):
    listed, numbers, drops, sessions, calls, nobody, help_text, *each = telemetry(
        lab, "/", "/sluice/workers", "/sluice/drops", "/sluice/sessions", "/sluice/calls", "/sluice/workers,99", "/help,/sluice/drops",
        *(f"/sluice/workers,{n}" for n in range(workers)))
    check({"/sluice/workers", "/sluice/drops", "/sluice/sessions", "/sluice/calls"} <= set(listed), "DPDK's telemetry has the commands")
    counters = lab.ctl("counters")
    check(numbers == list(range(workers)), f"it lists {workers} workers")
    # Which of them the flows fell to is chance.
    check(all(set(worker) == set(counters["workers"][0]) | {"drops"} for worker in each) and
          sum(worker["rx_packets"] for worker in each) > 0, "and the workers' counters")
    check(set(drops) == {d["reason"] for d in counters["drops"]}, "every reason of a drop")
    check(set(calls) == set(counters["calls"]), "every decision on calls")
    check(sessions["confirmed"] == lab.ctl("status")["sessions"]["confirmed"], f"sessions: {sessions}")
    check(nobody is None and "by reason" in str(help_text), "a worker that is not there has no answer, and there is help")


def check_port(lab):
    check(ask(lab, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 404, "the port has no admin API")
    check(ask(lab, "POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"agent\":\"alpha\"}")[0] == 404,
          "nobody is revoked over it")
    check(ask(lab, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")[0] == 403, "it is read only")
    status, _, body = ask(lab, "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(status == 200 and body == "", "HEAD is answered without a body")
    check(ask(lab, "nonsense\r\n\r\n")[0] == 400, "what is no HTTP is refused")
    # Strangers that say nothing keep neither scrapers nor operators out.
    hold = ("import socket,time\nc=[socket.create_connection(('127.0.0.1',%d)) for _ in range(200)]\nprint('held',flush=True)\ntime.sleep(30)" % PORT)
    held = subprocess.Popen(in_relay(lab, "/usr/bin/python3", "-c", hold), stdout=subprocess.PIPE, text=True)
    try:
        check_quietly(held.stdout.readline().strip() == "held", "200 connections")
        began = time.monotonic()
        scrape(lab)
        lab.ctl("status")
        check(time.monotonic() - began < 3, "200 silent connections keep nobody out")
    finally:
        held.kill()
        held.wait()


def check_events(lab):
    follow = subprocess.Popen(ctl_argv(lab, "events", "--follow"), stdout=subprocess.PIPE, text=True)
    try:
        seen = []
        def read_until(kind):
            while True:
                line = follow.stdout.readline()
                check_quietly(line, "events go on")
                seen.append(json.loads(line))
                if seen[-1]["kind"] == kind:
                    return seen[-1]
        first = read_until("session")
        check(first["subject"] and first["event"] > 0, "sessions are among the events")
        lab.ctl("revoke", "beta", "--reason", "test")
        proof = read_until("proof")
        check(proof["state"] == "cut" and proof["agents"] == 1, "a revocation's proof comes as it is answered")
        check(any(e.get("change") == "agent_revoked" for e in seen) or read_until("change")["change"] == "agent_revoked", "and its change")
        numbers = [e["event"] for e in seen]
        check(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no event is missing")
    finally:
        follow.kill()
        follow.wait()
    page = run(*ctl_argv(lab, "events", "--kind", "proof")).stdout.splitlines()
    check(len(page) == 1 and json.loads(page[0])["kind"] == "proof", "one kind alone, one JSON object a line")


def test(lab):
    with lab.config.open("a") as config:
        config.write(f"metrics: {{ listen: 127.0.0.1:{PORT} }}\n")
    run(*in_relay(lab, "ip", "link", "set", "lo", "up"))
    taken = ("import socket,sys,time\ns=socket.create_server(('127.0.0.1',%d))\nprint('taken',flush=True)\ntime.sleep(60)" % PORT)
    other = subprocess.Popen(in_relay(lab, "/usr/bin/python3", "-c", taken), stdout=subprocess.PIPE, text=True)
    try:
        check_quietly(other.stdout.readline().strip() == "taken", "a listener of somebody else's")
        refused = run(*in_relay(lab, lab.build / "sluiced", "-c", lab.config), check=False, timeout=60)
        check(refused.returncode != 0 and f"cannot serve metrics on 127.0.0.1:{PORT}: Address already in use" in refused.stderr,
              "a port that is taken is said, and nothing starts")
    finally:
        other.kill()
        other.wait()
    lab.start_relay()
    for n in lab.names:
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda n=n: lab.info(n).get("session", {}).get("up"), 15)
    traffic = Traffic(lab, "alpha", "beta", rate=200)
    wait_until("traffic", lambda: len(traffic.got) > 300, 20)
    traffic.stop()
    found = check_metrics(lab)
    check(found["sluice_build_info"].samples[0].labels["version"] == lab.ctl("status")["version"], "the version is in it")
    check_port(lab)
    workers = len(lab.ctl("counters")["workers"])
    check_telemetry(lab, workers)
    latency = lab.ctl("latency")
    check(sum(w["packets"] for w in latency["workers"]) >= 300 and latency["tenants"][0]["p99_us"] > 0, "latency by worker and tenant")
    text = run(*ctl_argv(lab, "latency")).stdout
    check("p99.9" in text and "tenant" in text, "and for people")
    nothing = run(*ctl_argv(lab, "trace", "00" * 16), check=False)
    check(nothing.returncode == 5 and "no call of trace" in nothing.stderr, "a trace that nobody has is not found, exit code 5")
    bad = run(*ctl_argv(lab, "trace", "xyz"), check=False)
    check(bad.returncode == 2 and "32 hex digits" in bad.stderr, "what is no trace id is said")
    check_events(lab)


main(test, workers=2)
