"""How long the relay's core was busy, everything included: relay, kernel, softirq, interrupts.

Two meters with one principle, to count what was left over and take it from the time that passed:

IdleMeter  for contenders that sleep: the kernel's own idle time of the core. With dynamic ticks the kernel takes it
           from the clock at each entry into and exit from idle, it is no sample; steal counts as busy.
PollMeter  for a relay that polls and never sleeps: each poll that found nothing is idle time, as long as such a
           poll takes on the quiet relay (calibrated before the traffic). Softirq that interrupts a poll is busy.
"""
import http.client
import json
import os
import pathlib
import socket
import time

from lab import LabError

TICK = os.sysconf("SC_CLK_TCK")


class IdleMeter:
    def __init__(self, core):
        self.prefix = f"cpu{core} "

    def read(self):
        """(seconds on the clock, seconds idle)."""
        for line in pathlib.Path("/proc/stat").read_text().splitlines():
            if line.startswith(self.prefix):
                fields = line.split()
                return time.monotonic(), (int(fields[4]) + int(fields[5])) / TICK
        raise LabError(f"/proc/stat has no line {self.prefix}")


class PollMeter:
    CALIBRATION = 1.0

    def __init__(self, admin_socket):
        self.socket = str(admin_socket)
        self.empty_poll = 0.0
        began, before = self._sample()
        time.sleep(self.CALIBRATION)
        ended, after = self._sample()
        if after == before:
            raise LabError("the relay does not poll")
        self.empty_poll = (ended - began) / (after - before)

    def _sample(self):
        """(seconds on the clock, polls that found nothing)."""
        connection = http.client.HTTPConnection("relay")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        connection.request("GET", "/v1/status")
        worker = json.load(connection.getresponse())["workers"][0]
        connection.close()
        return time.monotonic(), worker["polls"] - worker["busy_polls"]

    def read(self):
        clock, empty = self._sample()
        return clock, empty * self.empty_poll


class Busy:
    """Seconds busy between construction and `stop`, by one of the meters."""

    def __init__(self, meter):
        self.meter = meter
        self.began, self.idle = meter.read()

    def stop(self):
        ended, idle = self.meter.read()
        self.seconds = ended - self.began
        self.busy = max(0.0, self.seconds - (idle - self.idle))
        return self
