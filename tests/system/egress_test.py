#!/usr/bin/python3
"""What a call's credential does on the last hop: Node's servers, over TLS with an authority of their own, see exactly the target's credential and
nothing of the caller's, the caller sees nothing of the credential, and no endpoint leads where none may. The callee's HTTP side runs in a small program
that does for each call what the relay does (egress_probe)."""
import json
import os
import pathlib
import queue
import resource
import shutil
import socket
import tempfile
import threading
import time

from certificates import authority, certificate
from common import BUILD, check, need_namespaces
from oauth2_test import Lines, errors_of
from process_memory import places, turned
from protocols_test import Node

NAME, VALUE, QUERY, QUERY_VALUE, ENDPOINT, WEBHOOK, CHAIN, KEY, AUTHORITY = range(1, 10)
MIB = 1 << 20
SECRET = "sk-4Gq+/x7bT9wZ0123"
MINE = "Bearer the-callers-own"


class Probe(Lines):
    def __init__(self, trusted, ports, hosts):
        # What names lead to, for this program alone.
        hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
        program = f"mount --bind {hosts} /etc/hosts && exec {BUILD / 'tests' / 'system' / 'egress_probe'}"
        self.hosts = hosts
        # Proxies and key logs of the environment are nobody's business.
        env = {**os.environ, "https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"}
        super().__init__(["unshare", "--mount", "sh", "-c", program], env=env)
        self.trusted, self.ports, self.last, self.waiting = trusted, ports, 0, {}
        self.lock = threading.Lock()
        threading.Thread(target=self._sort, daemon=True).start()

    def _sort(self):
        while True:
            line = self.queue.get()
            self.waiting[line["id"]].put(line)

    def at(self, server, path="", host="localhost"):
        return f"https://{host}:{self.ports[server]}{path}"

    def fields(self, endpoint, *more, secret=SECRET, authority=None):
        return [[NAME, "Authorization"], [VALUE, f"Bearer {secret}"], [ENDPOINT, endpoint], [AUTHORITY, authority or self.trusted], *more]

    def begin(self, method, path, credential, fields=(), body="", body_bytes=0, chunked=False, allow=("localhost",), **more):
        with self.lock:
            self.last += 1
            id_ = self.last
        self.waiting[id_] = queue.Queue()
        lines = [f"{method} /{more.get('server', id_)}{path} HTTP/1.1", "Host: front", *fields]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif body or body_bytes or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body) + body_bytes}")
        order = {"id": id_, "head": "\r\n".join(lines) + "\r\n\r\n", "body": body, "body_bytes": body_bytes, "credential": [[n, turned(value)] for n, value in credential],
                 "allow": list(allow), **more}
        self.say(json.dumps(order))
        return id_

    def answer(self, id_, seconds=30):
        try:
            found = self.waiting[id_].get(timeout=seconds)
        except queue.Empty:
            raise RuntimeError(f"no answer within {seconds} s: {self.child.poll()} {errors_of(self)[-2000:]}") from None
        if "so_far" in found:
            return found
        head, *lines = found["head"].split("\r\n")
        found["status"] = int(head.split(" ")[1]) if head else 0
        found["fields"] = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}
        return found

    def ask(self, *args, **kwargs):
        return self.answer(self.begin(*args, **kwargs))

    def refused(self, *args, **kwargs):
        found = self.ask(*args, **kwargs)
        assert found["fields"].get("content-type") == "application/problem+json", found
        problem = json.loads(found["body"])
        return found["status"], problem["reason"], problem["detail"]


class Servers(Lines):
    def asked(self, seconds=5):
        return self.next(seconds)

    def none(self, probe):
        """Nothing was asked before this."""
        probe.ask("GET", "/head?last", probe.fields(probe.at("h1")))
        return self.asked()["url"].endswith("/head?last")


