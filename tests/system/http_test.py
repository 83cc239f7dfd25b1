#!/usr/bin/python3
"""The agents' HTTP side: what a program asks of its agent's front reaches the server that the peer's agent serves, and the answer
comes back byte for byte, as it streams; what goes wrong says so, and holds nothing up."""
import contextlib
import ctypes
import hashlib
import http.client
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

from common import check, main, run, wait_until

HERE = pathlib.Path(__file__).resolve().parent
PORT = 7480
MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace):
    """Sockets that this thread makes meanwhile are in that network namespace, and stay there."""
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{namespace}") as there:
        libc.setns(there.fileno(), 0x40000000)
        try:
            yield
        finally:
            libc.setns(before.fileno(), 0x40000000)


def connect(lab, name, port=PORT, seconds=30):
    with inside(lab.ns(name)):
        return socket.create_connection(("127.0.0.1", port), seconds)


class Client(http.client.HTTPConnection):
    def __init__(self, lab, name="alpha"):
        super().__init__("127.0.0.1", PORT, timeout=60)
        self.lab, self.name = lab, name

    def connect(self):
        self.sock = connect(self.lab, self.name, seconds=60)


def ask(lab, method, target, body=None, fields=None, client=None, name="alpha", **kwargs):
    """Status, fields and body of an answer."""
    own = client is None
    client = client or Client(lab, name)
    client.request(method, target, body, fields or {}, **kwargs)
    response = client.getresponse()
    out = response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()
    if own:
        client.close()
    return out


def upstream(lab, name, port=0):
    child = subprocess.Popen(["ip", "netns", "exec", lab.ns(name), str(HERE / "upstream.py"), str(port)],
                             stdout=subprocess.PIPE, text=True)
    lab.children.append(child)
    child.port = int(child.stdout.readline())
    return child


def numbers(begin, n):
    first, last = begin // 8, (begin + n + 7) // 8
    return b"".join(struct.pack(">Q", i) for i in range(first, last))[begin % 8:begin % 8 + n]


def problem(answer):
    status, fields, body = answer
    assert fields["content-type"] == "application/problem+json", answer
    return status, json.loads(body)


def exchanges(lab):
    client = Client(lab)
    status, fields, body = ask(lab, "POST", "/beta/echo", b"hello", {"Content-Type": "text/plain"}, client)
    check((status, body, fields["content-type"]) == (200, b"hello", "text/plain"), "a request and its answer")
    check(len(fields["sluice-trace"]) == 32, "the answer names the call's trace")
    first = client.sock
    for n in (0, 1, 1999, 2000, 2001, 3000, 65536, 300_000):
        data = os.urandom(n)
        check(ask(lab, "POST", "/beta/echo", data, client=client)[2] == data, f"{n} bytes there and back")
    check(client.sock is first, "over one connection")
    data = os.urandom(400_000)
    pieces = [data[i:i + 7_001] for i in range(0, len(data), 7_001)]
    status, fields, body = ask(lab, "POST", "/beta/echo", iter(pieces), {"Transfer-Encoding": "chunked"}, client, encode_chunked=True)
    check((body == data, fields.get("transfer-encoding")) == (True, "chunked"), "chunked both ways")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "REPORT"):
        status, fields, body = ask(lab, method, "/beta/head?x=%2F&y=1", client=client)
        if method == "HEAD":
            check((status, body) == (200, b"") and int(fields["content-length"]) > 0, "HEAD has fields alone")
            continue
        seen = json.loads(body)
        check((seen["method"], seen["target"]) == (method, "/head?x=%2F&y=1"), f"{method} goes as it is")
    for code in (204, 304, 404, 500):
        check(ask(lab, "GET", f"/beta/status?c={code}", client=client)[0] == code, f"status {code}")
    check(client.sock is first, "still over one connection")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Authorization": "Bearer own", "X-Own": "1", "Connection": "close, X-Hop",
            "X-Hop": "1", "Sluice-Caller": "did:key:forged", "Cookie": "a=b"}
    status, fields, body = ask(lab, "GET", "/beta/head", fields=sent)
    seen = json.loads(body)["fields"]
    check((seen["authorization"], seen["x-own"], seen["cookie"]) == ("Bearer own", "1", "a=b"), "fields go along")
    check("x-hop" not in seen and seen["connection"] == "keep-alive", "but not those of the hop")
    check((seen["sluice-caller"], seen["sluice-caller-name"]) == (lab.dids["alpha"], "alpha"), "the server learns who calls")
    check(fields["sluice-trace"] == trace and seen["traceparent"] == sent["traceparent"] and seen["sluice-trace"] == trace,
          "a trace goes on")
    check(seen["host"].startswith("127.0.0.1:"), "and it is asked by its own name")
    for target in (f"/{lab.dids['beta']}/status?c=200", f"/{lab.peers('alpha')[0]['address']}/status?c=200"):
        check(ask(lab, "GET", target)[0] == 200, f"a peer by {target.split('/')[1][:12]}…")
    check(ask(lab, "GET", "/status?c=200", fields={"Host": f"beta.sluice.localhost:{PORT}"})[0] == 200, "and by a host of its own")


