#!/usr/bin/python3
"""Looks at what the compiler made of the AVX-512 lanes, by disassembly.

check_lanes.py OBJECT...
  In every object: no inline function of somebody else (the linker could keep that copy for CPUs without
  AVX-512).
  In the functions that see secret scalars (X25519): no gather; no value moves from a vector or mask register
  to a general register, directly or through the stack, so no address and no branch can depend on one; every
  conditional jump follows a comparison of general registers. In the inner ones (ladder, comb, powers), where
  nothing but a fixed count may decide, it also jumps backwards. Known blind spot: a scalar's bytes read into a
  general register straight from the caller's memory; memcheck (constant_time) sees that.
Exit 1 with the place, if any of it does not hold. `--must-find WORD` fails unless WORD is among the breaches:
the check checked."""
import re
import subprocess
import sys

SECRET = re.compile(r"X25519<|invert_all<|invert<|power_2_250_1<|square_times<|multiply<|double_times<|double_to_add<")
INNER = re.compile(r"::ladder\(|::add_digit\(|::comb_product\(|square_times<|[ :]multiply<|double_times<|double_to_add<")
STACK = re.compile(r"(-?0x[0-9a-f]+|)\(%(r[sb]p)\)")
GATHER = re.compile(r"^v?p?gather|^vpscatter|^vgather")
TO_GENERAL = re.compile(r"^(kmov[bwdq]|vmov[dq]|vpextr\w|vmovmsk\w+|vpmovmskb|kortest\w|ktest\w|vptest|vtestp\w)$")
GENERAL = re.compile(r"%(r[0-9a-z]+|e[a-ds][a-z]|[a-d]l|[a-d]x)\b")
CONDITIONAL = re.compile(r"^j(?!mp)[a-z]+$")
COMPARES = re.compile(r"^(cmp|sub|add|dec|inc|test|and|bt)[bwlq]?$")


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
            elif INNER.search(name) and target and int(target.group(1), 16) > at and not zero_times(lines, index):
                yield f"a conditional jump forwards: {where}"
    yield from through_the_stack(name, lines)


def zero_times(lines, index):
    """A loop over a count that the caller gives may run no time at all: `test count,count` before the loop."""
    before = lines[index - 1]
    return before[1] == "test" and len(set(before[2].split(","))) == 1


def through_the_stack(name, lines):
    """Loads of general registers from slots of the frame that a vector or mask register was stored to."""
    stored = []
    for at, mnemonic, operands in lines:
        slot = STACK.search(operands.split("#")[0])
        if not slot or "," not in operands:
            continue
        offset, base = int(slot.group(1) or "0", 16), slot.group(2)
        register = operands[slot.end():].strip(" ,")
        if slot.end() == len(operands.split("#")[0].strip()):  # the slot stands last: a store
            source = re.search(r"%([xyz]mm|k)\d", operands[:slot.start()])
            if source:
                size = {"xmm": 16, "ymm": 32, "zmm": 64, "k": 8}[source.group(1)]
                stored.append((base, offset, offset + size))
        elif mnemonic.startswith("mov") and GENERAL.fullmatch(register):
            if any(b == base and low <= offset < high for b, low, high in stored):
                yield f"a lane's value through the stack: {name} at {at:x}: {mnemonic} {operands}"


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
