"""Lists of cores as the kernel writes them: 2-5,8."""
from .errors import Refused


def parse(text, where):
    """A set of numbers; Refused names `where` the list stands."""
    cores = set()
    for part in filter(None, (p.strip() for p in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise Refused(f"{where}: '{text}' is no list of cores; write it as 2-5,8", 2)
        cores.update(range(int(first), int(last or first) + 1))
    return cores


def text(cores):
    """Runs as first-last, in order."""
    runs = []
    for core in sorted(cores):
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def mask(cores):
    """As /proc/irq/default_smp_affinity has it: 32 bits a word, the highest first."""
    bits = sum(1 << core for core in cores)
    words = []
    while True:
        words.append(f"{bits & 0xffffffff:08x}")
        bits >>= 32
        if not bits:
            break
    return ",".join(reversed(words)).lstrip("0") or "0"