def protocols(lab, port):
    server = lab.serve("beta", "--protocol", "mcp", "--upstream", f"http://127.0.0.1:{port}/head", "--path", "/tools/")
    seen = json.loads(ask(lab, "POST", "/beta/mcp/tools?s=1", b"{}")[2])
    check((seen["target"], seen["fields"]["sluice-protocol"]) == ("/head?s=1", "mcp"), "a protocol's path is another server's")
    check(json.loads(ask(lab, "GET", "/tools?s=1", fields={"Host": "mcp.beta.sluice.localhost"})[2])["target"] == "/head?s=1",
          "by a host as well")
    status, why = problem(ask(lab, "GET", "/beta/mcp/other"))
    check((status, why["reason"]) == (404, "not_served"), f"under another path nobody serves: {why['detail']}")
    status, why = problem(ask(lab, "GET", "/beta/a2a/"))
    check((status, why["reason"]) == (502, "not_served"), f"nor another protocol: {why['detail']}")
    rows = [c for c in json.loads(lab.agent("alpha", "calls", "--json").stdout)["calls"] if c["protocol"] == "mcp"]
    check(rows and rows[0]["service"] == 80, "the envelope says which")
    lab.end(server)
    wait_until("the list to be without it", lambda: ask(lab, "GET", "/beta/mcp/tools")[0] == 502, 20)


def streams(lab):
    for length in ("", "&length=1"):
        client = Client(lab)
        client.request("GET", f"/beta/stream?n={20 * MIB}{length}")
        response = client.getresponse()
        at, digest = 0, hashlib.sha256()
        while data := response.read(100_003):
            digest.update(data)
            at += len(data)
        expected = hashlib.sha256(numbers(0, 20 * MIB)).hexdigest()
        check((at, digest.hexdigest()) == (20 * MIB, expected), f"20 MiB arrive as they were sent {length}")
        client.close()
    blob = os.urandom(MIB)
    digest = hashlib.sha256()

    def pieces():
        for _ in range(20):
            digest.update(blob)
            yield blob
    answer = json.loads(ask(lab, "POST", "/beta/sum", pieces(), {"Content-Length": str(20 * MIB)})[2])
    check(answer == {"bytes": 20 * MIB, "sha256": digest.hexdigest()}, "and 20 MiB the other way")
    client = Client(lab)
    client.request("GET", "/beta/events?n=5")
    response = client.getresponse()
    for i in range(5):
        check(response.fp.readline().strip() != b"" and response.fp.readline() == b"data: %d\n" % i, f"event {i} comes before the next is made")
        response.fp.readline(), response.fp.readline()
        ask(lab, "POST", "/beta/next")
    client.close()
    sock = connect(lab, "alpha")
    sock.sendall(f"GET /beta/ws HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst ".encode())
    got = b""
    while b"\r\n\r\n" not in got or not got.endswith(b"FIRST "):
        got += sock.recv(4096)
    check(got.startswith(b"HTTP/1.1 101 ") and b"Upgrade: echo" in got, "a connection changes its protocol")
    for i in range(50):
        sock.sendall(b"word %d" % i)
        text, want = b"", b"WORD %d" % i
        while len(text) < len(want):
            text += sock.recv(4096)
        assert text == want, text
    check(True, "and carries bytes both ways")
    sock.shutdown(socket.SHUT_WR)
    check(sock.recv(10) == b"", "until both have ended")
    sock.close()


