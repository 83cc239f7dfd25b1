#!/usr/bin/python3
"""Looks at what the compiler made of the AVX-512 lanes, by disassembly.

check_lanes.py OBJECT...
  In every object: no inline function of somebody else (the linker could keep that copy for CPUs without
  AVX-512).
  In the functions that see secret scalars (X25519): no gather; no value moves from a vector or mask register
  to a general register, so no address and no branch can depend on one; and the only conditional jumps are
  loops, backwards, each after a comparison of a general register with a constant or another one.
Exit 1 with the place, if any of it does not hold. `--must-find WORD` fails unless WORD is among the breaches:
the check checked."""
import re
import subprocess
import sys

SECRET = re.compile(r"X25519<|invert_all<|invert<|power_2_250_1<|square_times<|multiply<|double_times<|double_to_add<")
GATHER = re.compile(r"^v?p?gather|^vpscatter|^vgather")
TO_GENERAL = re.compile(r"^(kmov[bwdq]|vmov[dq]|vpextr\w|vmovmsk\w+|vpmovmskb|kortest\w|ktest\w|vptest|vtestp\w)$")
GENERAL = re.compile(r"%(r[0-9a-z]+|e[a-ds][a-z]|[a-d]l|[a-d]x)\b")
CONDITIONAL = re.compile(r"^j(?!mp)[a-z]+$")
COMPARES = re.compile(r"^(cmp|sub|add|dec|inc|test|and)[bwlq]?$")


def functions(path):
    text = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", path], check=True, capture_output=True,
                          text=True).stdout
    name, lines = None, []
    for line in text.splitlines():
        head = re.match(r"^([0-9a-f]+) <(.+)>:$", line)
        if head:
            if name:
                yield name, lines
            name, lines = head.group(2), []
        else:
            code = re.match(r"^\s+([0-9a-f]+):\t(\S+)\s*(.*)$", line)
            if code:
                lines.append((int(code.group(1), 16), code.group(2), code.group(3)))
    if name:
        yield name, lines


def moves_to_general(mnemonic, operands):
    if not TO_GENERAL.match(mnemonic):
        return False
    if mnemonic.startswith(("kortest", "ktest", "vptest", "vtest")):
        return not mnemonic.startswith("vptestm")
    target = operands.split("#")[0].split(",")[-1].strip()
    return bool(GENERAL.fullmatch(target))


def breaches_of(name, lines):
    for index, (at, mnemonic, operands) in enumerate(lines):
        where = f"{name} at {at:x}: {mnemonic} {operands}"
        if GATHER.match(mnemonic):
            yield f"a gather: {where}"
        if moves_to_general(mnemonic, operands):
            yield f"a lane's value in a general register: {where}"
        if CONDITIONAL.match(mnemonic):
            target = re.match(r"^([0-9a-f]+)", operands)
            before = [l for l in lines[max(0, index - 6):index] if COMPARES.match(l[1])]
            if not before or "%k" in before[-1][2] or "mm" in before[-1][2]:
                yield f"a jump on something else than a general register: {where}"
            elif target and int(target.group(1), 16) > at and not skips_entry(lines, before[-1]):
                yield f"a conditional jump forwards: {where}"


def skips_entry(lines, compare):
    """Forwards is allowed where a loop over a count given as an argument may run zero times."""
    return "$" in compare[2] or compare[1].startswith(("test", "cmp"))


def foreign(path):
    table = subprocess.run(["nm", "-C", path], check=True, capture_output=True, text=True).stdout
    for line in table.splitlines():
        entry = re.match(r"^[0-9a-f]* *([VWuvw]) (.+)$", line)
        if entry and "sluice::crypto::lanes" not in entry.group(2):
            yield f"{path}: an inline function of somebody else: {entry.group(2)}"


def main():
    arguments = sys.argv[1:]
    wanted = None
    if "--must-find" in arguments:
        at = arguments.index("--must-find")
        wanted = arguments[at + 1]
        del arguments[at:at + 2]
    found, looked_at = [], 0
    for path in arguments:
        found += foreign(path)
        for name, lines in functions(path):
            if SECRET.search(name) and "Engine" not in name.split("(")[0]:
                looked_at += 1
                found += breaches_of(name, lines)
    if wanted is not None:
        sys.exit(0 if any(wanted in f for f in found) else f"'{wanted}' was not found; found: {found}")
    print("\n".join(found) or f"{looked_at} functions: no gather, no lane in a general register, loops only")
    sys.exit(1 if found or looked_at == 0 else 0)


if __name__ == "__main__":
    main()
