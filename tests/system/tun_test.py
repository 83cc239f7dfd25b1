#!/usr/bin/python3
"""`sluice-agent up --tun`: programs that know nothing of Sluice reach peers over plain IPv6, and nobody else: TCP of megabytes
with its checksum, UDP of every size, HTTP by curl, what the kernel is told when something cannot go, the end of trust, restarts,
and devices without a privilege."""
import hashlib
import json
import os
import signal
import subprocess

from call_test import connected, introduce
from common import check, main, wait_until

DEVICE = "sluice0"

SINK = """
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], 7001), family=socket.AF_INET6)
print("listening", flush=True)
for _ in range(int(sys.argv[2])):
    c, peer = s.accept()
    h, n = hashlib.sha256(), 0
    while data := c.recv(1 << 20):
        h.update(data)
        n += len(data)
    c.sendall(f"{n} {h.hexdigest()} {peer[0]}".encode())
    c.close()
"""
SOURCE = """
import hashlib, os, socket, sys
c = socket.create_connection((sys.argv[1], 7001), timeout=60)
piece = os.urandom(1 << 20)
h, total = hashlib.sha256(), int(sys.argv[2])
sent = 0
while sent < total:
    part = piece[:min(len(piece), total - sent)]
    c.sendall(part)
    h.update(part)
    sent += len(part)
c.shutdown(socket.SHUT_WR)
answer = b""
while data := c.recv(4096):
    answer += data
print(f"{sent} {h.hexdigest()}", answer.decode())
"""
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7002))
print("listening", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data[::-1], peer)
"""
ASK = """
import os, socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], 7002))
good = []
for size in map(int, sys.argv[2:]):
    data = os.urandom(size)
    s.send(data)
    good.append(s.recv(65536) == data[::-1])
print(good)
"""
REFUSED = """
import errno, socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM)
s.settimeout(3)
try:
    if len(sys.argv) > 3:
        s.bind((sys.argv[3], 0))
    s.connect((sys.argv[2], 7003))
    if sys.argv[1] == "udp":
        s.send(b"x")
        s.recv(10)
    print("connected")
except TimeoutError:
    print("silence")
except OSError as e:
    print(errno.errorcode[e.errno])