def raw(lab, text, seconds=30, name="alpha"):
    sock = connect(lab, name, seconds=seconds)
    sock.sendall(text)
    out = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            out += data
    sock.close()
    return out


def misuse(lab):
    for text in (b"GARBAGE\r\n\r\n", b"GET /beta/echo HTTP/1.1\r\nbad field\r\n\r\n", b"\x00\x01\x02" * 100 + b"\r\n\r\n",
                 b"GET /beta/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"):
        out = raw(lab, text)
        check(out.startswith(b"HTTP/1.1 400 ") and b"problem+json" in out, f"{text[:24]!r} is no request")
    out = raw(lab, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n")
    check(b" 400 " in out.split(b"\r\n")[0], "nor is one with 70,000 bytes of fields")
    status, why = problem(ask(lab, "GET", "/nobody/x"))
    check((status, why["reason"]) == (404, "not_found"), f"no such peer: {why['detail']}")
    status, why = problem(ask(lab, "GET", "/"))
    check((status, why["reason"]) == (404, "no_peer"), why["detail"])
    status, why = problem(ask(lab, "GET", "/beta/head", fields={"Host": "evil.example"}))
    check((status, why["reason"]) == (421, "foreign_host"), why["detail"])
    status, why = problem(ask(lab, "POST", "/beta/echo", b"x", {"Origin": "https://evil.example"}))
    check((status, why["reason"]) == (403, "foreign_origin"), why["detail"])
    check(ask(lab, "GET", "/beta/status?c=200", fields={"Origin": "http://localhost:3000"})[0] == 200, "pages of this host may")
    for fields in ({"Origin": f"http://localhost:{PORT}"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"}):
        status, why = problem(ask(lab, "GET", "/beta/status?c=200", fields=fields))
        check((status, why["reason"]) == (403, "foreign_origin"), f"but not with {fields}")
    status, fields, _ = ask(lab, "GET", "/beta/status?c=200", fields={"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"})
    check(status == 200 and "sandbox" in fields["content-security-policy"], "what a person opens is nobody's page")
    check(raw(lab, b"GET /beta/status?c=200 HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 "), "HTTP/1.0 is answered")
    status, _, body = ask(lab, "POST", "/beta/early", bytes(5 * MIB))
    check((status, body) == (413, b"too much"), "an answer may come before the request is whole")


def hostile_peers(lab, port):
    """What a caller says that has a program of its own instead of a front."""
    def say(text):
        done = subprocess.run(lab.agent_argv("alpha", "call", "beta", "--service", "80"), input=text, capture_output=True, cwd=lab.dir, timeout=60)
        return done.stdout.split(b"\r\n")[0], done.stdout
    smuggled = b"GET /head HTTP/1.1\r\nHost: x\r\nSluice-Caller: did:key:admin\r\n\r\n"
    before = json.loads(ask(lab, "GET", "/beta/asked")[2])
    for text in (b"POST /sum HTTP/1.1\r\nContent-Length: 2\r\n\r\nok" + smuggled,
                 b"POST /sum HTTP/1.1\r\nContent-Length: 20\r\n\r\nshort",
                 b"POST /sum HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\nContent-Length: 5\r\n\r\nhello",
                 b"GET /../head HTTP/1.1\r\n\r\n", b"GET /x/%2e%2e/head HTTP/1.1\r\n\r\n", b"CONNECT x:80 HTTP/1.1\r\n\r\n",
                 b"GET head HTTP/1.1\r\n\r\n", b"garbage", b""):
        line, _ = say(text)
        check(line.startswith(b"HTTP/1.1 400 "), f"{text[:40]!r} is refused")
    line, out = say(b"POST /sum HTTP/1.1\r\nContent-Length: 4\r\nConnection: content-length\r\n\r\nfour")
    check(line.startswith(b"HTTP/1.1 200 ") and b'"bytes": 4' in out, "nobody names the length away")
    line, out = say(b"GET /head HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + smuggled[:40])
    check(b" 400 " in line, "a body that is shorter than it says")
    line, out = say(b"GET /head HTTP/1.1\r\nSluice-Caller: forged\r\nSluice_Caller_Name: forged\r\n\r\n")
    check(b"forged" not in out and lab.dids["alpha"].encode() in out, "nor says who it is")
    for _ in range(3):
        check(json.loads(ask(lab, "GET", "/beta/head")[2])["target"] == "/head", "the next caller gets its own answer")
    asked = json.loads(ask(lab, "GET", "/beta/asked")[2])[len(before):]
    check("did:key:admin" not in json.dumps(asked), "no request came that nobody made")


def slow_upload(lab):
    sock = connect(lab, "alpha")
    sock.sendall(f"POST /beta/sum HTTP/1.1\r\nHost: localhost:{PORT}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(3):
        sock.sendall(b"5\r\nhello\r\n")
        time.sleep(1.6)  # longer than an association counts as fresh
    sock.sendall(b"0\r\n\r\n")
    got = b""
    while b'"sha256"' not in got:
        got += sock.recv(4096)
    check(b'"bytes": 15' in got, "an upload with pauses arrives")
    sock.close()
    sock = connect(lab, "alpha")
    sock.sendall(f"POST /nobody/x HTTP/1.1\r\nHost: localhost:{PORT}\r\nContent-Length: 3000000\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        sock.sendall(bytes(3_000_000))
    check(sock.recv(4096).startswith(b"HTTP/1.1 404 "), "an error reaches who is still sending")
    sock.close()


def departures(lab):
    before = json.loads(ask(lab, "GET", "/beta/gone")[2])
    for target in ("/beta/slow?s=60", "/beta/events?n=2"):
        sock = connect(lab, "alpha")
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.3)
        sock.close()
        before.append(target.split("?")[0].removeprefix("/beta"))
        wait_until("the server to notice that its client left", lambda: json.loads(ask(lab, "GET", "/beta/gone")[2]) == before, 10)
    check(True, "a client that leaves is noticed by the server")
    client = Client(lab)
    client.request("GET", "/beta/break")
    response = client.getresponse()
    try:
        while response.read(65536):
            pass
        whole = True
    except (http.client.IncompleteRead, ConnectionError):
        whole = False
    check(not whole, "an answer that breaks off does not look whole")
    # A reader that stops holds nobody up, and no memory grows.
    stuck = connect(lab, "alpha")
    stuck.sendall(b"GET /beta/stream?n=10000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    rss = {n: 0 for n in ("alpha", "beta")}

    def resident(name):
        pid = lab.daemons[name].pid
        return int(next(l for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")).split()[1]) // 1024
    time.sleep(2)
    for n in rss:
        rss[n] = resident(n)
    for _ in range(20):
        assert ask(lab, "POST", "/beta/echo", b"still here")[2] == b"still here"
    time.sleep(2)
    check(all(resident(n) <= rss[n] + 8 and resident(n) < 80 for n in rss), f"a stuck reader holds nobody up, nor memory: {rss} MiB")
    stuck.close()


def faults(lab, server, port):
    lab.end(server)
    server = lab.serve("beta", "--upstream", f"http://127.0.0.1:{port + 1}", "--timeout", "1s")
    status, why = problem(ask(lab, "GET", "/beta/x"))
    check((status, why["reason"]) == (502, "upstream_unreachable"), why["detail"])
    lab.end(server)
    server = lab.serve("beta", "--upstream", f"http://127.0.0.1:{port}", "--timeout", "1s")
    status, why = problem(ask(lab, "GET", "/beta/slow?s=5"))
    check((status, why["reason"]) == (504, "upstream_timeout"), why["detail"])
    lab.end(server)
    status, why = problem(ask(lab, "GET", "/beta/x"))
    check((status, why["reason"]) == (502, "not_served"), why["detail"])
    server = lab.serve("beta", "--upstream", f"http://127.0.0.1:{port}")
    second = lab.agent("beta", "serve", "--upstream", "http://127.0.0.1:1", check=False)
    check(second.returncode == 8, f"one server a path: {second.stderr.strip()}")
    for bad in ("https://x", "http://", "ftp://a", "http://a:0/", "http://a/?q"):
        check(lab.agent("beta", "serve", "--upstream", bad, check=False).returncode == 2, f"{bad} is no upstream")

    def transfer(results):
        client = Client(lab)
        client.request("GET", f"/beta/stream?n={1000 * MIB}&length=1")
        response = client.getresponse()
        at = 0
        try:
            while data := response.read(65536):
                if data != numbers(at, len(data)):
                    results.append("corrupt")
                    return
                at += len(data)
            results.append("whole" if at == 1000 * MIB else "short")
        except (http.client.IncompleteRead, ConnectionError) as e:
            results.append(f"broke off after {at} bytes: {type(e).__name__}")
    results = []
    thread = threading.Thread(target=transfer, args=(results,))
    thread.start()
    time.sleep(1.5)
    lab.end(lab.relay, 9)
    lab.start_relay()
    lab.wait_connected(30)
    thread.join(60)
    check(results and results[0].startswith("broke off"), f"the relay restarts in the middle: {results}")
    wait_until("the next call to pass", lambda: ask(lab, "POST", "/beta/echo", b"again")[2] == b"again", 20, 0.2)
    check(True, "and the next call works")
    lab.end(lab.daemons["beta"], 9)
    lab.start_agent("beta")
    wait_until("calls to pass again once the peer's daemon was killed",
               lambda: ask(lab, "POST", "/beta/echo", b"again")[2] == b"again", 40, 0.2)
    check(True, "the server is served again by a daemon that restarted")


def commands(lab, port):
    status = json.loads(lab.agent("beta", "status", "--json").stdout)
    check(status["connected"] and status["front"] == f"127.0.0.1:{PORT}" and status["upstreams"][0]["upstream"] == f"http://127.0.0.1:{port}",
          "status says what is served")
    check("beta is connected to" in lab.agent("beta", "status").stdout, "in words as well")
    lines = lab.agent("alpha", "logs", "-n", "1000").stdout.splitlines()
    check(any("connected to" in l for l in lines) and any("segmentation offload is" in l for l in lines), "logs are at hand")
    check(len(lab.agent("alpha", "logs", "-n", "2").stdout.splitlines()) == 2, "the last two lines of them")
    doctor = json.loads(lab.agent("beta", "doctor", "--json").stdout)
    check(doctor["healthy"] and {f["check"] for f in doctor["findings"]} >=
          {"identity", "settings", "name", "daemon", "session", "clock", "mtu", "offload", "peers", "front", "server"},
          "doctor finds nothing wrong")

    def ill(name):
        result = lab.agent(name, "doctor", "--json", check=False)
        found = {f["check"]: f for f in json.loads(result.stdout)["findings"] if f["result"] == "failed"}
        return result.returncode, found
    run("ip", "-n", lab.ns("alpha"), "link", "set", "eth0", "mtu", "1300")
    code, found = ill("alpha")
    check(code == 1 and "1300" in found["mtu"]["detail"] and "mtu: 1300" in found["mtu"]["remedy"], f"a small MTU: {found['mtu']['detail']}")
    run("ip", "-n", lab.ns("alpha"), "link", "set", "eth0", "mtu", "1500")
    (lab.dir / "alpha" / "state" / "agent.yaml").write_text("front: { listen: 1 }\nserve: x\n")
    code, found = ill("alpha")
    check(code == 1 and "agent.yaml:2" in found["settings"]["detail"], f"settings: {found['settings']['detail']}")
    lab.agent("alpha", "down")
    check(lab.daemons["alpha"].wait(5) == 0, "down ends the daemon")
    for verb in ("down", "status", "logs"):
        check(lab.agent("alpha", verb, check=False).returncode == 4, f"{verb} without one says so")
    lab.start_agent("alpha")
    check(lab.daemons["alpha"].wait(5) == 2, "a daemon with broken settings does not start")
    check("serve is not a list" in (lab.dir / "alpha.log").read_text(), "and says where they are broken")
    (lab.dir / "alpha" / "state" / "agent.yaml").write_text(
        f"front: {{ listen: \"127.0.0.1:7490\" }}\nserve: [{{ protocol: anp, upstream: \"http://127.0.0.1:{port}\" }}]\n")
    lab.start_agent("alpha")
    lab.wait_connected()
    status = json.loads(lab.agent("alpha", "status", "--json").stdout)
    check((status["front"], status["upstreams"][0]["protocol"], status["upstreams"][0]["kept"]) ==
          ("127.0.0.1:7490", "anp", "configuration"), "settings are followed")
    lab.agent("alpha", "down")
    with inside(lab.ns("alpha")):
        taken = socket.create_server(("127.0.0.1", 7490))
    lab.start_agent("alpha")
    check(lab.daemons["alpha"].wait(5) == 8, "an address that was asked for and is taken is an error")
    taken.close()
    (lab.dir / "alpha" / "state" / "agent.yaml").unlink()
    with inside(lab.ns("alpha")):
        taken = socket.create_server(("127.0.0.1", PORT))
    lab.start_agent("alpha")
    lab.wait_connected()
    check(json.loads(lab.agent("alpha", "status", "--json").stdout)["front"] is None, "the usual one that is taken is not")
    taken.close()
    # UDP is blocked: what the relay sends no longer comes in.
    run("ip", "-n", lab.ns("relay"), "link", "set", "r0", "down")
    lab.agent("alpha", "down")
    lab.start_agent("alpha")
    wait_until("the daemon to run", lambda: lab.agent("alpha", "logs", check=False).returncode == 0, 10)
    code, found = ill("alpha")
    check(code == 1 and "blocked" in found["session"]["remedy"], f"no way to the relay: {found['session']['detail']}")
    check(lab.agent("alpha", "status", check=False).returncode == 4, "status says that it is not connected")
    run("ip", "-n", lab.ns("relay"), "link", "set", "r0", "up")
    lab.wait_connected(40)


def egress(lab, port):
    """What the relay gives no credential for goes nowhere; a server that wants none of the callers' own gets none."""
    child = lab.serve("beta", "--protocol", "anp", "--upstream", f"http://127.0.0.1:{port}", "--strip-authorization", "--strip-cookies")
    sent = {"Authorization": "Bearer own", "x-api-key": "own", "Cookie": "own=1", "X-Own": "1"}
    status, _, body = ask(lab, "GET", "/beta/anp/head?access_token=own&a=1", fields=sent)
    seen = json.loads(body)
    check((status, seen["target"], seen["fields"]["x-own"]) == (200, "/head?a=1", "1") and not
          {"authorization", "x-api-key", "cookie"} & set(seen["fields"]), "callers' own authorization and cookies are stripped where that is said")
    child.send_signal(2)
    child.wait(10)
    log = lab.dir / "beta.egress.log"
    with open(log, "wb") as out:
        child = lab.spawn_agent("beta", "egress", "--protocol", "anp", "--allow-host", "tools.internal", "--json", stdout=out, stderr=out,
                                stdin=subprocess.DEVNULL)
    wait_until("the egress to be known", lambda: b"endpoints of their credentials" in log.read_bytes(), 10)
    status, found = problem(ask(lab, "GET", "/beta/anp/v1/x", fields={"Authorization": "Bearer own"}))
    check((status, found["reason"]) == (502, "no_credential"), found["detail"])
    rows = json.loads(lab.agent("beta", "status", "--json").stdout)["upstreams"]
    check([r["protocol"] for r in rows if r["upstream"] == "egress"] == ["anp"], "status shows it")
    check("endpoints of their credentials" in lab.agent("beta", "doctor").stdout, "so does doctor")
    child.send_signal(2)
    check(child.wait(10) == 0, "it ends with Ctrl-C")
    result = lab.agent("beta", "egress", "--allow-host", "https://x/", check=False)
    check(result.returncode == 2 and "a host is a name" in result.stderr, f"what is no host: {result.stderr.strip()}")


def test(lab):
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    origin = upstream(lab, "beta")
    server = lab.serve("beta", "--upstream", f"http://127.0.0.1:{origin.port}")
    exchanges(lab)
    protocols(lab, origin.port)
    streams(lab)
    misuse(lab)
    hostile_peers(lab, origin.port)
    slow_upload(lab)
    departures(lab)
    egress(lab, origin.port)
    commands(lab, origin.port)
    faults(lab, server, origin.port)


if __name__ == "__main__":
    main(test, limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 4096})