def exactly(probe, node):
    """Over both versions, exactly the target's credential and nothing of the caller's."""
    evil = [f"Authorization: {MINE}", f"AUTHORIZATION: {MINE}", "X-API-Key: mine", "x_api_key: mine", "api-key: mine", "X-Goog-Api-Key: mine",
            "X-Auth-Token: mine", "Proxy-Authorization: mine", "Cookie: mine=1", "DPoP: mine", "Accept-Encoding: gzip", "X-Own: stays",
            "Sluice-Caller: mine", "X-Empty:"]
    for server, version in (("h2", "2.0"), ("h1", "1.1"), ("tls12", "1.1")):
        found = probe.ask("GET", "/v1/head?api_key=mine&a=%2F&access%5Ftoken=mine", probe.fields(probe.at(server, "/base")), evil)
        seen = node.asked()
        check((found["status"], seen["version"], seen["url"]) == (200, version, "/base/v1/head?a=%2F"), f"HTTP/{version} at {server}: {seen['url']}")
        check(seen["headers"]["authorization"] == f"Bearer {SECRET}" and [n.lower() for n in seen["raw"]].count("authorization") == 1,
              "the target's credential, once")
        check("mine" not in json.dumps(seen) and seen["headers"]["x-own"] == "stays", "nothing of the caller's")
        check(seen["headers"]["accept-encoding"] == "identity" and "user-agent" not in seen["headers"] and "accept" not in seen["headers"]
              and not [n for n in seen["headers"] if n.startswith("sluice")], "and nothing of this house")
        check(seen["headers"].get("x-empty") == "", "a field without a value stays one")
        check(seen["tls"] == ("TLSv1.2" if server == "tls12" else "TLSv1.3"), seen["tls"])
        check(SECRET not in json.dumps(found) and "*" * len(SECRET) in found["body"], "what the server says of it is covered")
        check(found["fields"]["x-multi"] in ("a, b", "a", "b"), "its fields come back")
    credential = [[QUERY, "key"], [QUERY_VALUE, SECRET], [ENDPOINT, probe.at("h2", "?api-version=1")], [AUTHORITY, probe.trusted]]
    probe.ask("GET", "/head?KEY=mine&%6Bey=mine&a=1", credential)
    seen = node.asked()
    check(seen["url"] == "/head?api-version=1&a=1&key=sk-4Gq%2B%2Fx7bT9wZ0123", f"in the query: {seen['url']}")
    hook = [[WEBHOOK, probe.at("h1", "/services/T0/B0/head")], [AUTHORITY, probe.trusted]]
    found = probe.ask("POST", "/elsewhere?x=1", hook, body="{}")
    seen = node.asked()
    check((seen["method"], seen["url"], found["status"]) == ("POST", "/services/T0/B0/head", 200), "a webhook is asked as it is")
    check("services" not in found["body"], "and its path is a secret, too")


def methods(probe, node):
    for server in ("h2", "h1"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "REPORT"):
            if server == "h1" and method == "REPORT":
                continue
            found = probe.ask(method, "/head", probe.fields(probe.at(server)))
            seen = node.asked()
            check((found["status"], seen["method"], found["end"]) == (200, method, "done"), f"{method} over {seen['version']}")
            check("expect" not in seen["headers"] and "content-type" not in seen["headers"], "without fields that nobody wrote")
            if method == "HEAD":
                check(found["bytes"] == 0 and int(found["fields"].get("content-length", 1)) > 0, "HEAD has fields alone")
            if method == "POST":
                check(seen["headers"].get("content-length") == "0", "a body of nothing")
        found = probe.ask("GET", "/empty", probe.fields(probe.at(server)))
        node.asked()
        check((found["status"], found["bytes"]) == (204, 0), "204")
        found = probe.ask("POST", "/early", probe.fields(probe.at(server)), body_bytes=3 * MIB)
        node.asked()
        check((found["status"], found["body"]) == (413, "too much"), "an answer before the request is whole")
        found = probe.ask("GET", "/moved", probe.fields(probe.at(server)))
        node.asked()
        check(found["status"] == 302 and node.none(probe), "a redirect is the caller's to see, and not followed")
    status, reason, _ = probe.refused("TRACE", "/head", probe.fields(probe.at("h1")))
    check((status, reason) == (405, "not_allowed") and node.none(probe), "TRACE is not passed on")


