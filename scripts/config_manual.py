"""config/sluiced.yaml as the manual that it is: which comment belongs to which keys. Of the man page (config-page) and the reference
(config-reference)."""
import re

KEY = re.compile(r"(?P<indent> *)(?P<item>- )?(?P<key>[a-z_0-9]+):(?: +(?P<value>.*))?$")
# A key in a comment: one that has no default, or the beginning of an example.
OUT_KEY = re.compile(r"(?P<key>[a-z_]+): \S+$")
EXAMPLE = re.compile(r" *(?P<key>[a-z_]+):$")


class Walker:
    def __init__(self):
        self.entries = []
        self.path = []  # (indent, key) of the keys around the line
        self.comment = []
        self.keys = []  # that follow the comment
        self.known = set()

    def flush(self):
        comment, keys = self.comment, self.keys
        self.comment, self.keys = [], []
        if not comment:
            return
        self.entries.append((keys or self.keys_in(comment), comment))

    def keys_in(self, comment):
        """Those that only an example in the comment has: its outermost."""
        around = "".join(key + "." for _, key in self.path)
        found = [m for m in map(EXAMPLE.match, comment) if m]
        outer = min((len(m[0]) - len(m[0].lstrip()) for m in found), default=0)
        return [(around + m["key"], "") for m in found if len(m[0]) - len(m[0].lstrip()) == outer]

    def line(self, line):
        text = line.strip()
        key = KEY.match(line)
        if text.startswith("#"):
            indent = len(line) - len(line.lstrip())
            if self.keys:
                self.flush()
            if not self.comment and not line.lstrip().startswith("# - "):
                self.path = [(i, k) for i, k in self.path if i < indent]
            text = text[1:].removeprefix(" ")
            key = OUT_KEY.match(text)
            if key and self.comment and "For example:" not in self.comment:
                self.keys = [(".".join([k for _, k in self.path] + [key["key"]]), "")]
                self.flush()
            else:
                self.comment.append(text)
        elif not text:
            self.flush()
            self.path = []
        elif key:
            indent = len(key["indent"]) + len(key["item"] or "")
            self.path = [(i, k) for i, k in self.path if i < indent]
            name = ".".join([k for _, k in self.path] + [key["key"]])
            self.path.append((indent, key["key"]))
            value = key["value"] or ""
            if not value and not (self.comment and not self.keys):
                self.flush()
                if indent == 0:
                    self.entries.append(([(name, "")], []))
            elif name not in self.known and (self.comment or self.keys):
                self.keys.append((name, value))
            self.known.add(name)
            # What is below it has comments of its own.
            if not value:
                self.flush()


def read(text):
    """What stands before the first key, as lines without #; and [([(key, value), ...], comment lines), ...] in the manual's order,
    keys as `limits.agents`. A section's own key has no dot; a comment without keys is prose."""
    lines = text.splitlines()
    head = lines.index("")
    walker = Walker()
    for line in [*lines[head:], ""]:
        walker.line(line)
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:head]], walker.entries
