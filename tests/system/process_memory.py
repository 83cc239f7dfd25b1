"""What a process's memory holds, and what of it a dump would show."""
import pathlib
import re
import resource

CHUNK = 1 << 20


class Mapping:
    """A range of a process's memory, and whether a core dump has it."""

    def __init__(self, line):
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
        self.begin, self.end = int(found[1], 16), int(found[2], 16)
        self.mode, self.path = found[3], found[4]
        self.flags = []

    @property
    def dumped(self):
        return "dd" not in self.flags


def mappings(pid):
    out = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            out.append(Mapping(line))
        elif line.startswith("VmFlags:"):
            out[-1].flags = line.split()[1:]
    return out


def pages_there(pagemap, mapping):
    """Runs of pages that hold something: what nobody has touched is not read, since most of the room for packets' memory is only
    reserved."""
    page = resource.getpagesize()
    first, count = mapping.begin // page, (mapping.end - mapping.begin) // page
    run = None
    for at in range(0, count, 65536):
        n = min(65536, count - at)
        pagemap.seek((first + at) * 8)
        data = pagemap.read(n * 8)
        if not any(data):
            if run is not None:
                yield run, (first + at) * page
                run = None
            continue
        for i in range(n):
            there = data[i * 8 + 7] & 0xc0 if i * 8 + 7 < len(data) else 0  # present or swapped
            if there and run is None:
                run = (first + at + i) * page
            elif not there and run is not None:
                yield run, (first + at + i) * page
                run = None
    if run is not None:
        yield run, mapping.end


def search(pid, needles):
    """{needle: mappings that hold it}, and bytes read, of all of a process's memory."""
    longest = max(map(len, needles))
    found, size, skipped = {n: [] for n in needles}, 0, 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory, open(f"/proc/{pid}/pagemap", "rb", 0) as pagemap:
        for mapping in mappings(pid):
            if not mapping.mode.startswith("r") or mapping.path in ("[vvar]", "[vsyscall]"):
                continue
            for begin, end in pages_there(pagemap, mapping):
                for at in range(begin, end, CHUNK):
                    try:
                        memory.seek(at)
                        data = memory.read(min(CHUNK + longest, end - at))
                    except OSError:
                        skipped += 1  # given back meanwhile, or a device's
                        continue
                    size += min(CHUNK, len(data))
                    for n in needles:
                        if n in data and mapping not in found[n]:
                            found[n].append(mapping)
    print(f"read {size >> 20} MiB of process {pid}, {skipped} pieces could not be", flush=True)
    return found, size


def where(found):
    return ", ".join(sorted({m.path or "anonymous memory" for at in found.values() for m in at})) or "nowhere"


def places(pid, what):
    """Where `what` stands in what a dump would show and the process can write, with what is around it."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for mapping in mappings(pid):
            if not mapping.mode.startswith("rw") or not mapping.dumped:
                continue
            memory.seek(mapping.begin)
            try:
                data = memory.read(mapping.end - mapping.begin)
            except OSError:  # a device's
                continue
            found += [(mapping.path, data[max(0, m.start() - 60):m.end() + 60]) for m in re.finditer(re.escape(what), data)]
    return found


def turned(text):
    """Hex digits of `text` with all bits turned round: how a test hands a secret to a program whose memory it searches."""
    return bytes(255 - b for b in text.encode()).hex()
