"""What a dump of a process's memory would hold."""
import pathlib
import re


def places(pid, what):
    """Where `what` stands in it, with what is around: in all that can be written but what is kept out of dumps (guarded buffers)."""
    found = []
    smaps = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line, flags in re.findall(r"^([0-9a-f]+-[0-9a-f]+ .*)$(?:\n(?![0-9a-f]+-).*)*?\nVmFlags: (.*)$", smaps, re.M):
            span, rights = line.split()[:2]
            if "rw" not in rights or "dd" in flags.split():
                continue
            begin, end = (int(x, 16) for x in span.split("-"))
            memory.seek(begin)
            try:
                data = memory.read(end - begin)
            except OSError:  # a device's
                continue
            found += [(line.split()[-1], data[max(0, m.start() - 60):m.end() + 60]) for m in re.finditer(re.escape(what), data)]
    return found


def turned(text):
    """Hex digits of `text` with all bits turned round: how a test hands a secret to a program whose memory it searches."""
    return bytes(255 - b for b in text.encode()).hex()
