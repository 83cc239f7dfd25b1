#!/usr/bin/python3
"""The demo's main part; scripts/demo does the set-up and the build before it."""
import argparse
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lab as lab_module  # noqa: E402
from lab import Lab, LabError, wait_until  # noqa: E402

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def step(text):
    print(paint("1", f"\n== {text}"), flush=True)


def say(text):
    print(f"   {text}", flush=True)


def us(value):
    return f"{value:.0f} us" if value < 1000 else f"{value / 1000:.2f} ms"


class Demo:
    def __init__(self, options):
        self.options = options
        self.lab = Lab(pmd=options.pmd)
        self.result = {"ok": False, "checks": {}, "pmd": options.pmd, "messages_each_way": options.messages}
        self.canary = f"CANARY-{secrets.token_hex(12)}"

    def check(self, name, good, text):
        self.result["checks"][name] = bool(good)
        say(f"{paint('32', 'ok') if good else paint('31', 'WRONG')}  {text}")

    def run(self):
        began = time.monotonic()
        self.start()
        self.round_trips()
        self.messages()
        self.counters()
        self.revoke()
        self.wires()
        self.result["seconds"] = round(time.monotonic() - began, 1)
        self.result["ok"] = all(self.result["checks"].values())

    def start(self):
        step("A relay and two agents, each in a network namespace of its own")
        lab = self.lab
        lab.network()
        lab.enrol()
        if not lab.huge:
            say("notice: no free hugepages, so the relay runs with --no-huge (slower, otherwise the same)")
        for name in lab.names:
            say(f"{name:6} {lab.dids[name]}")
        for name in lab.names:
            lab.capture(name)
        lab.start_relay()
        status = lab.ctl("status")
        ports = ", ".join(f"{p['name']} ({p['driver']})" for p in status["ports"])
        say(f"relay  UDP {status['udp_port']}, {ports}, {len(status['workers'])} worker, "
            f"{status['aead']['library']} ({status['aead']['path']}), memory: {status['eal_mode']}")
        for name in lab.names:
            lab.start_agent(name)
        lab.wait_connected()
        rows = {a["name"]: a for a in lab.ctl("agents")["agents"]}
        self.result["agents"] = []
        for name in lab.names:
            a = rows[name]
            self.result["agents"].append({"name": name, "did": a["did"], "address": a["address"],
                                          "endpoint": a["session"]["endpoint"]})
            say(f"{name:6} connected from {a['session']['endpoint']}, virtual address {a['address']}")
        edges = lab.ctl("edges")["edges"]
        self.check("trust", len(edges) == 2, "trust: " + ", ".join(
            f"{e['from']} -> {e['to']} ({e['right']})" for e in edges))

    def round_trips(self):
        step("Round trips, end to end (agent, relay, agent and back)")
        out = json.loads(self.lab.agent("alpha", "ping", "beta", "--count", "1000", "--interval", "0.001",
                                        "--json").stdout)
        rtt = out["rtt_us"]
        self.result["round_trip_us"] = rtt
        self.check("round_trips", out["lost"] == 0,
                   f"{out['received']} of {out['sent']} answered; p50 {us(rtt['p50'])}, p90 {us(rtt['p90'])}, "
                   f"p99 {us(rtt['p99'])}, max {us(rtt['max'])}")

    def messages(self):
        count = self.options.messages
        step(f"{count:,} end-to-end encrypted messages each way, all at the same time")
        lab, results = self.lab, {}
        before = lab.ctl("counters")["totals"]

        def receive(name, other):
            out = lab.agent(name, "recv", "--count", str(count), "--timeout", "60", check=False)
            lines = out.stdout.splitlines()
            wanted = {f"{self.canary} {other} {i} of {count}" for i in range(1, count + 1)}
            got = [line.split("\t")[-1].split(": ", 1)[-1] for line in lines]
            results[name] = (len(got), len(wanted & set(got)))

        def send(name, other):
            lab.agent(name, "send", other, f"{self.canary} {name} {{}} of {count}", "--count", str(count),
                      "--rate", "5000")

        threads = [threading.Thread(target=f, args=a) for f, a in
                   [(receive, ("beta", "alpha")), (receive, ("alpha", "beta")),
                    (send, ("alpha", "beta")), (send, ("beta", "alpha"))]]
        began = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        seconds = time.monotonic() - began
        after = lab.ctl("counters")["totals"]
        self.result["messages"] = {}
        for name, other in (("beta", "alpha"), ("alpha", "beta")):
            got, right = results.get(name, (0, 0))
            size = len(f"{self.canary} {other} 9999 of {count}")
            self.result["messages"][f"{other}_to_{name}"] = {"received": got, "correct": right}
            self.check(f"messages_{other}_to_{name}", right == count and got == count,
                       f"{other} -> {name}: {right:,} of {count:,} arrived with the right text, "
                       f"about {count * size / 1024:.0f} KiB")
        forwarded = after["forwarded"] - before["forwarded"]
        say(f"the relay forwarded {forwarded:,} packets in {seconds:.1f} s and could read none of them")

    def counters(self):
        step("What the relay counted")
        counters = self.lab.ctl("counters")
        totals = counters["totals"]
        self.result["counters"] = totals
        self.result["drops"] = {d["reason"]: d["count"] for d in counters["drops"] if d["count"]}
        say(f"received {totals['rx_packets']:,} packets ({totals['rx_bytes'] / 1048576:.1f} MiB), sent "
            f"{totals['tx_packets']:,} ({totals['tx_bytes'] / 1048576:.1f} MiB), of these forwarded "
            f"{totals['forwarded']:,}")
        for d in counters["drops"]:
            if d["count"]:
                say(f"dropped {d['count']:,} {d['reason']} ({d['severity']}): {d['text']}")
        handshakes = {k: v for k, v in counters["handshakes"].items() if v}
        say("handshakes: " + ", ".join(f"{k} {v}" for k, v in handshakes.items()))
        lost = sum(d["count"] for d in counters["drops"] if d["severity"] in ("attack", "overload", "config"))
        self.check("no_losses", lost == 0, "nothing dropped as an attack, an overload or a wrong set-up")

    def revoke(self):
        step("Revocation of beta")
        lab = self.lab
        # Traffic flows at the moment of the cut, so that there is something to cut.
        flow = lab.spawn_agent("alpha", "send", "beta", f"{self.canary} until the cut {{}}", "--count", "100000",
                               "--rate", "3000", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start = lab.ctl("counters")["totals"]["forwarded"]
        wait_until("traffic before the cut", lambda: lab.ctl("counters")["totals"]["forwarded"] > start + 500, 10)
        answer = lab.ctl("revoke", "beta", "--reason", "the demo ends here")
        self.result["revocation"] = answer
        say(f"refused from {us(answer['store_us'])} on; every core past a quiescent point after "
            f"{us(answer['cut_us'])}; durable after {us(answer['durable_us'])} (the sync took "
            f"{us(answer['sync_us'])}); answered after {us(answer['ack_us'])}")
        self.check("revocation", answer["state"] == "cut",
                   f"the answer is a proof: state {answer['state']}, {answer['edges_closed']} edges closed, "
                   f"{answer['peers_notified']} peer told")
        refusals = {}

        def refused(name, other):
            sent = lab.agent(name, "send", other, f"{self.canary} after the cut", check=False)
            refusals[name] = sent.stderr.strip().splitlines()[-1] if sent.stderr.strip() else ""
            return sent.returncode != 0
        said = wait_until("alpha's refusal", lambda: refused("alpha", "beta"), 5)
        self.check("refused", said, f"alpha's next message is refused: {refusals['alpha']}")
        # Beta was not asked: whatever it still sends dies at the relay.
        before = sum(lab.drops().values())
        lab.agent("beta", "send", "alpha", f"{self.canary} after the cut", check=False)
        refused_here = wait_until("the relay's refusal", lambda: sum(lab.drops().values()) - before, 5)
        self.check("refused_by_relay", refused_here > 0,
                   f"beta's next message dies at the relay ({', '.join(sorted(set(lab.drops()) & {'revoked', 'unknown_receiver'}))})")
        late = lab.ctl("counters")["totals"]["forwarded"] - answer["forwarded"]
        lab.end(flow)
        self.result["forwarded_after_cut"] = late
        self.check("forwarded_after_cut", late == 0, f"{late} packets were forwarded after the answer")

    def wires(self):
        step("What the wires saw")
        self.result["capture"] = {}
        for name, path in self.lab.stop_captures().items():
            data = path.read_bytes()
            packets = count_packets(data)
            seen = data.count(self.canary.encode())
            self.result["capture"][name] = {"packets": packets, "bytes": len(data), "canary_seen": seen}
            self.check(f"canary_{name}", packets > self.options.messages and seen == 0,
                       f"{name}'s wire: {packets:,} packets, {len(data) / 1048576:.1f} MiB; "
                       f"the canary '{self.canary[:12]}...' of the messages is in it {seen} times")

    def play(self):
        lab = self.lab
        socket = f"--socket {lab.socket}"
        print(f"""
Everything still runs (beta is revoked). In another terminal, as root:
  {lab.build}/sluicectl {socket} status
  {lab.build}/sluicectl {socket} agents
  {lab.build}/sluicectl {socket} counters
  {' '.join(lab.agent_argv('alpha', 'info'))}
  tail -f {lab.dir}/relay.log {lab.dir}/alpha.log
Ctrl-C here takes it all down.""", flush=True)
        signal.pause()


def count_packets(data):
    """Of a classic little-endian pcap file."""
    at, packets = 24, 0
    while at + 16 <= len(data):
        at += 16 + int.from_bytes(data[at + 8:at + 12], "little")
        packets += 1
    return packets


def parse():
    p = argparse.ArgumentParser(
        prog="scripts/demo", description="Two agents talk through a relay, in network namespaces on this "
        "machine: enrolment, trust, messages, revocation, and the proof that the wire shows nothing.",
        epilog="Exit: 0 all as it should be, 1 something is off, 77 no privilege for namespaces. "
        "The JSON's fields are documented in docs/demo.md.")
    p.add_argument("--json", metavar="FILE", help="write what was measured to FILE")
    p.add_argument("--keep", action="store_true", help="leave everything running and say how to play with it")
    p.add_argument("--pmd", choices=["af_packet", "af_xdp"], default="af_packet", help="DPDK driver of the relay's ports")
    p.add_argument("--messages", type=int, default=10000, metavar="N", help="messages each way (10000)")
    return p.parse_args()


def main():
    options = parse()
    lab_module.need_namespaces()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    demo = Demo(options)
    code = 1
    try:
        demo.run()
        code = 0 if demo.result["ok"] else 1
    except LabError as error:
        demo.result["error"] = str(error)
        print(f"{paint('31', 'error:')} {error}", file=sys.stderr)
        for log in ("relay.log", "alpha.log", "beta.log"):
            path = demo.lab.dir / log
            if path.exists():
                print(f"--- {log}\n{path.read_text(errors='replace')[-1500:]}", file=sys.stderr)
    except KeyboardInterrupt:
        demo.result["error"] = "interrupted"
    else:
        good = sum(demo.result["checks"].values())
        step("Summary")
        say(f"{good} of {len(demo.result['checks'])} checks hold, {demo.result['seconds']} s: "
            + (paint("32", "all is well") if code == 0 else paint("31", "something is off")))
    try:
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(demo.result, indent=1) + "\n")
        if options.keep and "error" not in demo.result:
            demo.play()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"error: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        code = 1
    finally:
        demo.lab.close()
    sys.exit(code)


if __name__ == "__main__":
    main()
