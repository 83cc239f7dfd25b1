#!/usr/bin/python3
"""Every call of the operator's API, made as its OpenAPI document says: each answer, also each refusal, is what the document
promises, and nothing more."""
import http.client
import json
import socket
import subprocess
import urllib.parse

import jsonschema
from common import ROOT, check, main, ping_ok, wait_until


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Api:
    def __init__(self, lab):
        self.lab, self.called = lab, set()
        self.document = json.loads((ROOT / "docs/openapi.json").read_text())

    def raw(self, method, target, body=None):
        connection = UnixConnection(self.lab.socket)
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), json.loads(answer.read())

    def validate(self, value, schema, what):
        # References are to the document's own components.
        resolved = {**schema, "components": self.document["components"]}
        errors = sorted(jsonschema.Draft202012Validator(resolved).iter_errors(value), key=str)
        check(not errors, what + (f": {errors[0].message} at {list(errors[0].absolute_path)}" if errors else ""))

    def call(self, method, target, body=None, refused=False):
        path = target.split("?")[0]
        operation = self.document["paths"][path][method.lower()]
        if body is not None and not refused:
            self.validate(body, operation["requestBody"]["content"]["application/json"]["schema"], f"{method} {path}: the request")
        status, kind, answer = self.raw(method, target, body)
        check((status >= 400) == refused and kind == "application/json", f"{method} {target} answers {status}")
        which = operation["responses"]["default" if refused else "200"]
        self.validate(answer, which["content"]["application/json"]["schema"], f"{method} {path}: the answer")
        if not refused:
            self.called.add((method.lower(), path))
        return answer

    def secret(self, target, about, secret, refused=False):
        """A body that is a secret, beside what is said of it."""
        operation = self.document["paths"][target]["post"]
        self.validate(about, operation["parameters"][0]["content"]["application/json"]["schema"], f"POST {target}: the request")
        connection = UnixConnection(self.lab.socket)
        connection.request("POST", f"{target}?about={urllib.parse.quote(json.dumps(about))}", secret, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        status, body = answer.status, json.loads(answer.read())
        check((status >= 400) == refused, f"POST {target} answers {status}")
        which = operation["responses"]["default" if refused else "200"]
        self.validate(body, which["content"]["application/json"]["schema"], f"POST {target}: the answer")
        if not refused:
            self.called.add(("post", target))
        return body

    def text(self, path):
        """What is no JSON."""
        connection = UnixConnection(self.lab.socket)
        connection.request("GET", path)
        answer = connection.getresponse()
        kind = answer.getheader("Content-Type").split(";")[0]
        check(answer.status == 200 and kind in self.document["paths"][path]["get"]["responses"]["200"]["content"], f"{path} is {kind}")
        self.called.add(("get", path))
        return answer.read().decode()

    def file(self, path):
        """A published file of the audit log, which is no JSON."""
        connection = UnixConnection(self.lab.socket)
        connection.request("GET", f"/v1/audit/file?path={path}")
        answer = connection.getresponse()
        kind = answer.getheader("Content-Type").split(";")[0]
        promised = self.document["paths"]["/v1/audit/file"]["get"]["responses"]["200"]["content"]
        check(answer.status == 200 and kind in promised, f"{path} is served as {kind}")
        self.called.add(("get", "/v1/audit/file"))
        return answer.read()


def approvals(lab, api):
    """One call that is approved, and one that is not."""
    api.call("POST", "/v1/policy", {"yaml": "rules: [{ from: alice, to: bob, calls: { approval: { capabilities: [tool_call] } } }]\n", "after": 0})
    lab.serve("bob", "--echo")
    for verdict, code in (("approve", 0), ("deny", 13)):
        child = subprocess.Popen(lab.agent_argv("alice", "call", "bob", "--timeout", "60s"), cwd=lab.dir,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        child.stdin.write(b"question")
        child.stdin.close()
        wait_until("the call to wait", lambda: api.call("GET", "/v1/approvals")["approvals"], 20, 0.2)
        waiting = api.call("GET", "/v1/approvals")["approvals"]
        check(len(waiting) == 1 and (waiting[0]["from"], waiting[0]["capability"]) == ("alice", "tool_call"), "one call waits")
        api.call("POST", f"/v1/approvals/{verdict}", {"id": waiting[0]["id"]})
        check(child.wait(30) == code and child.stdout.read() == (b"" if code else b"question"), f"it was told: {verdict}")
        api.call("POST", f"/v1/approvals/{verdict}", {"id": waiting[0]["id"]}, refused=True)


def vault(api):
    api.call("POST", "/v1/vault/unlock", {}, refused=True)
    check(api.call("GET", "/v1/vault")["state"] == "uninitialised", "there is no vault at first")
    api.call("POST", "/v1/vault/init", {})
    api.call("POST", "/v1/vault/lock", {})
    api.secret("/v1/vault/unlock", {}, b"not needed")
    field = lambda number, text: bytes([number, 0]) + len(text).to_bytes(2, "little") + text  # noqa: E731
    header = field(1, b"X-Key") + field(2, b"secret")
    about = {"tenant": "acme", "name": "search", "hours": ["mon-fri 09:00-17:00 Europe/Vienna"], "max_age_s": 86400}
    api.secret("/v1/credentials", about, header[:-1], refused=True)
    api.secret("/v1/credentials", {**about, "hours": ["never"]}, header, refused=True)
    api.call("POST", "/v1/credentials", {**about, "secret": "in JSON it is not taken"}, refused=True)
    api.secret("/v1/credentials", about, header)
    made = api.secret("/v1/credentials", {"tenant": "acme", "name": "search", "target": "bob", "protocol": "mcp", "without_limits": True}, header)
    check((made["version"], made["state"], len(made["bindings"])) == (2, "usable", 1), "set anew, and bound")
    place = {"tenant": "acme", "target": "bob", "protocol": "mcp"}
    api.call("POST", "/v1/credentials/unbind", place)
    api.call("POST", "/v1/credentials/unbind", place, refused=True)
    api.call("POST", "/v1/credentials/bind", {**place, "name": "search"})
    api.call("POST", "/v1/credentials/bind", {**place, "name": "search", "target": "nobody"}, refused=True)
    check(len(api.call("GET", "/v1/credentials")["credentials"]) == 1, "one credential is there")
    api.call("POST", "/v1/vault/rotate", {})
    check(api.call("POST", "/v1/vault/rotate", {"master": True})["key"] == 2, "both kinds of keys are replaced")
    api.call("POST", "/v1/credentials/delete", {"tenant": "acme", "name": "search"})
    api.call("POST", "/v1/credentials/delete", {"tenant": "acme", "name": "search"}, refused=True)
    api.call("GET", "/v1/vault")


def test(lab):
    lab.make_relay()
    lab.start_relay()
    api = Api(lab)
    jsonschema.Draft202012Validator.check_schema({"components": api.document["components"]})
    served = api.call("GET", "/v1/openapi.json")
    check(served == api.document, "the relay serves its own document")
    for name in ("acme", "beta"):
        api.call("POST", "/v1/tenants", {"name": name})
    api.call("POST", "/v1/tenants", {"name": "acme"}, refused=True)
    for tenant, n in (("acme", "alice"), ("acme", "bob"), ("beta", "carol")):
        token = api.call("POST", "/v1/tokens", {"tenant": tenant, "ttl_s": 600, "uses": 2, "host": lab.address(n, 1)})
        lab.join(n, token["join"])
        if n == "bob":
            api.call("POST", "/v1/agents", {"did": lab.dids[n], "tenant": "acme", "name": n})
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda: lab.info(n).get("session", {}).get("up"), 15)
    tokens = api.call("GET", "/v1/tokens")["tokens"]
    api.call("POST", "/v1/tokens/end", {"id": tokens[0]["id"]})
    api.call("POST", "/v1/tokens/end", {"id": "000000000000"}, refused=True)
    lab.agent("alice", "handshake", lab.dids["bob"], "one", "--capabilities", "tool_call", "--protocols", "raw")
    lab.agent("alice", "handshake", lab.dids["carol"], "two")
    wait_until("both requests", lambda: len(api.call("GET", "/v1/requests")["requests"]) == 2, 5)
    other = next(r for r in api.call("GET", "/v1/requests")["requests"] if r["waits_for"] == "consent")
    api.call("POST", "/v1/requests/consent", {"request": other["request"], "tenant": "beta"})
    api.call("POST", "/v1/requests/consent", {"request": "00000000", "tenant": "beta"}, refused=True)
    lab.agent("bob", "approve", "alice")
    wait_until("alice and bob", lambda: lab.peers("alice") and ping_ok(lab, "alice", "bob", 3), 15, 0.2)
    api.call("GET", "/v1/edges")
    approvals(lab, api)
    vault(api)
    api.call("POST", "/v1/policy", {"yaml": "default: ask\n", "dry_run": True})
    api.call("POST", "/v1/policy", {"yaml": "rules: [{ from: alice, to: bob, for: 1h }]\n", "after": 1})
    api.call("POST", "/v1/policy", {"yaml": "default: ask\n", "after": 0}, refused=True)
    mistakes = api.call("POST", "/v1/policy", {"yaml": "default: maybe\nrules: 5\n"}, refused=True)
    check([p["line"] for p in mistakes["error"]["problems"]] == [1, 2], "mistakes come with their lines")
    api.call("GET", "/v1/policy")
    api.call("POST", "/v1/revoke", {"pair": ["alice", "bob"], "reason": "test"})
    api.call("POST", "/v1/revoke", {"agent": "alice"})
    api.call("POST", "/v1/revoke", {"match": "nobody-*"}, refused=True)
    guest = {"did": lab.dids["carol"], "tenant": "beta", "name": "carol"}
    check(api.call("POST", "/v1/agents", {**guest, "for_s": 1})["expires_at_ms"] > 0, "carol is admitted for a second")
    api.call("POST", "/v1/agents", {**guest, "for_s": 0}, refused=True)
    carol = lambda: next(a for a in api.call("GET", "/v1/agents")["agents"] if a["name"] == "carol")  # noqa: E731
    wait_until("which is over", lambda: carol()["state"] == "expired", 5, 0.2)
    check(carol()["session"] is None and carol()["edges"] == 0, "and so is her session")
    for path in ("/v1/status", "/v1/agents", "/v1/counters", "/v1/tenants", "/v1/changes?after=2&limit=500"):
        api.call("GET", path)
    api.call("GET", "/v1/changes?after=x", refused=True)
    api.call("GET", "/v1/relay/keys")
    api.call("POST", "/v1/relay/keys/retire", {}, refused=True)
    api.call("POST", "/v1/relay/keys", {"overlap_s": 3600})
    api.call("POST", "/v1/relay/keys", {"overlap_s": -1}, refused=True)
    api.call("POST", "/v1/relay/keys/retire", {})
    api.call("POST", "/v1/backup", {"file": str(lab.dir / "copy.db")})
    api.call("POST", "/v1/backup", {"file": "copy.db"}, refused=True)
    wait_until("records in the audit log", lambda: api.call("GET", "/v1/audit")["size"] > 10, 10, 0.1)
    page = api.call("GET", "/v1/audit/records?from=1&limit=5&tenant=acme")
    check(page["records"] and all("1:" in (r["subject"] or "") + (r["object"] or "") for r in page["records"]), "of one tenant alone")
    page = api.call("GET", "/v1/audit/records?limit=3&proofs=true")
    check(all(r["proof"].startswith("c2sp.org/tlog-proof@v1") for r in page["records"]), "with proofs")
    api.call("GET", "/v1/audit/records?limit=33&proofs=true", refused=True)
    api.call("GET", "/v1/audit/records?limit=3&proofs=maybe", refused=True)
    api.call("GET", "/v1/audit/file?path=pruned", refused=True)
    api.call("GET", "/v1/audit/records?limit=0", refused=True)
    api.call("GET", "/v1/audit/records?tenant=nobody", refused=True)
    check(api.file("checkpoint").decode().count("\n") >= 5, "the log's checkpoint is served")
    check(len(api.file(f"tile/entries/000.p/{int(api.file('checkpoint').split()[1])}")) % 130 == 0, "and its entries")
    api.call("GET", "/v1/audit/file?path=audit.key", refused=True)
    api.call("GET", "/v1/audit/file?path=tile/0/../../audit.key", refused=True)
    api.call("GET", "/v1/audit/file?path=tile/9/000", refused=True)
    check("sluice_worker_rx_packets_total" in api.text("/metrics"), "metrics are served")
    api.call("GET", "/v1/latency")
    api.call("GET", f"/v1/trace?id={'0' * 32}&since_ms=0&until_ms=1")
    api.call("GET", "/v1/trace?id=0", refused=True)
    page = api.call("GET", "/v1/events?limit=5&tenant=acme&wait_ms=1")
    api.call("GET", f"/v1/events?after={page['last']}&kind=session")
    api.call("GET", "/v1/events?kind=nothing", refused=True)
    status, _, body = api.raw("GET", "/v1/nothing")
    check(status == 404 and body["error"]["code"] == "not_found", "what is not in the document is not there")
    named = {(m, p) for p, methods in api.document["paths"].items() for m in methods}
    check(api.called == named, f"every call was made: {sorted(named - api.called)}")


main(test, enrol=False, agents=("alice", "bob", "carol"))
