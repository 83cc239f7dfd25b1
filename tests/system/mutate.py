#!/usr/bin/python3
"""Throws mutated packets at a relay: a corpus made with scapy (tunnel packets of every type, ARP, ICMP, IPv6,
fragments, options, nonsense), each copy changed at random places, cut or lengthened. Prints how many went out.
Only ever used inside the test's own namespaces."""
import argparse
import random
import socket
import struct
import time

from scapy.all import (ARP, ICMP, IP, UDP, Ether, ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPOption_NOP, Raw, fragment,
                       raw)


def header(kind, version=1, sealed=48, receiver=1, counter=0):
    return struct.pack("<BBHIQ", kind, version, sealed, receiver, counter)


def corpus(relay, own, mac):
    ether = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
    udp = IP(src=own, dst=relay) / UDP(sport=40000, dport=7600)
    tunnel = [
        header(4, sealed=64) + bytes(16) + bytes(64),
        header(4, sealed=16, receiver=3) + bytes(16) + bytes(200),
        header(1, sealed=268, receiver=0) + bytes(304),
        header(1, version=7, sealed=268) + bytes(304),
        header(2, sealed=96) + bytes(132), header(3, sealed=32) + bytes(56), header(5, version=0, sealed=1) + b"\1",
        b"", b"\4", bytes(15), bytes(16), bytes(1400),
    ]
    packets = [ether / udp / Raw(t) for t in tunnel]
    packets += [ether / IP(src=own, dst=relay, options=[IPOption_NOP()]) / UDP(sport=1, dport=7600) / Raw(tunnel[0]),
                ether / IP(src=own, dst=relay) / ICMP() / Raw(bytes(56)),
                ether / ARP(psrc=own, pdst=relay, hwsrc=mac),
                ether / IPv6(src="fe80::1", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt="fe80::2"),
                ether / IPv6(src="fe80::1", dst="fe80::2") / ICMPv6EchoRequest(),
                ether / IPv6(src="fe80::1", dst="fe80::2") / UDP(sport=1, dport=7600) / Raw(tunnel[0])]
    packets += [ether / f for f in fragment(udp / Raw(bytes(1200)), fragsize=400)]
    return [raw(p) for p in packets]


def mutate(data, rng):
    out = bytearray(data)
    kind = rng.random()
    if kind < 0.5:
        for _ in range(rng.randint(1, 6)):
            out[rng.randrange(len(out))] = rng.randrange(256)
    elif kind < 0.7:
        out = out[:rng.randint(14, len(out))]
    elif kind < 0.8:
        out += rng.randbytes(rng.randint(1, 1500 - min(len(out), 1499)))
    elif kind < 0.9 and len(out) > 43:
        out[42:] = rng.randbytes(len(out) - 42)
    return bytes(out[:1514]).ljust(14, b"\0")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--interface", required=True)
    p.add_argument("--relay", required=True)
    p.add_argument("--own", required=True)
    p.add_argument("--relay-mac")
    p.add_argument("--count", type=int, default=100000)
    p.add_argument("--rate", type=float, default=0, help="packets a second, 0: as fast as it goes")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    rng = random.Random(a.seed)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((a.interface, 0))
    own_mac = ":".join(f"{b:02x}" for b in link.getsockname()[4])
    base = corpus(a.relay, a.own, own_mac)
    target = bytes(int(b, 16) for b in a.relay_mac.split(":")) if a.relay_mac else None
    sent, began = 0, time.monotonic()
    while sent < a.count:
        data = bytearray(mutate(rng.choice(base), rng))
        if target and rng.random() < 0.9:
            data[0:6] = target
        try:
            link.send(bytes(data))
        except OSError:
            continue
        sent += 1
        if a.rate and sent % 50 == 0:
            pause = began + sent / a.rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
    print(sent)


main()
