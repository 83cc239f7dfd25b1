#!/usr/bin/python3
"""A thousand stalled connections to the admin socket do not delay a revocation by more than 5 ms; the
revoked agent's traffic ends with the answer; its peer is told."""
import http.client
import json
import socket
import statistics
import time

from common import Traffic, check, main, ping_ok, wait_until


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def revoke(lab, name):
    began = time.perf_counter()
    connection = UnixConnection(str(lab.socket))
    connection.request("POST", "/v1/revoke", json.dumps({"agent": name, "reason": "test"}))
    answer = json.loads(connection.getresponse().read())
    return answer, (time.perf_counter() - began) * 1e3 - answer["sync_us"] / 1e3


def test(lab):
    lab.start_relay()
    for name in ("alpha", "beta"):
        lab.start_agent(name)
    wait_until("alpha and beta to connect", lambda: ping_ok(lab, "alpha", "beta", 3), 20, 0.2)
    spare = [n for n in lab.names if n.startswith("spare")]
    half = len(spare) // 2
    quiet = [revoke(lab, n)[1] for n in spare[:half]]
    stalled = []
    for i in range(1000):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(lab.socket))
        if i % 3 == 1:
            s.send(b"POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        elif i % 3 == 2:
            s.send(b"GET /v1/counters HTTP/1.1\r\nHo")
        stalled.append(s)
    loaded = [revoke(lab, n)[1] for n in spare[half:]]
    before, after = statistics.median(quiet), statistics.median(loaded)
    check(after - before < 5, f"beside the sync, a revocation takes {before:.2f} ms, with 1,000 stalled connections "
          f"{after:.2f} ms")

    flow = Traffic(lab, "alpha", "beta", 300)
    wait_until("traffic", lambda: len(flow.got) > 100, 20)
    answer, _ = revoke(lab, "beta")
    check(answer["state"] == "cut" and answer["cut_us"] <= answer["ack_us"], f"beta is cut: {answer}")
    try:
        flow.stopping.set()
        flow.drained.set()
    finally:
        wait_until("alpha to be told", lambda: not lab.peers("alpha"), 5)
    check(lab.ctl("counters")["totals"]["forwarded"] == answer["forwarded"], "not one packet was forwarded after the answer")
    for s in stalled:
        s.close()


main(test, agents=("alpha", "beta", *[f"spare{i}" for i in range(12)]), pairs=[("alpha", "beta")])
