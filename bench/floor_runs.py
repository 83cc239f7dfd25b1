"""The two floors under a relay's cost of a packet over a memif, each measured by a program of its own:
the AEAD alone (build/bench/relay), and receiving and sending alone (build/bench/memif_floor)."""
import json
import shutil

from child import Child
from lab import LabError, wait_until
from memif_bed import Skip


def gcm_floors(bed, seal, sessions, payloads, slices):
    """{payload: ns} of opening and sealing one packet with keys of `sessions` sessions in random order."""
    out = bed.dir / "gcm.json"
    out.unlink(missing_ok=True)
    argv = [bed.build / "bench" / "relay", "--payload", ",".join(map(str, payloads)), "--sessions", sessions, "--seal", seal,
            "--workers", 1, "--core", bed.relay_core, "--burst", bed.burst, "--slices", slices, "--json", out]
    child = Child("the AEAD's floor", argv, {bed.relay_core, bed.generator_core})
    try:
        while child.line(300) is not None:
            pass
        if child.wait(10) != 0:
            raise LabError(f"the AEAD's floor could not be measured{child.complaint()}")
    finally:
        child.stop()
        # EAL leaves its runtime folder behind, named by that program after its process.
        shutil.rmtree(f"/var/run/dpdk/sluice-bench-{child.process.pid}", ignore_errors=True)
    cases = json.loads(out.read_text())["cases"]
    for c in cases:
        if "skipped" in c:
            raise Skip(c["skipped"])
    return {c["payload"]: c["gcm_floor_ns"] for c in cases}


def forward_floor(bed, sizes, slices):
    """Nanoseconds for one frame, received and sent back; `sizes` without FCS take turns."""
    socket = bed.dir / "floor.sock"
    socket.unlink(missing_ok=True)

    def spawn(role, core, letter):
        return Child(f"the forwarding floor's {role}", [
            bed.build / "bench" / "memif_floor", "--role", role, "--socket", socket, "--size", ",".join(map(str, sizes)),
            "--core", core, "--control-core", bed.generator_core, "--log2-ring", bed.ring.bit_length() - 1,
            "--burst", bed.burst, "--slices", slices, "--file-prefix", f"{bed.tag}{letter}"],
            {core, bed.generator_core})

    source, forward = spawn("source", bed.generator_core, "s"), None
    try:
        wait_until("the floor's socket", lambda: socket.exists() or not source.running(), 20)
        if not source.running():
            raise LabError(f"{source.name} ended{source.complaint()}")
        forward = spawn("forward", bed.relay_core, "t")
        line = forward.line(60 + 5 * slices)
        if line is None:
            raise LabError(f"{forward.name} ended{forward.complaint()}")
        return json.loads(line)["ns_per_packet"]
    finally:
        source.stop()  # before the other: the driver unmaps the rings of whoever still polls
        if forward is not None:
            forward.end_of_input()
            forward.wait(5)
            forward.stop()