def bodies(probe, node):
    for server in ("h2", "h1"):
        for n in (1, 65_536, 3 * MIB):
            found = probe.ask("POST", "/echo", probe.fields(probe.at(server)), body_bytes=n)
            node.asked()
            check((found["bytes"], found["sum"], found["end"]) == (n, total(n), "done"), f"{n} bytes there and back")
        found = probe.ask("POST", "/sum", probe.fields(probe.at(server)), body_bytes=MIB, chunked=True)
        seen = node.asked()
        check(json.loads(found["body"])["bytes"] == MIB and "content-length" not in seen["headers"], "a body whose length is not known")
        for query in ("n=5000000", "n=5000000&length"):
            found = probe.ask("GET", f"/stream?{query}", probe.fields(probe.at(server)))
            node.asked()
            check((found["bytes"], found["end"]) == (5_000_000, "done"), f"an answer of 5 MB, {query}")
        found = probe.ask("GET", "/break", probe.fields(probe.at(server)))
        node.asked()
        check(found["end"] in ("failed", "peer_closed") and found["bytes"] <= 50_000, "half an answer is none")
        id_ = probe.begin("GET", "/events", probe.fields(probe.at(server)), tell=True)
        node.asked()
        for i in range(3):
            far = probe.answer(id_)["so_far"]
            check(far.endswith(f"data: {i}\n\n"), f"event {i} comes before the next is made")
            probe.ask("POST", "/next", probe.fields(probe.at(server)))
            node.asked()
        check(probe.answer(id_)["end"] == "done", "and then its end")
        node.asked()


def total(n, byte=ord("b")):
    whole, left = divmod(n, 251)
    return byte * (whole * sum(range(1, 252)) + sum(range(1, left + 1)))


def reflected(probe, node):
    """Servers that say what they were told, byte by byte."""
    for server in ("h2", "h1"):
        found = probe.ask("GET", "/reflect", probe.fields(probe.at(server)))
        node.asked()
        text = found["head"] + found["body"]
        check(SECRET not in text and "%2B%2F" not in text and "x7bT9" not in text, f"nothing of it comes back: {found['body']}")
        check(found["bytes"] == int(found["fields"]["content-length"]) and found["end"] == "done", "and the length stays")
        check("set-cookie" not in found["fields"] and found["fields"]["x-other"] == "stays", "nor does a session of its")
        check(found["fields"]["x-echo"] == "key=" + "*" * len(SECRET), "in a field neither")


def plain(probe, node):
    """`serve --upstream` applies a credential as well."""
    upstream = f"http://localhost:{probe.ports['plain']}"
    key = [[NAME, "X-API-Key"], [VALUE, SECRET]]
    found = probe.ask("GET", "/reflect", key, [f"Authorization: {MINE}", "x-api-key: mine", "Cookie: kept=1"], upstream=upstream)
    seen = node.asked()
    check(seen["headers"]["x-api-key"] == SECRET and "mine" not in json.dumps(seen) and "authorization" not in seen["headers"],
          "a server of this host gets the target's credential alone")
    check(seen["headers"]["cookie"] == "kept=1" and seen["headers"]["sluice-protocol"] == "raw", "cookies go along unless they are configured away")
    check(SECRET not in json.dumps(found) and found["fields"]["x-echo"] == "key=" + "*" * len(SECRET), "and it does not come back")
    found = probe.ask("GET", "/reflect", key, ["Cookie: mine=1"], upstream=upstream, strip_cookies=True)
    seen = node.asked()
    check("cookie" not in seen["headers"] and "set-cookie" not in found["fields"], "where they are, they do not")
    other, numbers = [[NAME, "X-API-Key"], [VALUE, "another key"]], []
    for credential in (key, other, [], key, other, []):
        probe.ask("GET", "/head", credential, [f"Authorization: {MINE}"], upstream=upstream, server="shared")
        seen = node.asked()
        numbers.append(seen["connection"])
        check(("authorization" in seen["headers"]) == (credential == []), "without a credential the caller's own goes along")
    check(numbers[:3] == numbers[3:] and len(set(numbers)) == 3, f"connections are kept for one credential alone: {numbers}")


