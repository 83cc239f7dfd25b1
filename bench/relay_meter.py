"""What the relay's worker did between two looks at its counters: packets, polls, and the TSC ticks of those polls
that found a packet."""
import http.client
import json
import socket
import time


def get(admin_socket, path):
    connection = http.client.HTTPConnection("relay")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(str(admin_socket))
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


class RelayMeter:
    """Of a running relay. Each look costs its control thread about a tenth of a millisecond, on its own core."""

    def __init__(self, admin_socket):
        self.socket = admin_socket
        self.hz = self._hz()

    def _hz(self):
        """The longest poll so far is told in ticks and in microseconds: between two equal answers it did not change."""
        while True:
            before = get(self.socket, "/v1/status")["workers"][0]["longest_poll_us"]
            ticks = get(self.socket, "/v1/counters")["workers"][0]["longest_poll_ticks"]
            if before > 0 and before == get(self.socket, "/v1/status")["workers"][0]["longest_poll_us"]:
                return ticks / before * 1e6

    def read(self):
        """The answer is parsed later: parsing takes a millisecond, on the core that makes the traffic."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(b"GET /v1/counters HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
            parts = [connection.recv(65536)]
            at = time.monotonic()
            while parts[-1]:
                parts.append(connection.recv(65536))
        return at, b"".join(parts)

    @staticmethod
    def parsed(look):
        at, answer = look
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        return {**body["totals"], "at": at, "dropped": body["totals"]["drops"],
                "drops": {d["reason"]: d["count"] for d in body["drops"]}}

    def between(self, before, after):
        return Interval(self.hz, self.parsed(before), self.parsed(after))


class Interval:
    def __init__(self, hz, before, after):
        def d(name):
            return after[name] - before[name]

        self.seconds = d("at")
        self.rx, self.forwarded, self.tx = d("rx_packets"), d("forwarded"), d("tx_packets")
        self.polls, self.busy_polls = d("polls"), d("busy_polls")
        self.busy_ns = d("busy_ticks") / hz * 1e9
        self.dropped = d("dropped")
        self.drops = {r: n - before["drops"].get(r, 0) for r, n in after["drops"].items() if n != before["drops"].get(r, 0)}
        # Only ever grows: None unless its longest is of this interval.
        raised = after["longest_poll_ticks"] > before["longest_poll_ticks"]
        self.longest_poll_us = after["longest_poll_ticks"] / hz * 1e6 if raised else None

    @property
    def ns_per_forwarded(self):
        return self.busy_ns / self.forwarded if self.forwarded else 0.0

    @property
    def ns_per_received(self):
        return self.busy_ns / self.rx if self.rx else 0.0

    @property
    def packets_per_poll(self):
        return self.rx / self.busy_polls if self.busy_polls else 0.0

    @property
    def idle_polls(self):
        """Share of polls that found nothing."""
        return 1 - self.busy_polls / self.polls if self.polls else 1.0

    @property
    def busy_share(self):
        """Of the time."""
        return self.busy_ns / 1e9 / self.seconds if self.seconds > 0 else 0.0
