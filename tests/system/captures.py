"""Capture files by Python's own hands: pcap read and written, and Ethernet, IP and UDP around payloads of the tunnel."""
import struct

ETHERNET, NULL, RAW, COOKED, COOKED_2 = 1, 0, 101, 113, 276
PORT = 7600


def read(path):
    """Every packet of a little-endian pcap file with microseconds: bytes, and the size before it was cut."""
    data = path.read_bytes()
    at = 24
    while at + 16 <= len(data):
        have, size = struct.unpack_from("<II", data, at + 8)
        yield data[at + 16:at + 16 + have], size
        at += 16 + have


def write(path, packets, link_type=ETHERNET):
    """`packets`: bytes, or bytes and the size before the cut."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, link_type))
        for i, packet in enumerate(packets):
            data, size = packet if isinstance(packet, tuple) else (packet, len(packet))
            out.write(struct.pack("<IIII", 1_700_000_000 + i // 1000, i % 1000, len(data), size) + data)


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip_packet(payload, to_relay, v6=False):
    ports = (40000, PORT) if to_relay else (PORT, 40000)
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    hosts = [bytes(v6 * 12) + bytes([10, 77, 1, n]) for n in ((2, 1) if to_relay else (1, 2))]
    if v6:
        return struct.pack(">IHBB", 6 << 28, len(udp), 17, 64) + b"".join(hosts) + udp
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, *hosts)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp


def ethernet(payload, to_relay, v6=False, vlan=False):
    tag = b"\x81\0\0\x05" if vlan else b""
    return bytes(12) + tag + (b"\x86\xdd" if v6 else b"\x08\0") + ip_packet(payload, to_relay, v6)


def payload_of(frame):
    """Of UDP over IPv4 in an Ethernet frame to or from the tunnel's port, and whether it goes to the relay; else nothing."""
    if len(frame) < 42 or frame[12:14] != b"\x08\0" or frame[23] != 17:
        return None
    source, target, size = struct.unpack_from(">HHH", frame, 34)
    if PORT not in (source, target):
        return None
    return frame[42:34 + size], target == PORT


def encapsulations(payload):
    """The same packet as devices of other kinds capture it: link type, bytes."""
    for v6 in (False, True):
        ip, kind = ip_packet(payload, True, v6), b"\x86\xdd" if v6 else b"\x08\0"
        yield ETHERNET, bytes(12) + kind + ip
        yield ETHERNET, bytes(12) + b"\x88\xa8\0\x07\x81\0\0\x05" + kind + ip
        yield RAW, ip
        yield NULL, struct.pack("<I", 30 if v6 else 2) + ip
        yield COOKED, struct.pack(">HHH8s", 4, 1, 6, bytes(8)) + kind + ip
        yield COOKED_2, kind + struct.pack(">HIHBB8s", 0, 2, 1, 4, 6, bytes(8)) + ip