def mutual_tls(probe, node, folder):
    mutual = probe.fields(probe.at("mutual"), [CHAIN, (folder / "client.crt").read_text()], [KEY, (folder / "client.key").read_text()])
    found = probe.ask("GET", "/head", mutual)
    check((found["status"], node.asked()["client"]) == (200, "client"), "with the certificate of the credential")
    other = (folder / "other.crt").read_text()
    for what, credential, allow, says in (
            ("without one", probe.fields(probe.at("mutual")), ("localhost",), ("it breaks off", "TLS with it fails")),
            ("with one by another authority", probe.fields(probe.at("mutual"), [CHAIN, (folder / "stranger.crt").read_text()],
                                                           [KEY, (folder / "stranger.key").read_text()]), ("localhost",),
             ("it breaks off", "TLS with it fails")),
            ("with a key that is another's", probe.fields(probe.at("mutual"), [CHAIN, (folder / "client.crt").read_text()],
                                                          [KEY, (folder / "stranger.key").read_text()]), ("localhost",), ("is unfit",)),
            ("with no PEM", probe.fields(probe.at("mutual"), [CHAIN, "x"], [KEY, "y"]), ("localhost",), ("is unfit",)),
            ("a server of another authority", probe.fields(probe.at("h2"), authority=other), ("localhost",), ("not by an authority",)),
            ("a server that the system's do not know", [[ENDPOINT, probe.at("h2")]], ("localhost",), ("not by an authority",)),
            ("a name that the certificate is not for", probe.fields(probe.at("h2", host="127.0.0.1")), ("127.0.0.1",), ("not valid for it",)),
            ("TLS 1.1", probe.fields(probe.at("old")), ("localhost",), ("TLS with it fails",)),
            ("no TLS at all", probe.fields(probe.at("plain")), ("localhost",), ("TLS with it fails",)),
            ("nobody", probe.fields("https://localhost:1"), ("localhost",), ("takes no connection",)),
            ("a name that is nobody's", probe.fields("https://nobody.invalid"), (), ("not found",))):
        status, reason, detail = probe.refused("GET", "/head", credential, allow=allow)
        check((status, reason) == (502, "upstream_unreachable") and any(s in detail for s in says), f"{what}: {detail}")
        check("localhost" not in detail and SECRET not in detail and "invalid" not in detail, "without a word of where")
    check(node.none(probe), "none of those was asked")


def endpoints(probe, node):
    for what, credential, allow in (
            ("loopback by name", probe.fields(probe.at("h2")), ()),
            ("loopback by number", probe.fields(probe.at("h2", host="127.0.0.1")), ("localhost",)),
            ("in other words", probe.fields(probe.at("h2", host="0x7f.1")), ("localhost",)),
            ("mapped", probe.fields(probe.at("h2", host="[::ffff:127.0.0.1]")), ("localhost",)),
            ("IPv6", probe.fields(probe.at("h2", host="[::1]")), ("localhost",)),
            ("another name of it", probe.fields(probe.at("h2", host="localhost.localdomain")), ("localhost",)),
            ("metadata", probe.fields("https://169.254.169.254/latest/"), ()),
            ("plain HTTP", probe.fields("http://example.com/"), ()),
            ("another scheme", probe.fields("file:///etc/passwd"), ("localhost",)),
            ("with a user", probe.fields(f"https://a:b@localhost:{probe.ports['h2']}/"), ("localhost",))):
        status, reason, detail = probe.refused("GET", "/head", credential, allow=allow)
        good = (status, reason) == (502, "egress_refused") or "localdomain" in str(credential) and reason == "upstream_unreachable"
        check(good, f"{what}: {detail}")
        check(not [s for s in ("127.0", "localhost", "169.254", "example", "passwd", SECRET) if s in detail], "without a word of where")
    found = probe.ask("GET", "/head", [[ENDPOINT, f"http://localhost:{probe.ports['plain']}"]])
    node.asked()
    check(found["status"] == 200, "a host that is allowed by name may be plain")
    for what, credential, reason in (("no credential", [], "no_credential"), ("no endpoint", [[NAME, "A"], [VALUE, "b"]], "bad_credential"),
                                     ("no credential at all", [[NAME, "A"]], "bad_credential"),
                                     ("what stays at the relay", [[34, "very secret"]], "bad_credential")):
        status, got, detail = probe.refused("GET", "/head", credential)
        check((status, got) == (502, reason) and "very" not in detail, f"{what}: {detail}")
    check(node.none(probe), "none of those was asked")


