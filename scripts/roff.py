"""Text as the man macros of groff want it; src/base/man_page.cpp does the same for the programs."""

# groff(7) would set some of these as typographic characters, which nobody can paste or search for.
ESCAPES = {"…": "...", "\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti"}


def escaped(text):
    out = "".join(ESCAPES.get(c, c if ord(c) < 128 else f"\\[u{ord(c):04X}]") for c in text)
    return "\\&" + out if out[:1] in (".", "'") else out
