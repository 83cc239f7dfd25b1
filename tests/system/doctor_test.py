#!/usr/bin/python3
"""sluicectl doctor: each thing that can be wrong with a host, one at a time, and what it says of it; a relay that runs, its
files, keys, vault and revocations; what `--security` looks at."""
import json
import os

from common import BUILD, check, main, run, wait_until
from machine_tree import Machine

MAP = """eal: {{ mode: shared }}
ports:
  - {{ name: north, device: "0000:17:00.0" }}
  - {{ name: south, device: "0000:17:00.1" }}
cores:
  control: 1
  workers:
    - {{ core: 2, queues: [north/0, south/0] }}
    - {{ core: {second}, queues: [north/1, south/1] }}
relay: {{ state_dir: /nowhere }}
"""


def doctor(*args):
    result = run(BUILD / "sluicectl", "--json", *args, check=False)
    out = json.loads(result.stdout)
    check(out["healthy"] == (result.returncode == 0) and out["healthy"] == all(f["result"] != "failed" for f in out["findings"]),
          f"the exit code {result.returncode} is what was found")
    for f in out["findings"]:
        check((f["remedy"] is not None) or f["result"] == "ok" or f["check"] in ("tx", "load", "clock"), f"{f} has a remedy")
    return out["findings"]


def of(findings, name):
    return [f for f in findings if f["check"] == name]


def worst(findings, name):
    grades = ["ok", "warning", "failed"]
    return max((f["result"] for f in of(findings, name)), key=grades.index)


