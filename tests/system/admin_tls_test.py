#!/usr/bin/python3
"""The operator's API over TLS: exactly the certificates that a role names, each with its role; strangers get no byte, cost the
relay nothing, and no page in an operator's browser can act in his name."""
import ctypes
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time

from common import Traffic, check, main, wait_until

PORT = 7443
libc = ctypes.CDLL(None, use_errno=True)


def in_namespace(name, action):
    """`action()` on a thread that is in the network namespace."""
    out = []

    def run():
        with open(f"/run/netns/{name}") as f:
            if libc.setns(f.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        try:
            out.append(action())
        except Exception as error:  # handed to the caller
            out.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    if not out:
        raise TimeoutError("no answer in a minute")
    if isinstance(out[0], Exception):
        raise out[0]
    return out[0]


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.crt"
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", self.certificate)

    @staticmethod
    def run(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)

    def sign(self, name, subject=None, days=2, extra="extendedKeyUsage=clientAuth,serverAuth"):
        key, request, out = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"{extra}\nsubjectAltName=IP:127.0.0.1\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject or f"/CN={name}",
                 "-keyout", key, "-out", request)
        self.run("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key",
                 "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", out)
        return out, key


def test(lab):
    pki = lab.dir / "pki"
    pki.mkdir(mode=0o700)
    ours, theirs = Authority(pki, "ours"), Authority(pki, "theirs")
    server = ours.sign("server")
    callers = {name: ours.sign(name) for name in ("ops", "auditor", "nobody", "acme")}
    callers["foreign"] = theirs.sign("foreign", "/CN=ops")
    callers["twice"] = ours.sign("twice", "/CN=ops/CN=auditor")
    callers["nameless"] = ours.sign("nameless", "/O=ops")
    callers["expired"] = ours.sign("expired", "/CN=ops", days=-1)
    callers["server-only"] = ours.sign("server-only", "/CN=ops", extra="extendedKeyUsage=serverAuth")
    os.chmod(server[1], 0o600)
    text = lab.config.read_text()
    admin = f"admin: {{ socket: {lab.socket}, group: \"\" }}"
    check(admin in text, "the lab's configuration is as expected")
    tls = (f"admin:\n  socket: {lab.socket}\n  group: \"\"\n  tls:\n    listen: 127.0.0.1:{PORT}\n    certificate: {server[0]}\n"
           f"    key: {server[1]}\n    client_ca: {ours.certificate}\n  roles:\n    - {{ certificate: ops, role: admin }}\n"
           "    - { certificate: auditor, role: auditor }\n    - { certificate: acme, role: operator, tenant: \"7\" }\n")
    lab.config.write_text(text.replace(admin, tls))
    namespace = lab.ns("relay")
    subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)

    def fails_to_start(why):
        done = subprocess.run(["ip", "netns", "exec", namespace, lab.build / "sluiced", "-c", lab.config], capture_output=True,
                              text=True, timeout=60)
        check(done.returncode == 12 and why in done.stderr, f"{why}: {done.stderr.strip().splitlines()[-1]}")

    os.chmod(server[1], 0o644)
    fails_to_start("server.key")
    os.chmod(server[1], 0o600)
    lab.config.write_text(lab.config.read_text().replace(f"key: {server[1]}", f"key: {callers['ops'][1]}"))
    os.chmod(callers["ops"][1], 0o600)
    fails_to_start("of the certificate in")
    lab.config.write_text(text.replace(admin, tls))
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()

    def context(caller, version=ssl.TLSVersion.TLSv1_3):
        c = ssl.create_default_context(cafile=str(ours.certificate))
        c.minimum_version = c.maximum_version = version
        if caller:
            c.load_cert_chain(*map(str, callers[caller]))
        return c

    def call(caller, method, path, body=None, kind="application/json", count=1):
        def action():
            connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=20, context=context(caller))
            for _ in range(count):
                headers = {"Content-Type": kind} if kind and body is not None else {}
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                out = answer.status, json.loads(answer.read())
            connection.close()
            return out
        return in_namespace(namespace, action)

    def refused(caller, version=ssl.TLSVersion.TLSv1_3):
        """No byte of HTTP comes back: TLS 1.3 tells of a refused certificate at the first read."""
        def action():
            try:
                raw = socket.create_connection(("127.0.0.1", PORT), timeout=20)
                with context(caller, version).wrap_socket(raw, server_hostname="127.0.0.1") as s:
                    s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
                    return s.recv(100) == b""
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
                return True  # not ConnectionRefusedError: somebody has to be there
        return in_namespace(namespace, action)

    check(not refused("ops"), "who has a role is answered")
    for caller in (None, "foreign", "twice", "nameless", "server-only", "expired", "nobody"):
        check(refused(caller), f"no byte for {caller or 'one without a certificate'}")
    check(refused("ops", ssl.TLSVersion.TLSv1_2), "nor over TLS 1.2")
    status, body = call("auditor", "GET", "/v1/agents", count=50)
    check(status == 200 and len(body["agents"]) == 2, "an auditor reads, fifty times over one connection")
    status, body = call("auditor", "POST", "/v1/revoke", {"agent": "alpha"})
    check(status == 403 and "is auditor" in body["error"]["message"], "and does not revoke")
    status, body = call("ops", "POST", "/v1/tenants", {"name": "umbrella"}, kind="text/plain")
    check(status == 400 and "Content-Type" in body["error"]["message"], "what a foreign page could send is refused")
    status, body = call("acme", "POST", "/v1/tenants", {"name": "umbrella"})
    check(status == 403, "an operator of one tenant names none")
    status, body = call("ops", "POST", "/v1/tenants", {"name": "umbrella"}, kind="application/json; charset=utf-8")
    check(status == 200, f"an admin does: {body}")
    status, body = call("ops", "POST", "/v1/backup", {"file": "/tmp/never"})
    check(status == 403 and not os.path.exists("/tmp/never"), "no file is written for somebody on another host")
    status, body = call("ops", "POST", "/v1/policy", {"yaml": "#" * (9 << 20)})
    check(status == 413, "what is too large is told so, though it was not read to its end")
    last = lab.ctl("changes")["changes"][-1]
    check(last["kind"] == "tenant_added" and last["actor"] == "certificate ops", f"and the feed says who: {last['actor']}")

    def remote(caller, *args, host="127.0.0.1", ca=ours.certificate, secret=None):
        certificate, key = callers[caller]
        os.chmod(key, 0o600)
        done = subprocess.run(["ip", "netns", "exec", namespace, lab.build / "sluicectl", "--url", f"https://{host}:{PORT}",
                               "--cert", certificate, "--key", key, "--cacert", ca, "--json", *args], capture_output=True,
                              text=True, timeout=60, input=secret)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.strip()
    code, body, _ = remote("auditor", "agents")
    check(code == 0 and len(body["agents"]) == 2, "sluicectl works from another host")
    code, body, text = remote("ops", "tenant", "add", "hooli")
    check(code == 0 and body["name"] == "hooli", f"changes, too: {text}")
    code, body, text = remote("auditor", "revoke", "alpha")
    check(code == 6 and body["error"]["code"] == "permission", f"within its role: {text}")
    code, body, text = remote("ops", "vault", "init")
    check(code == 0 and body["state"] == "unlocked", f"the vault is an admin's: {text}")
    code, body, text = remote("acme", "vault", "rotate")
    check(code == 6, f"and not for the operator of a tenant: {text}")
    for tenant, expected in (("7", 0), ("umbrella", 6)):
        code, body, text = remote("acme", "credential", "set", "search", "--tenant", tenant, "--header", "A: {}", secret="s3cret")
        check(code == expected, f"whose credentials are his alone: {tenant} {text}")
    code, body, text = remote("ops", "credential", "set", "other", "--tenant", "umbrella", "--header", "A: {}", secret="s3cret")
    check(code == 0, "another tenant's is set by who may")
    listed = [[c["name"] for c in remote(who, "credential", "list")[1]["credentials"]] for who in ("acme", "auditor")]
    check([sorted(l) for l in listed] == [["search"], ["other", "search"]], f"each sees his own: {listed}")
    code, _, text = remote("nobody", "status")
    check(code == 6 and "admin.roles" in text, f"one without a role is told what may be wrong: {text}")
    code, _, text = remote("ops", "status", ca=theirs.certificate)
    check(code == 6 and "no certificate that fits" in text, f"a relay of another authority is not spoken to: {text}")
    code, _, text = remote("ops", "status", host="localhost")
    check(code == 6 and "no certificate that fits" in text, f"nor one whose certificate is for another name: {text}")
    code, _, text = remote("ops", "status", host="127.0.0.2")
    check(code == 4 and "does not answer" in text, f"nobody there: {text}")
    local = subprocess.run([lab.build / "sluicectl", "--url", "https://127.0.0.1", "status"], capture_output=True, text=True)
    check(local.returncode == 2, f"a URL needs its files: {local.stderr.strip().splitlines()[0]}")

    # Strangers that say nothing, some that say nonsense, and a storm of handshakes that come to nothing, from another address
    # than the operator's, beside traffic.
    traffic = Traffic(lab, "alpha", "beta", 300)

    def knock(hello=False):
        s = socket.socket()
        s.settimeout(20)
        s.bind(("127.0.0.2", 0))
        s.connect(("127.0.0.1", PORT))
        if hello:
            try:
                with context("foreign").wrap_socket(s, server_hostname="127.0.0.1") as t:
                    t.recv(1)
            except (ssl.SSLError, OSError):
                pass
        return s
    storm_over = threading.Event()
    handshakes = [0]

    def storm():
        while not storm_over.is_set():
            knock(hello=True)
            handshakes[0] += 1
    storming = threading.Thread(target=lambda: in_namespace(namespace, storm))
    storming.start()
    silent = in_namespace(namespace, lambda: [knock() for _ in range(200)])
    for s in silent[:50]:
        try:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        except OSError:
            pass
    for _ in range(5):
        began = time.monotonic()
        status, _ = call("ops", "GET", "/v1/status")
        check(status == 200 and time.monotonic() - began < 5, "an operator gets through")
    wait_until("a hundred handshakes that came to nothing", lambda: handshakes[0] > 100, 30)
    storm_over.set()
    storming.join(30)
    traffic.stop().check_whole()

    def all_closed():
        for s in silent:
            s.setblocking(False)
            try:
                while s.recv(4096):
                    pass
            except BlockingIOError:
                return False
            except OSError:
                pass
        return True
    wait_until("the strangers to be closed", all_closed, 15, 0.2)
    status, body = call("ops", "POST", "/v1/revoke", {"agent": "beta", "reason": "over TLS"})
    check(status == 200 and body["state"] == "cut", "a revocation over TLS, with its proof")

    # The end, with connections in every state: in their handshake, idle, and not reading what they asked for.
    def hold():
        held = [knock()]
        for _ in range(3):
            s = context("ops").wrap_socket(socket.create_connection(("127.0.0.1", PORT), timeout=20), server_hostname="127.0.0.1")
            held.append(s)
        for _ in range(200):
            try:
                held[-1].sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            except OSError:
                break
        return held
    held = in_namespace(namespace, hold)
    began = time.monotonic()
    lab.end(lab.relay, seconds=15)
    check(lab.relay.returncode == 0 and time.monotonic() - began < 10, f"the relay ends with {len(held)} connections open")


main(test)
