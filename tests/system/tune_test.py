#!/usr/bin/python3
"""sluicectl tune: maps for machines that are described in folders, each accepted by sluiced itself; what they take, against
what the relay says that it takes; with --measure a measurement on this machine."""
import json
import os
import pathlib
import re
import sys
import tempfile

import yaml
from common import BUILD, Lab, check, run
from machine_tree import Machine


def tune(*args, code=0):
    result = run(BUILD / "sluicectl", "--json", "tune", *args, check=False)
    check(result.returncode == code, f"tune {' '.join(map(str, args))} ends with {code}: {result.stderr.strip()[:300]}")
    return json.loads(result.stdout)


def accepted(folder, out):
    """What sluiced reads in the YAML."""
    path = folder / "proposed.yaml"
    path.write_text(out["yaml"])
    run(BUILD / "sluiced", "--check", path)
    return yaml.safe_load(out["yaml"])


def big_server(folder):
    """Two sockets, a 100 Gbit/s card with two ports on the second, and the host's own card on the first."""
    m = Machine(folder / "server")
    m.nic("0000:17:00.0", 0, driver="tg3", interface="eth9", speed=1000)
    m.nic("0000:b1:00.0", 1, driver="ice", interface="ens1f0", speed=100_000, mtu=9000, queues=4)
    m.nic("0000:b1:00.1", 1, driver="ice", interface="ens1f1", speed=100_000, mtu=9000, queues=64)
    out = tune("--from", m.root)
    config = accepted(folder, out)
    check([p["device"] for p in config["ports"]] == ["0000:b1:00.0", "0000:b1:00.1"], "the host's own card is left alone")
    check(all(p["mtu"] == 9000 for p in config["ports"]), "jumbo frames are kept")
    cores = config["cores"]
    workers = [w["core"] for w in cores["workers"]]
    near = set(range(8, 16))
    used = [cores["control"], *workers, *cores["verifiers"]]
    check(set(used) <= near and len(set(used)) == len(used), f"all on the cards' socket, one thread of each core: {used}")
    check(cores["verifiers"] and len(workers) >= 5, f"verifiers and workers share what there is: {cores}")
    for port in ("ens1f0", "ens1f1"):
        queues = sorted(q for w in cores["workers"] for q in w["queues"] if q.startswith(port))
        check(queues == [f"{port}/{i}" for i in range(len(workers))], f"each worker polls one queue of {port}")
    check(any("ens1f0 has 4 receive queues" in n for n in out["map"]["notes"]), "too few queues are told")
    check("0000:17:00.0" not in out["yaml"] and re.search(r"isolcpus=[0-9,-]+ ", out["yaml"]), "kernel arguments are told")
    isolated = {int(c) for part in re.search(r"isolcpus=(\S+)", out["yaml"])[1].split(",")
                for c in (range(int(part.split("-")[0]), int(part.split("-")[1]) + 1) if "-" in part else [part])}
    check(isolated == set(workers) | set(cores["verifiers"]), f"those of workers and verifiers: {isolated}")