def pinned(probe, node):
    """A resolver that says another thing each time: what was judged is what is connected to."""
    # Each over a connection of its own.
    rebinding = [[ENDPOINT, f"http://rebinding.example:{probe.ports['plain']}"]]
    for address, what in (("127.0.0.1", "a name of this network that is allowed"),
                          ("127.0.0.99", "another answer of the resolver changes nothing for what was pinned")):
        probe.hosts.write_text(f"{address} rebinding.example\n")
        found = probe.ask("GET", "/close", rebinding, allow=("rebinding.example",))
        node.asked()
        check(found["status"] == 200, what)
    probe.hosts.write_text("8.8.8.8 mixed.example\n127.0.0.1 mixed.example\n")
    _, reason, detail = probe.refused("GET", "/head", probe.fields(probe.at("h2", host="mixed.example")), allow=())
    check(reason == "egress_refused" and "loopback" in detail, f"a name with one good and one bad address: {detail}")
    probe.hosts.write_text("127.0.0.1 localhost\n")


def kept(probe, node):
    """Connections are kept, each for one credential alone."""
    for server in ("h2", "h1"):
        one, two = probe.fields(probe.at(server), secret="first of the keys"), probe.fields(probe.at(server), secret="second of the keys")
        numbers = []
        for credential in (one, one, two, one, two):
            probe.ask("GET", "/head", credential)
            numbers.append(node.asked()["connection"])
        check(numbers[0] == numbers[1] == numbers[3] and numbers[2] == numbers[4] and numbers[0] != numbers[2], f"connections {numbers} over {server}")
        both = [probe.begin("GET", "/slow", one, timeout_s=1) for _ in range(2)]
        used = [node.asked()["connection"] for _ in both]
        check(used[0] != used[1], "calls at the same time have one each, so that none waits for another")
        for id_ in both:
            check(probe.answer(id_)["status"] == 504, "both end by themselves")
        check([node.asked().get("gone") for _ in both] == ["/slow"] * 2, "and the endpoint knows")
        id_ = probe.begin("GET", "/events", one, leave_after=5)
        node.asked()
        check(probe.answer(id_)["end"] == "cancelled" and node.asked().get("gone") == "/events", "a caller leaves, and so does its request")
        for path in ("/close",) + (("/goaway",) if server == "h2" else ()):
            for _ in range(3):
                found = probe.ask("GET", path, one)
                node.asked()
                check((found["status"], found["body"]) == (200, "bye"), f"{path}: a connection that the endpoint ends is not asked again")


def late(probe, node):
    for server in ("h2", "h1"):
        status, reason, detail = probe.refused("GET", "/slow", probe.fields(probe.at(server)), timeout_s=1)
        node.asked()
        check((status, reason) == (504, "upstream_timeout"), detail)
        check(node.asked()["gone"] == "/slow", "and the endpoint is left alone")
    listener = socket.create_server(("127.0.0.1", 0))
    began = time.monotonic()
    status, reason, detail = probe.refused("GET", "/x", probe.fields(f"https://localhost:{listener.getsockname()[1]}"), timeout_s=1)
    check((status, reason) == (504, "upstream_timeout") and time.monotonic() - began < 3, f"one that does not speak: {detail}")
    listener.close()


