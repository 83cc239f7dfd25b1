"""A plan's line: what is, what should be, and the changes that lead there."""
import os
import shutil
import sys
from dataclasses import dataclass, field

GOOD = "good"      # as it should be
CHANGE = "change"  # --apply does it
REBOOT = "reboot"  # done; the next boot brings it
MANUAL = "manual"  # a person has to do it: the note says what
REFUSED = "refused"


@dataclass
class Item:
    step: str
    what: str
    now: str
    wanted: str
    how: str = ""
    state: str = GOOD
    changes: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def as_json(self):
        return {"step": self.step, "what": self.what, "now": self.now, "wanted": self.wanted, "how": self.how,
                "state": self.state, "notes": self.notes}


COLOURS = {GOOD: "32", CHANGE: "33", REBOOT: "33", MANUAL: "33", REFUSED: "31"}


def paint(code, text, stream=sys.stdout):
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"


def table(items):
    """For eyes: as wide as needed, the last column cut at the terminal's edge, notes below."""
    rows = [("", "what", "now", "wanted", "how")] + [(i.state, i.what, i.now, i.wanted, i.how) for i in items]
    widths = [max(len(r[c]) for r in rows) for c in range(4)]
    room = shutil.get_terminal_size((200, 24)).columns if sys.stdout.isatty() else 100000
    out = []
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths)) + "  " + row[4]
        line = line[:room].rstrip()
        out.append(paint(COLOURS.get(row[0], "1"), line[:widths[0]]) + line[widths[0]:])
    for item in items:
        out.extend(f"{item.what}: {note}" for note in item.notes)
    return "\n".join(out)