def hosts(lab):
    def fresh(second=3):
        root = lab.dir / "tree"
        run("rm", "-rf", root)
        m = Machine(root)
        m.nic("0000:17:00.0", 0)
        m.nic("0000:17:00.1", 0)
        m.isolate("2-3", "2-3")
        path = lab.dir / "map.yaml"
        path.write_text(MAP.format(second=second))
        return m, ["doctor", "--config", path, "--from", root]

    m, argv = fresh()
    found = doctor(*argv)
    check(all(f["result"] == "ok" for f in found), f"nothing is wrong with a host that is set up: {found}")
    for name in ("cpu", "tsc", "hugepages", "driver", "iommu", "cores", "numa", "isolation", "governor"):
        check(of(found, name), f"{name} is looked at")

    # What is broken, who says so, with which word.
    at = "sys/devices/system/cpu"
    cases = [
        ("hugepages", "failed", "MiB needed", lambda m: m.hugepages(0, 20)),
        ("driver", "failed", "ixgbe", lambda m: m.nic("0000:17:00.1", 0, driver="ixgbe", interface="eth4")),
        ("driver", "failed", "no driver", lambda m: m.nic("0000:17:00.1", 0, driver="")),
        ("driver", "failed", "no network card at 0000:17:00.1", lambda m: run("rm", "-rf", m.root / "sys/bus/pci/devices/0000:17:00.1")),
        ("iommu", "failed", "off", lambda m: run("rm", "-rf", m.root / "sys/kernel/iommu_groups")),
        ("iommu", "warning", "anywhere in memory", lambda m: m.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")),
        ("numa", "warning", "polls south/0 on node 1", lambda m: m.nic("0000:17:00.1", 1)),
        ("isolation", "warning", "on 3 and 2 have", lambda m: m.isolate("2", "3")),
        ("governor", "warning", "cores 2", lambda m: m.write(f"{at}/cpu2/cpufreq/scaling_governor", "schedutil")),
        ("cores", "failed", "worker 0 (core 2)", lambda m: m.write(f"{at}/online", "0-1,3-31")),
        ("cpu", "warning", "no AVX-512 IFMA", lambda m: m.write("proc/cpuinfo", "model name\t: Old\nflags\t\t: aes pclmulqdq vaes vpclmulqdq")),
        ("cpu", "failed", "lacks AES-NI", lambda m: m.write("proc/cpuinfo", "model name\t: Older\nflags\t\t: sse2")),
        ("tsc", "warning", "may change its rate", lambda m: m.write("proc/cpuinfo", "model name\t: Old\nflags\t\t: aes pclmulqdq")),
    ]
    for name, result, word, spoil in cases:
        m, argv = fresh()
        spoil(m)
        found = doctor(*argv)
        check(worst(found, name) == result and any(word in f["detail"] for f in of(found, name)),
              f"{name}: {result}, '{word}': {of(found, name)}")
    for second, word in ((2, "worker 0 and worker 1 on core 2"), (18, "on cores 2 and 18"), (1, "control and worker 1 on core 1")):
        m, argv = fresh(second)
        found = doctor(*argv)
        check(worst(found, "cores") == "warning" and word in of(found, "cores")[0]["detail"], f"shared: {of(found, 'cores')}")
    (lab.dir / "map.yaml").write_text("ports: nothing\n")
    found = doctor(*argv)
    check(worst(found, "config") == "failed" and "--check" in of(found, "config")[0]["remedy"], f"a bad file: {found[0]}")
    found = doctor("doctor", "--config", lab.dir / "absent.yaml", "--from", lab.dir / "tree")
    check(worst(found, "config") == "warning", "without one, the machine alone is looked at")


def at_relay(lab, *args):
    return doctor("--socket", lab.socket, "doctor", "--config", lab.config, *args)


def relay(lab):
    found = at_relay(lab)
    for name in ("relay", "hugepages", "driver", "cores", "mtu", "clock", "store", "crypto", "link", "rss", "load", "sessions",
                 "audit", "vault"):
        # The interfaces are in the relay's namespace, where this test is not.
        check(of(found, name) and (name == "mtu" or worst(found, name) != "failed"), f"{name}: {of(found, name)}")
    check("runs, version" in of(found, "relay")[0]["detail"], "the relay's version is its own")
    check(worst(found, "driver") == "warning", "virtual devices are for trials")

    found = at_relay(lab, "--security")
    check(all(f["result"] != "failed" for f in found), f"nothing is wrong with what trust rests on: {found}")
    check("0 agents" in of(found, "revoked")[0]["detail"] and worst(found, "callers") == "warning", "whoever has the socket is admin")
    lab.ctl("revoke", "beta", "--reason", "test")
    found = at_relay(lab, "--security")
    check("1 agents, none connected" in of(found, "revoked")[0]["detail"], f"revoked: {of(found, 'revoked')}")
    lab.ctl("relay", "rotate-key")
    found = at_relay(lab, "--security")
    check(worst(found, "keys") == "warning" and "still answered" in of(found, "keys")[0]["detail"], f"{of(found, 'keys')}")
    lab.ctl("relay", "retire-key")
    check(worst(at_relay(lab, "--security"), "keys") == "ok", "an old key that is answered no more is none")
    (lab.state / "relay.key").chmod(0o640)
    found = at_relay(lab, "--security")
    check(worst(found, "modes") == "failed" and any("0640" in f["detail"] for f in of(found, "modes")), "modes are looked at")
    (lab.state / "relay.key").chmod(0o600)
    os.chown(lab.state / "relay.key", 65534, 65534)
    found = at_relay(lab, "--security")
    check(worst(found, "modes") == "failed" and any("uid 65534" in f["detail"] and "chown 0" in f["remedy"] for f in of(found, "modes") if f["remedy"]),
          "and owners")
    os.chown(lab.state / "relay.key", 0, 0)

    # A vault that is locked while calls need it.
    lab.ctl("vault", "init")
    run(BUILD / "sluicectl", "--socket", lab.socket, "credential", "set", "k", "--tenant", "7", "--header", "X-Key: …",
        input="secret-of-doctor")
    lab.ctl("credential", "bind", "k", "--target", "alpha", "--protocol", "mcp", "--tenant", "7")
    check("1 credentials, 1 bindings" in of(at_relay(lab), "vault")[0]["detail"], "the vault is open")
    lab.ctl("vault", "lock")
    found = at_relay(lab)
    check(worst(found, "vault") == "failed" and "unlock" in of(found, "vault")[0]["remedy"], f"{of(found, 'vault')}")

    table = run(BUILD / "sluicectl", "--socket", lab.socket, "doctor", "--config", lab.config, check=False).stdout
    check("failed   vault" in table and "\x1b" not in table, "a line each for people, and no colour in a pipe")
    lab.end(lab.relay)
    found = at_relay(lab)
    check(worst(found, "relay") == "failed" and of(found, "hugepages") and not of(found, "audit"),
          "without a relay, the host is still looked at")


def test(lab):
    hosts(lab)
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    wait_until("both agents", lambda: sum(a["session"] is not None for a in lab.ctl("agents")["agents"]) == 2, 20)
    relay(lab)


main(test)