def memory(probe, node):
    """A caller that reads slowly, one that writes more than the endpoint reads: neither grows the daemon."""
    def resident():
        return int(pathlib.Path(f"/proc/{probe.child.pid}/statm").read_text().split()[1]) * resource.getpagesize() // MIB
    before = resident()
    slow = [probe.begin("GET", f"/stream?n={256 * MIB}", probe.fields(probe.at(server)), slow=True, leave_after=6 * MIB) for server in ("h2", "h1")]
    for _ in slow:
        node.asked()
    most = 0
    for id_ in slow:
        while probe.waiting[id_].empty():
            most = max(most, resident() - before)
            time.sleep(0.05)
        check(probe.answer(id_)["end"] == "cancelled", "a slow reader of much")
    # Node notices no client that left while it waits to write over HTTP/2.
    check(node.asked()["gone"] == "/stream", "and it is over at the endpoint")
    check(most < 48, f"{most} MiB more for two answers of 256 MiB that were not read")


def stopped(probe, node):
    """An event loop that is taken down with calls in every state."""
    for server in ("h2", "h1"):
        for path in ("/slow", "/events"):
            probe.begin("GET", path, probe.fields(probe.at(server)))
        probe.begin("POST", "/echo", probe.fields(probe.at(server)), body_bytes=100 * MIB, slow=True)
    key = [[NAME, "X-API-Key"], [VALUE, SECRET]]
    for path in ("/slow", "/events"):
        probe.begin("GET", path, key, upstream=f"http://localhost:{probe.ports['plain']}")
    for _ in range(8):
        node.asked()
    probe.child.stdin.close()
    check((code := probe.child.wait(10)) == 0, f"{code} the program ends in order, whatever is under way")


def wiped(trusted, ports, hosts, node):
    """Of a process that has made many calls nothing is left but what it holds."""
    for server in ("h1", "h2", "plain"):
        probe = Probe(trusted, ports, hosts)
        more = {"upstream": f"http://localhost:{ports['plain']}"} if server == "plain" else {}
        for id_ in [probe.begin("POST", "/sum", probe.fields(probe.at(server)), body_bytes=10_000, **more) for _ in range(40)]:
            while "headers" not in (seen := node.asked()):  # of calls that were broken off before
                pass
            if probe.answer(id_)["status"] != 200 or seen["headers"]["authorization"] != f"Bearer {SECRET}":
                raise RuntimeError("a call failed")
        found = places(probe.child.pid, SECRET.encode())
        probe.child.kill()
        check(not found, f"after 40 calls no copy of the credential is left in memory ({server}) {found[:3] or ''}")


def test(folder):
    runtime = Node()
    ca = authority(folder, "ca")
    authority(folder, "other")
    certificate(folder, "server", "ca", "DNS:localhost")
    certificate(folder, "client", "ca", client=True)
    certificate(folder, "stranger", "other", client=True)
    node = Servers([runtime.program, runtime.folder / "https.js", folder], env=runtime.clean, cwd=runtime.folder)
    ports = node.next(20)
    probe = Probe(ca.read_text(), ports, folder / "hosts")
    for part in (exactly, methods, bodies, reflected, plain):
        part(probe, node)
    mutual_tls(probe, node, folder)
    for part in (endpoints, pinned, kept, late, memory):
        part(probe, node)
    stopped(probe, node)
    told = errors_of(probe)
    check(SECRET not in told and "localhost" not in told, "the log has nothing of it")
    wiped(probe.trusted, ports, probe.hosts, node)
    node.child.kill()


if __name__ == "__main__":
    need_namespaces()
    home = pathlib.Path(tempfile.mkdtemp(prefix="sluice-egress-"))
    home.chmod(0o755)
    try:
        test(home)
        print("passed")
    finally:
        shutil.rmtree(home)
