#!/usr/bin/python3
"""The load generator and the relay over memif, without hugepages: 64 agents connect, nothing of a low rate is lost,
every flood ends in the relay's counter that it should, and the capture holds what was sent."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from common import BUILD, LabError, check, wait_until

AGENTS = 64
RATE = 1500
FRAME = 512
PORT = 7600


class Pair:
    """One relay and one generator, each in its turn, in one folder."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sluice-pktgen-"))
        self.tag = f"sp{os.getpid()}"
        self.socket = self.dir / "memif.sock"
        self.admin = self.dir / "admin.sock"
        self.seed = self.dir / "seed"
        self.children = []
        (self.dir / "state").mkdir(mode=0o700)
        self.key = subprocess.run([BUILD / "sluiced", "--new-key", self.dir / "state/relay.key"], check=True,
                                  capture_output=True, text=True).stdout.strip()
        cpus = sorted(os.sched_getaffinity(0))
        self.cores = cpus[0], cpus[-1]
        trust = subprocess.run([BUILD / "sluice-pktgen", "trust", *self.identity()], check=True, capture_output=True,
                               text=True).stdout
        (self.dir / "sluiced.yaml").write_text("\n".join([
            f"eal: {{ mode: no_huge, file_prefix: {self.tag}r }}",
            f"ports: [{{ name: north, device: \"net_memif0,role=client,socket={self.socket},socket-abstract=no\", "
            "addresses: [10.9.0.1/16] }]",
            f"cores: {{ control: {self.cores[0]}, workers: [{{ core: {self.cores[0]}, queues: [north/0] }}] }}",
            "worker: { idle: backoff }",
            f"relay: {{ state_dir: {self.dir / 'state'} }}",
            "limits: { agents: 128, edges: 256, sessions: 256 }",
            f"admin: {{ socket: {self.admin}, group: \"\" }}",
            trust]))

    def identity(self):
        return ["--agents", str(AGENTS), "--seed-file", str(self.seed), "--relay-key", self.key]

    def spawn(self, argv, log, **kwargs):
        child = subprocess.Popen([str(a) for a in argv], stderr=open(self.dir / log, "ab"), text=True, **kwargs)
        self.children.append(child)
        return child

    def argv(self, *options):
        return [BUILD / "sluice-pktgen", "run", *self.identity(), "--device",
                f"net_memif0,role=server,socket={self.socket},socket-abstract=no", "--address", "10.9.0.10/16",
                "--relay", f"10.9.0.1:{PORT}", "--mode", "no_huge", "--file-prefix", f"{self.tag}g",
                "--lcores", f"{self.cores[1]},{self.cores[1]}", *options]

    def run(self, *options, interrupt=False):
        """Outcome of the generator, and the relay's counters after it."""
        result = self.dir / "result.json"
        generator = self.spawn(self.argv("--json", str(result), "--hold", "--markers", *options), "generator.log",
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        wait_until("the generator's socket", lambda: self.socket.exists() or generator.poll() is not None, 20)
        relay = self.spawn([BUILD / "sluiced", "-c", self.dir / "sluiced.yaml"], "relay.log", stdout=subprocess.DEVNULL)
        words, table = [], {}
        for line in generator.stdout:
            word = line.split()
            if word[0] in ("ready", "begin", "end", "done"):
                words.append(word[0])
            else:
                table[word[0]] = line
            if word[0] == "begin" and interrupt:
                time.sleep(0.5)
                generator.send_signal(signal.SIGINT)
            if word[0] == "done":
                break
        else:
            raise LabError(f"the generator ended early: {generator.wait(5)}")
        counters = json.loads(subprocess.run(
            [BUILD / "sluicectl", "--socket", self.admin, "--json", "counters"], check=True, capture_output=True).stdout)
        relay.terminate()
        check(relay.wait(10) == 0, "the relay ends in order")
        generator.communicate("\n", timeout=10)
        check(generator.returncode == 0, "the generator ends in order")
        check(words == ["ready", "begin", "end", "done"], f"markers in order: {words}")
        check({"sent", "received", "lost", "pauses"} <= set(table), "the table is there")
        drops = {d["reason"]: d["count"] for d in counters["drops"] if d["count"]}
        return json.loads(result.read_text()), counters, drops

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(f"/var/run/dpdk/{self.tag}g", ignore_errors=True)
        shutil.rmtree(f"/var/run/dpdk/{self.tag}r", ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def whole(out):
    check(out["sent"] > 0 and out["received"] == out["sent"] and out["lost"] == 0,
          f"{out['received']} of {out['sent']} packets came through")
    check(out["bad"] == 0 and out["duplicates"] == 0 and out["reordered"] == 0, "each once, in order, as it was sent")
    check(sum(p["sent"] for p in out["timeline"]) == out["sent"] and
          sum(p["blocked"] for p in out["timeline"]) == out["blocked"] and
          sum(p["received"] for p in out["timeline"]) == out["received"], "the timeline adds up")


def steady(pair):
    pcap = pair.dir / "sent.pcap"
    out, counters, _ = pair.run("--rate", str(RATE), "--seconds", "2", "--frame", str(FRAME), "--open", "all",
                                "--pcap", str(pcap))
    whole(out)
    check(abs(out["sent"] + out["skipped"] + out["blocked"] - 2 * RATE) <= RATE * 0.1,
          f"the rate is kept: {out['sent_pps']:.0f} packets a second")
    check(out["opened"] == out["sent"] and out["latency_us"]["count"] == out["sent"], "every packet opened and timed")
    check(0 < out["latency_us"]["p50"] <= out["latency_us"]["p99"] <= out["latency_us"]["max"], "latencies in order")
    check(out["handshakes"]["count"] == AGENTS and counters["handshakes"]["welcomed"] == AGENTS,
          f"{AGENTS} handshakes on both sides")
    check(counters["totals"]["forwarded"] == out["sent"], "the relay forwarded as many")
    capture(pcap, out)


def capture(pcap, out):
    from scapy.all import Ether, UDP, rdpcap
    data, hellos, counters = 0, 0, set()
    for packet in rdpcap(str(pcap)):
        if UDP not in packet:
            continue
        check_silent(packet[UDP].dport == PORT, "everything goes to the relay")
        # Scapy recomputes what is deleted: the sums on the wire must be right already.
        again = packet.copy()
        del again["IP"].chksum
        check_silent(Ether(bytes(again))["IP"].chksum == packet["IP"].chksum, "IP checksums hold")
        payload = bytes(packet[UDP].payload)
        if payload[0] == 1:
            hellos += 1
        elif payload[0] == 4 and len(packet) == FRAME - 4:
            data += 1
            counters.add((payload[4:8], payload[8:16]))
    check(data == out["sent"] and len(counters) == data, f"the capture has all {data} packets, each with its own number")
    check(hellos >= AGENTS, f"and {hellos} HELLOs")


def check_silent(good, text):
    if not good:
        raise LabError(f"does not hold: {text}")


def floods(pair):
    out, _, drops = pair.run("--rate", str(RATE), "--seconds", "2", "--frame", str(FRAME), "--flood", "unknown:700",
                             "--flood", "forged:600", "--flood", "replay:500", "--flood", "badmac:400",
                             "--flood-from", "0.3", "--flood-until", "1.7")
    whole(out)
    sent = {f["kind"]: f["sent"] for f in out["floods"]}
    check(min(sent.values()) > 100, f"floods were sent: {sent}")
    check(drops.get("unknown_receiver") == sent["unknown"], "every unknown one died as unknown_receiver")
    # A forged sequence that a true packet has taken meanwhile is refused before its tag is looked at.
    forged, replayed = drops.get("bad_tag", 0), drops.get("replay", 0) + drops.get("too_old", 0)
    check(forged + replayed == sent["forged"] + sent["replay"] and 0 <= sent["forged"] - forged <= sent["forged"] // 10,
          f"forged ones died as bad_tag ({forged}), replayed ones as replay or too_old ({replayed})")
    check(drops.get("bad_mac1", 0) + drops.get("hello_budget", 0) >= sent["badmac"] and
          drops.get("bad_mac1", 0) > sent["badmac"] * 0.5, "HELLOs with a wrong mac1 died as bad_mac1")


def more_floods(pair):
    out, counters, drops = pair.run("--rate", str(RATE), "--seconds", "1.5", "--frame", "94", "--flood", "random:1000",
                                    "--flood", "hello:300", "--flood", "forged-away:500")
    whole(out)
    sent = {f["kind"]: f["sent"] for f in out["floods"]}
    noise = sum(drops.get(r, 0) for r in ("short", "bad_version", "bad_type", "unexpected_type", "malformed"))
    check(noise > 0.9 * sent["random"], f"{noise} of {sent['random']} random ones were no tunnel packets")
    away = sum(drops.get(r, 0) for r in ("bad_tag", "roam_budget", "replay"))
    check(abs(away - sent["forged-away"]) <= 1 + sent["random"] // 100,
          f"{away} of {sent['forged-away']} forged from afar were refused")
    check(counters["handshakes"]["welcomed"] == AGENTS, "no spoofed HELLO got a session")


def interrupted(pair):
    began = time.monotonic()
    out, _, _ = pair.run("--rate", "500", "--seconds", "30", "--imix", interrupt=True)
    check(out["interrupted"] and time.monotonic() - began < 15, "SIGINT ends it, with the table and the JSON")
    whole(out)


def refusals(pair):
    def refused(code, *words, argv):
        result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30)
        check(result.returncode == code and all(w in result.stderr for w in words),
              f"exit {code}: {result.stderr.strip()} [wanted {code} {words}, got {result.returncode}]")

    refused(2, "--flood rain:5", "a frame of 60", "--rate x",
            argv=pair.argv("--flood", "rain:5", "--frame", "60", "--rate", "x"))
    refused(12, "sluice-pktgen trust", argv=[a if a != str(pair.seed) else "/nonexistent/seed" for a in pair.argv()])
    os.chmod(pair.seed, 0o644)
    refused(6, "chmod 600", argv=pair.argv())
    os.chmod(pair.seed, 0o600)
    refused(2, argv=[BUILD / "sluice-pktgen", "dance"])


def main():
    pair = Pair()
    try:
        for test in (refusals, steady, floods, more_floods, interrupted):
            print(f"--- {test.__name__}", flush=True)
            test(pair)
        print("passed")
    except BaseException as error:  # noqa: B902: the logs are wanted for an interrupt, too
        print(f"FAILED: {error!r}", flush=True)
        for log in sorted(pair.dir.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        raise SystemExit(1) from error
    finally:
        pair.close()


main()
