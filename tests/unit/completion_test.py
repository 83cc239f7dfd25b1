#!/usr/bin/python3
"""The completion scripts, in a real bash: what it offers for the beginnings of command lines."""
import os
import pathlib
import subprocess
import sys

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))

CASES = [
    # program, the words so far (the last one is being typed), what must be offered, what must not
    ("sluicectl", [""], {"status", "token", "revoke", "backup", "--json"}, {"create", "--ttl"}),
    ("sluicectl", ["to"], {"token", "top"}, {"status"}),
    ("sluicectl", ["token", ""], {"create", "list", "end"}, {"--ttl", "status"}),
    ("sluicectl", ["token", "create", "--"], {"--ttl", "--uses", "--tenant", "--json"}, {"--match"}),
    ("sluicectl", ["--json", "token", "create", "--t"], {"--ttl", "--tenant"}, {"--uses"}),
    ("sluicectl", ["revoke", "--"], {"--match", "--pair", "--reason"}, {"--ttl"}),
    ("sluicectl", ["token", "create", "--ttl", ""], set(), {"list", "--uses"}),
    ("sluicectl", ["restore", "/etc/host"], {"/etc/hosts"}, {"status"}),
    ("sluicectl", ["--socket", "/etc/host"], {"/etc/hosts"}, {"status"}),
    ("sluicectl", ["status", "/etc/host"], set(), {"/etc/hosts"}),
    ("sluice-agent", [""], {"init", "up", "handshake"}, {"--scopes"}),
    ("sluice-agent", ["handshake", "--s"], {"--scopes"}, {"--for", "--state"}),
    ("sluiced", [""], {"completion", "--check"}, {"man"}),
    ("sluiced", ["--check", "/etc/host"], {"/etc/hosts"}, {"completion"}),
    ("sluice-pktgen", [""], {"run", "search", "trust"}, {"--device", "man"}),
    ("sluice-pktgen", ["run", "--flood-"], {"--flood-from", "--flood-until"}, {"--frames"}),
    ("sluice-pcap", [""], {"show", "decrypt"}, {"--json"}),
    ("sluice-pcap", ["decrypt", "/etc/host"], {"/etc/hosts"}, {"show"}),
]


def offered(program, words):
    function = "_" + program.replace("-", "_")
    text = subprocess.run([BUILD / program, "completion", "bash"], check=True, capture_output=True, text=True).stdout
    quoted = " ".join(f"'{w}'" for w in (program, *words))
    script = f"{text}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; {function}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    if done.stderr:
        raise SystemExit(f"{program} {words}: {done.stderr}")
    return set(done.stdout.split())


def main():
    # Sanitizer builds leave the load generator out.
    programs = [p for p in ("sluiced", "sluicectl", "sluice-agent", "sluice-pktgen", "sluice-pcap") if (BUILD / p).exists()]
    cases = [case for case in CASES if case[0] in programs]
    failures = 0
    for program, words, wanted, unwanted in cases:
        got = offered(program, words)
        if not wanted <= got or unwanted & got:
            failures += 1
            print(f"FAILED: {program} {words}: missing {sorted(wanted - got)}, too many {sorted(unwanted & got)}")
    for program in programs:
        zsh = subprocess.run([BUILD / program, "completion", "zsh"], check=True, capture_output=True, text=True).stdout
        if not zsh.startswith(f"#compdef {program}\n"):
            failures += 1
            print(f"FAILED: the zsh script of {program} does not begin with #compdef")
        refused = subprocess.run([BUILD / program, "completion", "tcsh"], capture_output=True, text=True)
        if refused.returncode != 2 or "bash or zsh" not in refused.stderr:
            failures += 1
            print(f"FAILED: {program} completion tcsh: {refused.returncode} {refused.stderr}")
    checks = len(cases) + 2 * len(programs)
    print(f"{checks - failures} of {checks} hold")
    sys.exit(1 if failures else 0)


main()
