"""The audit log as those see it who do not trust the relay: RFC 6962 and C2SP's tlog-tiles, tlog-checkpoint and tlog-proof, read
by an implementation of its own."""
import base64
import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common import check


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def index_path(n):
    parts = [f"{n % 1000:03}"]
    while n >= 1000:
        n //= 1000
        parts.insert(0, f"x{n % 1000:03}")
    return "/".join(parts)


def open_note(note, vkey):
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    name, key_id, key = vkey.split("+", 2)
    public = base64.b64decode(key)
    check(public[0] == 1 and hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() == key_id, "the verifier's id is its own")
    lines = [line for line in signatures.splitlines() if line.startswith(f"— {name} ")]
    raw = base64.b64decode(lines[0].split(" ")[2])
    check(raw[:4].hex() == key_id, "the signature names the key")
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], text.encode())
    origin, size, root = text.splitlines()
    check(origin == name, "the origin is the key's name")
    return int(size), base64.b64decode(root)


class Log:
    """All of a published log, checked: from the first record that is kept on, and what is before it by the tiles above."""

    def __init__(self, folder):
        self.vkey = (folder / "audit.vkey").read_text().strip()
        pruned = folder / "pruned"
        said = int(pruned.read_text()) if pruned.exists() else None
        self.note = (folder / "checkpoint").read_text()
        self.size, self.root = open_note(self.note, self.vkey)
        self.first = 0
        if said is not None:
            record, = self.bundle(folder, said // 256)[said % 256:][:1]
            assert record[1] == 11
            _, self.first, _ = struct.unpack("<QQQ", record[32:56])
            assert self.first % 256 == 0 and self.first <= said
        self.entries = {}
        for bundle in range(self.first // 256, (self.size + 255) // 256):
            for i, entry in enumerate(self.bundle(folder, bundle)):
                self.entries[256 * bundle + i] = entry
        subtrees = []
        for tile in range((self.first // 256 + 255) // 256):
            width = min(256, self.size // 256 - 256 * tile)
            suffix = "" if width == 256 else f".p/{width}"
            data = (folder / f"tile/1/{index_path(tile)}{suffix}").read_bytes()
            subtrees += [data[32 * i:32 * i + 32] for i in range(width)]

        def between(begin, end):
            if end - begin == 256 and end <= self.first:
                return subtrees[begin // 256]
            if end - begin == 1:
                return leaf(self.entries[begin])
            k = 1
            while 2 * k < end - begin:
                k *= 2
            return node(between(begin, begin + k), between(begin + k, end))
        assert between(0, self.size) == self.root

    def bundle(self, folder, index):
        width = min(256, self.size - 256 * index)
        suffix = "" if width == 256 else f".p/{width}"
        data = (folder / f"tile/entries/{index_path(index)}{suffix}").read_bytes()
        hashes = (folder / f"tile/0/{index_path(index)}{suffix}").read_bytes()
        entries = []
        for i in range(width):
            length, = struct.unpack(">H", data[:2])
            entry, data = data[2:2 + length], data[2 + length:]
            assert length == 128 and leaf(entry) == hashes[32 * i:32 * i + 32], (index, i)
            entries.append(entry)
        assert not data
        return entries


def read_log(folder):
    """The relay publishes meanwhile: what is read may be of two checkpoints."""
    for _ in range(20):
        try:
            return Log(folder)
        except FileNotFoundError:
            pass
    return Log(folder)


def proof_holds(proof, record, vkey):
    head, _, note = proof.partition("\n\n")
    lines = head.splitlines()
    check(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "the proof is of C2SP's form")
    index, hashes = int(lines[1][6:]), [base64.b64decode(line) for line in lines[2:]]
    size, root = open_note(note, vkey)

    def climb(index, size, hashes):
        if size == 1:
            assert not hashes
            return leaf(record)
        k = 1
        while 2 * k < size:
            k *= 2
        if index < k:
            return node(climb(index, k, hashes[:-1]), hashes[-1])
        return node(hashes[-1], climb(index - k, size - k, hashes[:-1]))
    return climb(index, size, hashes) == root
