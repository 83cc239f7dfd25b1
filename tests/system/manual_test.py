#!/usr/bin/python3
"""Man pages and completion, held against --help: every verb and option of every program stands in both, pages render
without a warning, and sluiced.yaml(5) has every key."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
PAGES = sorted((BUILD / "config").glob("*.[158]"))
SHORT = {"-h", "--help"}  # of every verb; in a page they stand once


def run(*argv, env=None):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise SystemExit(f"FAILED: {' '.join(map(str, argv))}: {done.returncode} {done.stderr}")
    return done.stdout


def check(good, text):
    if not good:
        raise SystemExit(f"FAILED: does not hold: {text}")


def help_of(program, path):
    """The verbs below, and the options, as --help shows them."""
    verbs, options, section = [], set(), ""
    for line in run(BUILD / program, *path, "--help").splitlines():
        if re.match(r"\S.*:$|\[Option Group: ", line):
            section = line
        elif section == "Subcommands:":
            verbs += re.findall(r"^  (\S+)", line)
        elif section:
            for names in re.findall(r"^ {2,4}(-[-\w,]+)", line):
                options |= set(names.split(","))
    return verbs, options


def all_of(program, path=()):
    """Every verb of a program with its options: {("token", "create"): {"--ttl", …}, …}."""
    verbs, options = help_of(program, path)
    out = {path: options}
    for verb in verbs:
        out.update(all_of(program, (*path, verb)))
    return out


def sections(page):
    """The page as people see it: {"sluicectl token create": its text}; the program's own name for what stands before."""
    name, out = page.stem, {}
    text = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=200n", page], capture_output=True, text=True)
    check(text.returncode == 0 and not text.stderr, f"{page.name} renders without a warning: {text.stderr}")
    at = name
    for line in text.stdout.splitlines():
        if re.match(rf"   {re.escape(name)}( [a-z]|$)", line):
            at = " ".join([name, *re.findall(r" ([a-z][-a-z0-9]*)(?=\s|$)", line[3 + len(name):].split("[")[0])])
        elif re.match(r"[A-Z]", line):
            at = name
        out[at] = out.get(at, "") + line + "\n"
    return out, text.stdout


def rendered(page):
    shown = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True,
                           env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    check(shown.returncode == 0 and not shown.stderr, f"man(1) shows {page.name} without a warning: {shown.stderr}")


def offered(program, paths):
    """What bash's completion offers for `PROGRAM VERB… ` and for `… --`, of every verb, in one shell."""
    script = run(BUILD / program, "completion", "bash")
    for path in paths:
        for last in ("", "--"):
            words = " ".join(f"'{w}'" for w in (program, *path, last))
            script += (f"\nCOMP_WORDS=({words}); COMP_CWORD={len(path) + 1}; _{program.replace('-', '_')}; "
                       "echo \"${COMPREPLY[*]}\"")
    lines = iter(run("bash", "--norc", "-c", script).splitlines())
    return {path: set(next(lines).split()) | set(next(lines).split()) for path in paths}


def try_program(page):
    program = page.stem
    check(page.read_text() == run(BUILD / program, "man"), f"{page.name} was made by the program that is there")
    verbs = all_of(program)
    written, whole = sections(page)
    completed = offered(program, verbs)
    for path, options in verbs.items():
        name = " ".join((program, *path))
        check(name in written, f"{page.name} has a section {name}")
        missing = {o for o in options - (SHORT if path else set()) if not re.search(rf"(?<![-\w]){o}(?![-\w])", written[name])}
        check(not missing, f"{page.name} has under {name}: {sorted(missing)}")
        below = {p[-1] for p in verbs if len(p) == len(path) + 1 and p[:-1] == path}
        wanted = below | {o for o in options if o.startswith("--")}
        check(wanted <= completed[path], f"{name} is completed with {sorted(wanted - completed[path])}")
    check("man" not in completed[()] and ("man",) not in verbs, f"{program} keeps the verb for its build to itself")
    for code in re.findall(r"^\| `\w+` \| (\d+) ", (ROOT / "docs/errors.md").read_text(), re.M):
        check(re.search(rf"^       {code}\b", whole, re.M), f"{page.name} says what exit status {code} means")
    for other, number in re.findall(r"(sluice[\w.-]*)\((\d)\)", whole.split("SEE ALSO")[1].split("\n\n")[0]):
        check((BUILD / "config" / f"{other}.{number}").is_file(), f"{page.name} refers to {other}({number}), which exists")
    zsh = (BUILD / "config" / f"_{program}").read_text()
    check(zsh.startswith(f"#compdef {program}\n"), f"zsh finds the completion of {program}")
    print(f"ok: {program}: {len(verbs)} verbs, {sum(map(len, verbs.values()))} options", flush=True)


def keys_of_configuration():
    """Every key that the relay prints of the shipped file, by its name alone."""
    printed = run(BUILD / "sluiced", "-c", ROOT / "config/sluiced.yaml", "--print-config")
    return set(re.findall(r"^\W*([a-z_0-9]+):", printed, re.M))


def main():
    programs = [page for page in PAGES if (BUILD / page.stem).exists()]
    check({p.stem for p in programs} >= {"sluiced", "sluicectl", "sluice-agent", "sluice-pktgen"}, "every program has a page")
    for page in programs:
        try_program(page)
    for page in PAGES:
        rendered(page)
    _, text = sections(BUILD / "config/sluiced.yaml.5")
    keys = keys_of_configuration()
    missing = {k for k in keys if not re.search(rf"(?<![a-z_]){k}(?![a-z_])", text)}
    check(len(keys) > 60 and not missing, f"sluiced.yaml(5) has every key: {sorted(missing)}")
    print(f"ok: sluiced.yaml: {len(keys)} keys")


main()