"""


def argv_of(lab, name, *args, privileged=True):
    argv = lab.agent_argv(name, *args)
    if privileged:
        at = argv.index("--clear-groups")
        argv[at:at] = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
    return argv


def start(lab, name, *args, privileged=True):
    log = open(lab.dir / f"{name}.log", "ab")
    lab.daemons[name] = subprocess.Popen(argv_of(lab, name, "up", *args, privileged=privileged), stdout=log, stderr=log,
                                         stdin=subprocess.DEVNULL, cwd=lab.dir)
    lab.children.append(lab.daemons[name])
    wait_until(f"{name} to connect", lambda: connected(lab, name), 15)


def inside(lab, name, *argv):
    return ["ip", "netns", "exec", lab.ns(name), *map(str, argv)]


def python(lab, name, script, *args, **kwargs):
    return subprocess.Popen(inside(lab, name, "/usr/bin/python3", "-c", script, *args), stdout=subprocess.PIPE, text=True, **kwargs)


def said(lab, name, script, *args, seconds=60):
    process = python(lab, name, script, *args)
    return process.communicate(timeout=seconds)[0].strip()


def server(lab, name, script, *args):
    process = python(lab, name, script, *args)
    lab.children.append(process)
    check(process.stdout.readline() == "listening\n", f"a server of {name}'s listens on its address")
    return process


def tun(lab, name):
    return lab.info(name)["tun"]


def device(lab, name):
    shown = subprocess.run(inside(lab, name, "ip", "-json", "addr", "show", "dev", DEVICE), capture_output=True, text=True)
    return json.loads(shown.stdout)[0] if shown.returncode == 0 else None


def address_of(lab, name):
    wait_until(f"{DEVICE} of {name} to be up", lambda: tun(lab, name) and tun(lab, name)["address"] and tun(lab, name)["mtu"], 10)
    return tun(lab, name)["address"]


def privileges(lab):
    refused = lab.agent("alice", "up", "--tun", DEVICE, check=False, timeout=20)
    check(refused.returncode == 77 and "CAP_NET_ADMIN" in refused.stderr and "ip tuntap add dev sluice0" in refused.stderr,
          f"without the privilege: {refused.stderr.strip()}")
    bad = lab.agent("alice", "up", "--tun", "no/name", check=False, timeout=20)
    check(bad.returncode == 2 and "no name of a device" in bad.stderr, "nor any name is a device's")


def agree(lab):
    lab.agent("alice", "handshake", lab.dids["bob"], "plain IP, please", "--capabilities", "tool_call", "--protocols", "raw")
    wait_until("the request to reach bob", lambda: json.loads(lab.agent("bob", "pending", "--json").stdout)["incoming"], 10)
    lab.agent("bob", "approve", "alice")
    wait_until("both to know each other", lambda: all(lab.peers(n) and lab.peers(n)[0]["state"] == "ok" for n in ("alice", "bob")), 10)


def devices(lab):
    alice, bob = address_of(lab, "alice"), address_of(lab, "bob")
    check(lab.peers("alice")[0]["ipv6"] == bob and lab.peers("bob")[0]["ipv6"] == alice and alice.startswith("fd") and alice != bob,
          f"peers are shown with the address that they have: {alice}, {bob}")
    shown = device(lab, "alice")
    most = lab.info("alice")["session"]["max_message"]
    check(shown["mtu"] == most == tun(lab, "alice")["mtu"] and "UP" in shown["flags"], f"the device is up, with an MTU of {most}")
    check([(a["local"], a["prefixlen"]) for a in shown["addr_info"] if a["scope"] == "global"] == [(alice, 48)],
          "and with that address alone, on the relay's net")
    return alice, bob


def traffic(lab, alice, bob):
    server(lab, "bob", SINK, bob, 5)
    megabytes = 64
    sent = said(lab, "alice", SOURCE, bob, megabytes << 20)
    ours, theirs = sent.split(" ", 2)[:2], sent.split(" ")[2:]
    check(ours == theirs[:2] and theirs[2] == alice, f"{megabytes} MB of TCP arrive as they were, from {alice}")
    moved = tun(lab, "bob")
    check(moved["received_bytes"] > megabytes << 20 and all(v == 0 for k, v in moved.items() if k.startswith("dropped")),
          f"in {moved['received']} packets, none dropped")
    parallel = [python(lab, "alice", SOURCE, bob, 3 << 20) for _ in range(4)]
    done = [p.communicate(timeout=60)[0].strip().split(" ") for p in parallel]
    check(all(d[:2] == d[2:4] for d in done), "four at a time do, too")
    server(lab, "bob", ECHO, bob)
    most = tun(lab, "alice")["mtu"] - 48
    sizes = (1, 2, 700, most - 1, most, most + 1, 4000, 20000)
    check(said(lab, "alice", ASK, bob, *sizes) == str([True] * len(sizes)), "UDP of every size, also what IPv6 has to fragment")
    web = lab.dir / "web"
    web.mkdir()
    (web / "page").write_bytes(os.urandom(3 << 20))
    httpd = subprocess.Popen(inside(lab, "bob", "/usr/bin/python3", "-m", "http.server", "--bind", bob, "--directory", web, "8080"),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.children.append(httpd)
    got = lab.dir / "got"

    def fetched():
        curl = inside(lab, "alice", "curl", "-sS", "--noproxy", "*", "-m", "20", "-o", got, f"http://[{bob}]:8080/page")
        return subprocess.run(curl, capture_output=True).returncode == 0

    wait_until("curl to get it", fetched, 20)
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (web / "page", got)]
    check(digests[0] == digests[1], "curl knows nothing of Sluice and has the page")
    echoed = lab.serve("bob", "--echo")
    call = subprocess.run(lab.agent_argv("alice", "call", "bob"), input=b"beside", capture_output=True, cwd=lab.dir, timeout=30)
    check(call.stdout == b"beside", "calls go on beside it")
    lab.end(echoed, signal.SIGTERM)


def refusals(lab, alice, bob):
    check(said(lab, "alice", REFUSED, "tcp", bob) == "ECONNREFUSED", "where nobody listens the peer's kernel says so")
    stranger = bob.rsplit(":", 2)[0] + ":dead:beef"
    check(said(lab, "alice", REFUSED, "tcp", stranger) == "EHOSTUNREACH", "an address that no peer has cannot be reached, at once")
    before = tun(lab, "bob")["received"]
    subprocess.run(inside(lab, "alice", "ip", "addr", "add", "fd00::1/128", "dev", DEVICE, "nodad"), check=True)
    check(said(lab, "alice", REFUSED, "tcp", bob, "fd00::1") == "EACCES", "another source address is prohibited")
    subprocess.run(inside(lab, "alice", "ip", "addr", "del", "fd00::1/128", "dev", DEVICE), check=True)
    counters = tun(lab, "alice")
    check(counters["dropped_target"] >= 1 and counters["dropped_source"] >= 1 and tun(lab, "bob")["received"] == before,
          f"each is counted, and nothing of it left: {counters}")


def ends(lab, alice, bob):
    lab.agent("alice", "untrust", "bob")
    wait_until("no peer to be left", lambda: not lab.peers("alice"), 10)
    check(said(lab, "alice", REFUSED, "tcp", bob) == "EHOSTUNREACH", "without trust the peer cannot be reached")
    agree(lab)
    wait_until("it to be back with trust", lambda: said(lab, "alice", REFUSED, "tcp", bob) == "ECONNREFUSED", 20)
    lab.end(lab.daemons["bob"], signal.SIGTERM)
    wait_until("the device to be gone with its daemon", lambda: device(lab, "bob") is None, 10)
    start(lab, "bob", "--tun", DEVICE)
    check(address_of(lab, "bob") == bob, "and to have its address again with the next one")
    wait_until("a connection from the other side", lambda: said(lab, "bob", REFUSED, "tcp", alice) == "ECONNREFUSED", 20)
    lab.end(lab.daemons["bob"], signal.SIGTERM)


def without_privilege(lab, alice, bob):
    """root makes the device once; the daemon has no privilege at all."""
    wait_until("the device to be gone", lambda: device(lab, "bob") is None, 10)
    for command in (("ip", "tuntap", "add", "dev", DEVICE, "mode", "tun", "user", "65534", "vnet_hdr"),):
        subprocess.run(inside(lab, "bob", *command), check=True)
    start(lab, "bob", "--tun", DEVICE, privileged=False)
    wait_until("what root has to do to be said",
               lambda: f"ip addr add {bob}/48 dev {DEVICE} && ip link set {DEVICE} mtu" in (lab.dir / "bob.log").read_text(), 10)
    subprocess.run(inside(lab, "bob", "ip", "link", "set", DEVICE, "mtu", "1300", "up"), check=True)
    subprocess.run(inside(lab, "bob", "ip", "addr", "add", f"{bob}/48", "dev", DEVICE, "nodad"), check=True)
    lab.end(lab.daemons["bob"], signal.SIGTERM)
    start(lab, "bob", "--tun", DEVICE, privileged=False)
    check(address_of(lab, "bob") == bob, "with it done, a daemon without privilege has its device")
    server(lab, "bob", SINK, bob, 1)
    sent = said(lab, "alice", SOURCE, bob, 5 << 20).split(" ")
    check(sent[:2] == sent[2:4], "and carries what it is given")
    again = lab.agent("alice", "up", check=False, timeout=20)
    check(again.returncode == 8, "a second daemon of an agent does not start")


def test(lab):
    introduce(lab)
    for name in ("alice", "bob"):
        lab.end(lab.daemons[name], signal.SIGTERM)
    privileges(lab)
    start(lab, "alice", "--tun", DEVICE)
    (lab.dir / "bob" / "state" / "agent.yaml").write_text(f"tun: {DEVICE}\n")
    start(lab, "bob")
    agree(lab)
    alice, bob = devices(lab)
    traffic(lab, alice, bob)
    refusals(lab, alice, bob)
    ends(lab, alice, bob)
    without_privilege(lab, alice, bob)


if __name__ == "__main__":
    main(test, enrol=False, agents=("alice", "bob"))