def cards_on_both_sockets(folder):
    m = Machine(folder / "both")
    m.nic("0000:17:00.0", 0, speed=25_000, interface="north")
    m.nic("0000:b1:00.0", 1, speed=25_000, interface="south")
    out = tune("--from", m.root, "--verifiers", "0")
    cores = accepted(folder, out)["cores"]
    for worker in cores["workers"]:
        node = worker["core"] // 8
        check(worker["queues"] and all(q.startswith("south" if node else "north") for q in worker["queues"]),
              f"core {worker['core']} polls the card of its socket: {worker['queues']}")
    # 25 Gbit/s and 10 Gbit/s a worker.
    check(len(cores["workers"]) == 6 and cores["verifiers"] == [], "three for each card, no verifier")
    cores = accepted(folder, tune("--from", m.root, "--workers", "4"))["cores"]
    check(sorted(w["core"] // 8 for w in cores["workers"]) == [0, 0, 1, 1], f"four are two for each card: {cores['workers']}")
    out = tune("--from", m.root, "--workers", "4", "--verifiers", "2", "--port", "b1:00.0")
    cores = accepted(folder, out)["cores"]
    check(len(cores["workers"]) == 4 and len(cores["verifiers"]) == 2, "as many as were asked for")
    check(all(w["core"] >= 8 for w in cores["workers"]), "on the socket of the card that was named")


def small_and_wrong(folder):
    m = Machine(folder / "small", nodes=1, cores_per_node=1)
    out = tune("--from", m.root, "--port", "net_af_packet0,iface=eth1")
    cores = accepted(folder, out)["cores"]
    check(cores["control"] == 0 and [w["core"] for w in cores["workers"]] == [0], "one core does both")
    check(any("trials only" in n for n in out["map"]["notes"]), "and that is told")
    error = tune("--from", m.root, code=2)["error"]["message"]
    check("no network card is free" in error and "--port" in error, error)
    error = tune("--from", m.root, "--port", "0000:99:00.0", code=2)["error"]["message"]
    check("there is no network card at 0000:99:00.0" in error, error)
    m.nic("0000:17:00.0", 0)
    error = tune("--from", m.root, "--workers", "9", code=2)["error"]["message"]
    check("9 workers are asked for" in error, error)
    target = folder / "kept.yaml"
    target.write_text("mine")
    error = tune("--from", m.root, "--out", target, code=2)["error"]["message"]
    check("kept.yaml" in error and target.read_text() == "mine", "a file that is there is not written over")
    tune("--from", m.root, "--out", folder / "new.yaml")
    run(BUILD / "sluiced", "--check", folder / "new.yaml")


def capacity(folder):
    """Of tables that no machine has room for, sluiced says what it would need."""
    # As this host has it, so that the relay can be asked.
    out = tune("--port", "net_null0", "--workers", "1", "--agents", "900000", "--edges", "9000000")
    sheet = out["capacity"]
    check(sheet["agents"] == 900_000 and sheet["edges"] == 9_000_000 and sheet["sessions"] == 1_800_000, "limits are as asked")
    state = folder / "state"
    state.mkdir(mode=0o700)
    run(BUILD / "sluiced", "--new-key", state / "relay.key")
    path = folder / "large.yaml"
    path.write_text(f"eal: {{ mode: in_memory, file_prefix: tune-{os.getpid()} }}\nrelay: {{ state_dir: {state} }}\n"
                    f"admin: {{ socket: {folder}/admin.sock, group: \"\" }}\n" + out["yaml"])
    said = run(BUILD / "sluiced", "-c", path, check=False, timeout=60).stderr
    found = re.search(r"needs (\d+) MiB of hugepages \(tables (\d+), packet buffers (\d+), rings and EAL (\d+)\)", said)
    check(found is not None, f"the relay says what it needs: {said.strip()[-300:]}")
    theirs = [int(n) for n in found.groups()]
    ours = [sheet["hugepages_2mb"] * 2, *(sheet[k] >> 20 for k in ("tables_bytes", "packet_buffers_bytes", "rings_bytes"))]
    check(theirs[1:] == ours[1:] and abs(theirs[0] - ours[0]) <= 2, f"and it is what tune says: {theirs}, {ours}")


def measured():
    if Lab.free_hugepages() < 400:
        print("skipped: --measure needs 400 free hugepages of 2 MB")
        return
    out = tune("--port", "net_null0", "--workers", "1", "--measure")
    check([r["payload"] for r in out["rates"]] == [64, 512, 1400], "three sizes")
    for rate in out["rates"]:
        check(rate["mpps"] > 0.05 and rate["mpps_per_core"] == rate["mpps"] and rate["gbps"] > 0 and
              abs(rate["port_gbps"]["port0"] - rate["gbps"]) < 1e-6, f"{rate}")


with tempfile.TemporaryDirectory(prefix="sluice-tune-") as name:
    place = pathlib.Path(name)
    big_server(place)
    cards_on_both_sockets(place)
    small_and_wrong(place)
    capacity(place)
    if "--measure" in sys.argv:
        measured()
    print("passed")
