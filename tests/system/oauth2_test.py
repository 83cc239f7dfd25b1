#!/usr/bin/python3
"""Access tokens from an OAuth2 server of other hands (oidc-provider, in Node) over TLS with an authority of its own: fetched, refreshed ahead of
their end, refused, and all that an endpoint can do wrong. The relay's keeper runs in a small program (token_probe)."""
import base64
import json
import pathlib
import queue
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from certificates import authority, certificate
from common import BUILD, check
from process_memory import places, turned
from protocols_test import Node

URL, ID, SECRET, SCOPE, AUDIENCE, AUTH, AUTHORITY = range(32, 39)
HEADER, VALUE, ENDPOINT = 1, 2, 5


class Lines:
    """What a child says, a line of JSON each."""

    def __init__(self, argv, **kwargs):
        self.errors = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                      **kwargs)
        self.seen, self.queue = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.seen.append(line)
            self.queue.put(json.loads(line))

    def next(self, seconds=10):
        try:
            return self.queue.get(timeout=seconds)
        except queue.Empty:
            raise RuntimeError(f"nothing was said within {seconds} s: {self.child.poll()} {errors_of(self)[-2000:]}") from None

    def say(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()


class Keeper(Lines):
    """Keeps apart what is said of each key."""

    def __init__(self, whole_ms):
        super().__init__([BUILD / "tests" / "system" / "token_probe", whole_ms])
        self.kept = {}

    def set(self, key, *fields):
        self.say(json.dumps({"key": key, "fields": [[n, turned(value)] for n, value in fields]}))

    def remove(self, key):
        self.say(json.dumps({"key": key}))

    def of(self, key, seconds=10):
        deadline = time.monotonic() + seconds
        while not self.kept.get(key):
            found = self.next(max(0.01, deadline - time.monotonic()))
            self.kept.setdefault(found["key"], []).append(found)
        return self.kept[key].pop(0)

    def silent(self, key, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.next(max(0.01, deadline - time.monotonic()))
            except RuntimeError:
                break
            self.kept.setdefault(found["key"], []).append(found)
        return not self.kept.get(key)


def errors_of(program):
    program.errors.seek(0)
    return program.errors.read()


def secret(name):
    return f"secret of {name}: a/b+c"


def bearer(found):
    content = dict(found["content"])
    assert content[HEADER] == "Authorization" and content[VALUE].startswith("Bearer "), found
    return content[VALUE].removeprefix("Bearer ")


def test(folder):
    node = Node()
    ca = authority(folder, "ca")
    other = authority(folder, "other").read_text()
    cert, key = certificate(folder, "as", "ca", "DNS:localhost")
    server = Lines([node.program, node.folder / "oidc.js", cert, key], env=node.clean, cwd=node.folder)
    port = server.next(20)
    at = f"https://localhost:{port}"
    trusted = ca.read_text()
    context = ssl.create_default_context(cafile=ca)

    def looked_up(token):
        with urllib.request.urlopen(f"{at}/check?token={urllib.parse.quote(token)}", context=context, timeout=10) as answer:
            return json.loads(answer.read())

    def client(name, path="/token", *more, authority=trusted):
        return (URL, at + path), (ID, name), (SECRET, secret(name)), (AUTHORITY, authority), *more

    keeper = Keeper(1500)
    # All that takes its time is under way at once.
    keeper.set(1, *client("basic", "/token", (SCOPE, "read"), (ENDPOINT, "https://api.example/")))
    keeper.set(2, *client("post", "/token", (AUTH, "post"), (AUDIENCE, "https://api.example/")))
    keeper.set(3, *client("basic", "/slow"))
    keeper.set(4, *client("basic", "/drip"))
    keeper.set(5, *client("basic", "/fails"))
    keeper.set(6, *client("doomed"))
    began = time.time() * 1000
    first = keeper.of(1)
    check(dict(first["content"])[ENDPOINT] == "https://api.example/", "what is for the target goes along")
    check(looked_up(bearer(first)) == {"client": "basic", "scope": "read", "audience": ""}, "a token of the scope that was asked for")
    check(abs(first["expires"] - began - 4000) < 1500, f"its end is known, 4 s on: {first['expires'] - began:.0f} ms")
    check(looked_up(bearer(keeper.of(2))) == {"client": "post", "scope": "", "audience": "https://api.example/"},
          "one for an audience, by a client that names itself in the body")
    doomed = bearer(keeper.of(6))
    check(looked_up(doomed)["client"] == "doomed", "a client that will be revoked has one")
    server.say("doomed")
    second = keeper.of(1)
    early = first["expires"] - time.time() * 1000
    check(bearer(second) != bearer(first) and early > 500, f"another token {early:.0f} ms before the first one ends")
    check(looked_up(bearer(first)) and looked_up(bearer(second)), "both are good at that time")
    failure = keeper.of(6)
    check("does not know the client" in failure["reason"] and 15e3 < failure["retry_at"] - time.time() * 1000 < 31e3,
          f"a client that was revoked: {failure['reason']}")
    for key_, what in ((3, "an endpoint that never answers"), (4, "one that never ends")):
        failure = keeper.of(key_)
        check("does not answer in time" in failure["reason"], f"{what}: {failure['reason']}")
    pauses = []
    for _ in range(2):
        failure = keeper.of(5)
        check("fails with status 500" in failure["reason"], failure["reason"])
        pauses.append(failure["retry_at"])
    check(pauses[1] - pauses[0] > 900, "with growing pauses between")
    check(bearer(keeper.of(5)) == "after-failures", "until it succeeds")
    asked = [json.loads(line)["at"] for line in server.seen[1:] if "/fails" in line]
    check(len(asked) == 3 and asked[2] - asked[1] >= 950 and asked[1] - asked[0] >= 450, f"asked three times: {asked}")
    keeper.remove(1)
    keeper.set(30, *client("basic", "/slow"))
    keeper.set(30, *client("post", "/token", (AUTH, "post"), (HEADER, "X-Token"), (VALUE, "t={token}")))
    content = dict(keeper.of(30)["content"])
    check(content[HEADER] == "X-Token" and looked_up(content[VALUE].removeprefix("t="))["client"] == "post", "a record in place of another")
    keeper.remove(30)
    for key_, path, says in ((10, "/huge", "more than 64 KiB"), (11, "/large", "larger than 8192 bytes"), (12, "/moved", "redirect"),
                             (13, "/mac", "not Bearer"), (14, "/busy", "fewer"), (15, "/echo", "does not know the client"),
                             (16, "/nowhere", "status 404")):
        keeper.set(key_, *client("basic", path))
        failure = keeper.of(key_)
        check(says in failure["reason"], f"{path}: {failure['reason']}")
        if path == "/busy":
            check(failure["retry_at"] - time.time() * 1000 > 115e3, "it is left alone for as long as it wants")
    keeper.set(20, *client("basic", authority=other))
    check("not by an authority" in (reason := keeper.of(20)["reason"]), f"another authority: {reason}")
    keeper.set(21, *client("basic")[:3])
    check("not by an authority" in keeper.of(21)["reason"], "the system's authorities do not know this one")
    keeper.set(22, (URL, f"https://127.0.0.1:{port}/token"), *client("basic")[1:])
    check("not valid for it" in keeper.of(22)["reason"], "a name that the certificate is not for")
    keeper.set(23, *client("basic", authority="no PEM"))
    check("no PEM" in (reason := keeper.of(23)["reason"]), f"no certificate at all: {reason}")
    keeper.set(24, (URL, "http://10.1.2.3/token"), *client("basic")[1:])
    found = keeper.of(24)
    check("no https://" in found["reason"] and found["retry_at"] == 0, f"plain HTTP to elsewhere: {found['reason']}")
    keeper.set(25, (URL, "https://localhost:1/token"), *client("basic")[1:])
    check("takes no connection" in keeper.of(25)["reason"], "nobody listens")
    keeper.set(26, (ID, "basic"))
    check("names no token endpoint" in keeper.of(26)["reason"], "a record that is none")
    keeper.set(27, *client("basic")[:2], (SECRET, "wrong"), (AUTHORITY, trusted))
    check("its secret is another" in keeper.of(27)["reason"], "a secret that is wrong")
    for key_ in (3, 4):  # what is under way has its request in curl's memory
        keeper.remove(key_)
    check(keeper.silent(1, 2.5), "of one that was removed nothing is heard")
    found = places(keeper.child.pid, secret("basic").encode()) + places(keeper.child.pid, b"Basic YmFzaWM6")
    check(not found, f"no copy of a secret is left in memory {found[:3] or ''}")
    keeper.child.stdin.close()
    check(keeper.child.wait(5) == 0, "it ends in time, whatever is under way")
    said = [line for line in keeper.seen if '"reason"' in line]
    told = "\n".join(said) + errors_of(keeper)
    hidden = [secret("basic"), urllib.parse.quote(secret("basic"), safe=""), base64.b64encode(b"basic:").decode()[:6], doomed, "localhost", str(port)]
    check(not [h for h in hidden if h in told], f"no reason of {len(said)} has a secret or an address in it")
    server.child.kill()


if __name__ == "__main__":
    home = pathlib.Path(tempfile.mkdtemp(prefix="sluice-oauth2-"))
    home.chmod(0o755)
    try:
        test(home)
        print("passed")
    finally:
        shutil.rmtree(home)
