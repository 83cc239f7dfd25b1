"""Which core pays for the kernel's share of a packet.

A veth pair has no interrupt of its own: what one end sends is received, in softirq, on the core that sent it.
Left alone, the sender would so pay for the relay's receiving. RPS (receive packet steering) moves it.
"""
import pathlib
import subprocess
import time

from lab import LabError, run

OFFLOADS = ["tx", "rx", "gso", "tso", "gro", "tx-udp-segmentation"]


def in_ns(netns, *argv, **kwargs):
    return run("ip", "netns", "exec", netns, *argv, **kwargs)


def offloads_off(netns, device):
    """No contender may see fewer, larger packets than another."""
    for name in OFFLOADS:
        in_ns(netns, "ethtool", "-K", device, name, "off")


def steer(netns, device, core):
    """What `device` receives is worked on by `core`."""
    path = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"
    in_ns(netns, "sh", "-c", f"echo {1 << core:x} > {path}")
    if int(in_ns(netns, "cat", path).stdout.replace(",", ""), 16) != 1 << core:
        raise LabError(f"receive steering of {device} does not hold: does this kernel have CONFIG_RPS?")


def threaded_napi(netns, device, core):
    """For AF_XDP, whose receiving is NAPI and passes RPS by: its own thread, on `core`.

    First-in first-out, as a softirq is: it runs when there are packets, before the thread that polls.
    """
    in_ns(netns, "sh", "-c", f"echo 1 > /sys/class/net/{device}/threaded")
    deadline = time.monotonic() + 2
    while not (found := napi_threads(device)):
        if time.monotonic() > deadline:
            raise LabError(f"the kernel made no NAPI thread for {device}; try --only sluice_af_packet")
        time.sleep(0.02)
    for pid in found:
        run("taskset", "-pc", str(core), pid)
        run("chrt", "-f", "-p", "1", pid)


def napi_threads(device):
    found = []
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith(f"napi/{device}-"):
                found.append(comm.parent.name)
        except OSError:
            pass
    return found


def mac_of(netns, device):
    return in_ns(netns, "cat", f"/sys/class/net/{device}/address").stdout.strip()


def set_mac(netns, device, mac):
    run("ip", "-n", netns, "link", "set", device, "address", mac)


def neighbour(netns, device, address, mac):
    run("ip", "-n", netns, "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")


def drop_after_taps(netns, device):
    """The kernel's own stack ends here; packet sockets have had their copy. For an interface that is DPDK's."""
    run("tc", "-n", netns, "qdisc", "add", "dev", device, "clsact")
    run("tc", "-n", netns, "filter", "add", "dev", device, "ingress", "bpf", "bytecode", "1,6 0 0 2",
        "direct-action")


def undrop(netns, device):
    subprocess.run(["tc", "-n", netns, "qdisc", "del", "dev", device, "clsact"], capture_output=True)
