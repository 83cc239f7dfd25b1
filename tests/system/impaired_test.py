#!/usr/bin/python3
"""HTTP between two agents of which one has a path to the relay that loses, delays and reorders packets; both carry 1,280 bytes. Every
byte arrives as it was sent, and a call survives. The impairment is a UDP relay of this test, since the kernel may have none."""
import hashlib
import heapq
import json
import os
import random
import select
import socket
import threading
import time

from common import check, main, run
from http_test import Client, ask, inside, upstream

LOSS = 0.02
DELAY = 0.025  # each way, of one agent's path
JITTER = 0.004  # what comes within it may be overtaken
MIB = 1 << 20


class Impairment(threading.Thread):
    """Between an agent, which greets 127.0.0.1:7600 of its namespace, and the relay."""

    def __init__(self, lab, name, seed):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        with inside(lab.ns(name)):
            self.inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.inner.bind(("127.0.0.1", 7600))
            self.outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.outer.connect((lab.address(name, 1), 7600))
        for s in (self.inner, self.outer):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            s.setblocking(False)
        self.agent = None
        self.queue, self.order = [], 0
        self.passed = self.lost = self.overtaken = self.longest = 0
        self.on = True
        self.latest = 0

    def take(self, from_agent, data):
        self.longest = max(self.longest, len(data))
        if self.on and self.random.random() < LOSS:
            self.lost += 1
            return
        self.order += 1
        late = DELAY + self.random.random() * JITTER if self.on else 0
        heapq.heappush(self.queue, (time.monotonic() + late, self.order, from_agent, data))

    def run(self):
        while True:
            wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else 1
            ready, _, _ = select.select([self.inner, self.outer], [], [], wait)
            for s in ready:
                for _ in range(256):
                    try:
                        data, where = s.recvfrom(65536)
                    except (BlockingIOError, ConnectionError):
                        break
                    if s is self.inner:
                        self.agent = where
                    self.take(s is self.inner, data)
            while self.queue and self.queue[0][0] <= time.monotonic():
                _, order, from_agent, data = heapq.heappop(self.queue)
                self.overtaken += order < self.latest
                self.latest = max(self.latest, order)
                self.passed += 1
                try:
                    if from_agent:
                        self.outer.send(data)
                    elif self.agent:
                        self.inner.sendto(data, self.agent)
                except (BlockingIOError, ConnectionError, OSError):
                    pass


def test(lab):
    lab.make_relay()
    for name in lab.names:
        home = lab.dir / name
        home.mkdir(mode=0o700)
        os.chown(home, 65534, 65534)
        via = "127.0.0.1" if name == "alpha" else lab.address(name, 1)
        join = run(lab.build / "sluiced", "-c", lab.config, "--join", via).stdout
        lab.agent(name, "init", "--name", name, "--tenant", "7", input=join)
        lab.dids[name] = json.loads(lab.agent(name, "info", "--json").stdout)["did"]
    lab.statements = {n: lab.agent(n, "info", "--statement").stdout.strip() for n in lab.names}
    lab.write_config(lab.names, lab.pairs)
    lab.start_relay()
    path = Impairment(lab, "alpha", 7)
    path.start()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected(40)
    origin = upstream(lab, "beta")
    lab.serve("beta", "--upstream", f"http://127.0.0.1:{origin.port}")

    began = time.monotonic()
    for i in range(20):
        data = os.urandom(100 + 731 * i)
        assert ask(lab, "POST", "/beta/echo", data)[2] == data, f"{len(data)} bytes do not come back as they went"
    check(True, f"20 requests there and back, {time.monotonic() - began:.1f} s")
    data = os.urandom(MIB)
    began = time.monotonic()
    answer = json.loads(ask(lab, "POST", "/beta/sum", data)[2])
    check(answer == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}, f"1 MiB to the server, {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    out = ask(lab, "GET", f"/beta/stream?n={MIB}")[2]
    expected = b"".join(i.to_bytes(8, "big") for i in range(MIB // 8))
    check(out == expected, f"1 MiB from the server, {time.monotonic() - began:.1f} s")
    results = []

    def one(n):
        blob = os.urandom(40_000 + n)
        results.append(ask(lab, "POST", "/beta/echo", blob)[2] == blob)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    check(results == [True] * 12, "twelve at once")
    check(path.lost > path.passed / 100 and path.overtaken > 100,
          f"and the path was bad: {path.passed} passed, {path.lost} lost, {path.overtaken} overtaken")
    check(path.longest <= 1280 - 28, "no packet was larger than the MTU")
    # A path that is gone for a while.
    client = Client(lab)
    client.request("GET", f"/beta/stream?n={MIB}")
    response = client.getresponse()
    first = response.read(100_000)
    held, path.take = path.take, lambda *_: None
    time.sleep(3)
    path.take = held
    rest = response.read()
    check(first + rest == expected[:MIB], "an answer goes on after three seconds without a path")
    client.close()


if __name__ == "__main__":
    main(test, enrol=False, mtu=1280, limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 4096})
