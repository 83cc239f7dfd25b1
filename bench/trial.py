"""One run of the generator at one rate, beside a relay of its own, whose counters are looked at meanwhile."""
import statistics
import time

INTERVALS = 5


class Trial:
    """What the generator tells, and the relay's intervals. `size`: the generator's option; `inside`: shares of the time."""

    def __init__(self, bed, seal, sessions, size, rate, seconds, extra=(), inside=(0.15, 0.85)):
        began, ended = (share * seconds for share in inside)
        self.round_trip_ns = bed.core_round_trip_ns()
        reads = []

        def look(_):
            time.sleep(began)
            reads.append(pair.meter.read())
            for _ in range(INTERVALS):
                time.sleep((ended - began) / INTERVALS)
                reads.append(pair.meter.read())

        with bed.start("run", sessions, seal, [
                *size, "--rate", rate if rate == "max" else f"{rate:.0f}", "--seconds", seconds, *extra]) as pair:
            self.out = pair.measure(look, seconds=seconds + 30)
        self.intervals = [pair.meter.between(a, b) for a, b in zip(reads, reads[1:])]
        self.whole = pair.meter.between(reads[0], reads[-1])

    def median(self, value):
        # What the core lost to others counts as busy, hence not the mean.
        return statistics.median(value(i) for i in self.intervals)

    @property
    def flood_pps(self):
        return self.out["floods"][0]["pps"] if self.out["floods"] else 0.0

    def goodput(self, with_blocked):
        """Received of what was sent; `with_blocked`: of that and what found the relay's RX ring full."""
        offered = self.out["sent"] + (self.out["blocked"] if with_blocked else 0)
        return self.out["received"] / offered if offered else 0.0
