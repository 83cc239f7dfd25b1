#!/usr/bin/python3
"""A credential goes from the vault to the target of a call and nowhere else: its server sees exactly that and nothing of what the
caller put there; the caller, the wire, files, logs and the memory of either daemon that a dump would show never have it. What is
replaced under load is not used after the answer, and no call fails; a locked vault denies; a kill loses nothing."""
import json
import secrets
import subprocess
import threading
import time

from canary_test import folder_holds
from certificates import authority, certificate
from common import check, main, run, wait_until
from http_test import Client, ask, connect, upstream
from oauth2_test import Lines
from process_memory import search, where
from protocols_test import Node
from vault_test import ctl, restart, secret_file, state, unlocked

CALLERS = "of-the-caller"
OWN = {"Authorization": f"Bearer {CALLERS}", "proxy-authorization": f"Basic {CALLERS}", "X-API-KEY": CALLERS, "x-other": "stays"}


def give(lab, value, *more, name="key", protocol="raw", header="Authorization: Bearer {}"):
    return ctl(lab, "credential", "set", name, "--tenant", "7", "--target", "beta", "--protocol", protocol, "--header", header, *more,
               secret=value)


def heads(lab, port):
    """Target and fields of each request that beta's server got since this was asked last: asked without Sluice."""
    client = Client(lab, "beta")
    client.sock = connect(lab, "beta", port)
    client.request("GET", "/heads")
    return json.loads(client.getresponse().read())


def only(lab, port):
    got = heads(lab, port)
    check(len(got) == 1, "one request came")
    return got[0]


def values(fields, name):
    return [v for k, v in fields if k == name]


def reason(answer):
    return answer[0], json.loads(answer[2])["reason"]


def replaces_what_the_caller_sent(lab, port, secret):
    ask(lab, "GET", "/beta/echo", fields=OWN)
    fields = only(lab, port)[1]
    check(values(fields, "authorization") == [OWN["Authorization"]], "without a credential the caller's own goes through")
    give(lab, secret)
    status, answered, body = ask(lab, "GET", "/beta/head", fields=OWN)
    fields = only(lab, port)[1]
    check(status == 200 and values(fields, "authorization") == [f"Bearer {secret}"], "the server gets the vault's")
    check(not any(CALLERS in v for _, v in fields) and values(fields, "x-other") == ["stays"], "and nothing of the caller's")
    check(secret.encode() not in body and not any(secret in v for v in answered.values()),
          "a server that says it again is not heard by the caller")
    # Two headers of the same name, and another protocol, which has none.
    client = Client(lab)
    client.putrequest("GET", "/beta/echo")
    for value in (f"Bearer {CALLERS}", f"Basic {CALLERS}"):
        client.putheader("authorization", value)
    client.endheaders()
    client.getresponse().read()
    check(values(only(lab, port)[1], "authorization") == [f"Bearer {secret}"], "doubles are taken off as well")
    ask(lab, "GET", "/beta/mcp/echo", fields=OWN)
    check(values(only(lab, port)[1], "authorization") == [OWN["Authorization"]], "it is for its protocol alone")


def goes_into_the_query(lab, port, secret):
    ctl(lab, "credential", "set", "query", "--tenant", "7", "--target", "beta", "--protocol", "mcp", "--query", "api_key", secret=secret)
    ask(lab, "GET", f"/beta/mcp/echo?a=1&api_key={CALLERS}&api%5Fkey={CALLERS}&b=2", fields=OWN)
    target, fields = only(lab, port)
    check(target.count(secret) == 1 and CALLERS not in target and "a=1" in target and "b=2" in target, f"one api_key: {len(target)} bytes")
    check(not any(CALLERS in v for _, v in fields), "and nothing of the caller's")


def long_ones_arrive(lab, port):
    long = secrets.token_hex(3900)
    give(lab, long, name="key", header="Authorization: {}")
    status, _, _ = ask(lab, "GET", "/beta/echo")
    check(status == 200 and values(only(lab, port)[1], "authorization") == [long], "7,800 bytes of it arrive whole")


def denies_what_it_cannot_give(lab, port, secret):
    give(lab, secret)
    ctl(lab, "vault", "lock")
    check(reason(ask(lab, "GET", "/beta/echo")) == (503, "credential_unavailable"), "a locked vault denies")
    check(heads(lab, port) == [], "and the server was not asked")
    check(ask(lab, "GET", "/gamma/echo")[0] == 200, "all other calls go on")
    restart(lab)
    unlocked(lab)
    lab.wait_connected(40)
    check(ask(lab, "GET", "/beta/echo")[0] == 200, "after a kill the vault opens, and calls go on")
    give(lab, secret, "--not-before", "2099-01-01T00:00")
    status, fields, body = ask(lab, "GET", "/beta/echo")
    check(json.loads(body)["reason"] == "outside_window", "outside of its window it is not to be had")
    give(lab, secret, "--no-limits")
    check(ask(lab, "GET", "/beta/echo")[0] == 200, "inside it is")


def is_replaced_under_load(lab, port):
    """Callers note which value had been said to be in force when they asked; their requests carry it as a path."""
    heads(lab, port)
    said, failed, asked, stop = [0], [], [0], threading.Event()

    def caller():
        client = Client(lab)
        while not stop.is_set():
            before = said[0]
            try:
                status = ask(lab, "GET", f"/beta/echo?at={before}", client=client)[0]
            except OSError as error:
                failed.append(repr(error))
                return
            asked[0] += 1
            if status != 200:
                failed.append(status)

    give(lab, "value-0-")
    threads = [threading.Thread(target=caller) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(1, 41):
        give(lab, f"value-{i}-")
        said[0] = i
        time.sleep(0.02)
    stop.set()
    for t in threads:
        t.join()
    came = heads(lab, port)
    check(not failed and asked[0] >= 200, f"{asked[0]} calls during 40 replacements, none failed: {failed[:5]}")
    old = [(t, f) for t, f in came if int(values(f, "authorization")[0].split("-")[1]) < int(t.split("=")[1])]
    check(not old and len(came) == asked[0], f"none of {len(came)} came with a value after the next was said to be in force")


def leads_to_an_endpoint_with_a_token(lab):
    """An OAuth2 client's token, from oidc-provider beside the relay, for an HTTPS endpoint beside the target: both by other hands."""
    node = Node()
    folder = lab.dir / "tls"
    folder.mkdir()
    ca = authority(folder, "ca")
    certificate(folder, "server", "ca", "DNS:localhost")
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)

    def run_node(name, script, *args):
        child = Lines(["ip", "netns", "exec", name, node.program, node.folder / script, *args], env=node.clean, cwd=node.folder)
        lab.children.append(child.child)
        return child

    run("ip", "-n", lab.ns("relay"), "link", "set", "lo", "up")
    giver = run_node(lab.ns("relay"), "oidc.js", folder / "server.crt", folder / "server.key")
    tokens = giver.next(20)
    endpoint = run_node(lab.ns("beta"), "https.js", folder)
    port = endpoint.next(20)["h2"]
    log = lab.dir / "egress.log"
    with open(log, "wb") as out:
        lab.spawn_agent("beta", "egress", "--protocol", "openai-responses", "--allow-host", "localhost", stdout=out, stderr=out,
                        stdin=subprocess.DEVNULL)
    wait_until("the egress to be known", lambda: log.read_bytes().count(b"\n") > 0, 10)
    ctl(lab, "credential", "set", "cloud", "--tenant", "7", "--target", "beta", "--protocol", "openai", "--oauth2", "--client-id", "basic",
        "--scope", "read", "--token-url-file", secret_file(lab, "token-url", f"https://localhost:{tokens}/token"), "--token-authority", ca,
        "--endpoint-file", secret_file(lab, "endpoint", f"https://localhost:{port}/base"), "--authority", ca, secret="secret of basic: a/b+c")

    def asked():
        status, _, body = ask(lab, "GET", "/beta/openai-responses/v1/head", fields=OWN)
        return (endpoint.next(5), body) if status == 200 else None

    seen = []
    wait_until("the token to be there", lambda: seen.append(asked()) or seen[-1], 20, 0.1)
    first, body = seen[-1]
    token = first["headers"]["authorization"].removeprefix("Bearer ")
    check(first["url"] == "/base/v1/head" and first["version"] == "2.0" and len(token) > 20 and CALLERS not in json.dumps(first),
          "the endpoint gets the token, over HTTP/2, and nothing of the caller's")
    check(token.encode() not in body, "which the caller does not see")
    # They live for four seconds; a machine that is busy may fetch one late.
    others, calls, failed, until = set(), 0, 0, time.monotonic() + 9
    while time.monotonic() < until:
        found = asked()
        calls, failed = calls + 1, failed + (found is None)
        if found:
            others.add(found[0]["headers"]["authorization"])
        time.sleep(0.05)
    check(len(others) >= 3 and failed * 10 <= calls, f"tokens are replaced ahead of their end: {len(others)} in nine seconds, {failed} of {calls} calls denied")
    giver.child.kill()
    wait_until("calls to be denied", lambda: asked() is None, 20, 0.2)
    check(reason(ask(lab, "GET", "/beta/openai-responses/v1/head")) == (503, "credential_unavailable"), "once nobody gives tokens, calls are denied")


def is_nowhere_else(lab, port, words):
    needles = [w.encode() for w in words]
    for name, pid in (("relay", lab.relay.pid), *((n, lab.daemons[n].pid) for n in lab.names)):
        found, size = search(pid, needles)
        held = {n: [m for m in at if m.dumped] for n, at in found.items()}
        check(size > 1 << 20 and not any(held.values()), f"what a dump of {name} has is without it: {where(held)}")
    check(not folder_holds(lab.dir, needles), "nor is it in any file")


def test(lab):
    secret = f"secret-{secrets.token_hex(16)}"
    lab.start_relay()
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected()
    origin = upstream(lab, "beta")
    lab.serve("beta", "--upstream", f"http://127.0.0.1:{origin.port}")
    lab.serve("beta", "--upstream", f"http://127.0.0.1:{origin.port}", "--protocol", "mcp")
    lab.serve("gamma", "--upstream", f"http://127.0.0.1:{upstream(lab, 'gamma').port}")
    ctl(lab, "vault", "init")
    lab.capture("alpha")
    replaces_what_the_caller_sent(lab, origin.port, secret)
    goes_into_the_query(lab, origin.port, f"query-{secret}")
    long_ones_arrive(lab, origin.port)
    denies_what_it_cannot_give(lab, origin.port, secret)
    is_replaced_under_load(lab, origin.port)
    leads_to_an_endpoint_with_a_token(lab)
    give(lab, secret)
    check(ask(lab, "GET", "/beta/echo")[0] == 200 and values(heads(lab, origin.port)[-1][1], "authorization") == [f"Bearer {secret}"],
          "what is looked for is in use")
    check(lab.stop_captures()["alpha"].stat().st_size > 100_000, "what went over the caller's wire is among the files")
    is_nowhere_else(lab, origin.port, [secret, "value-7-"])
    ctl(lab, "credential", "delete", "key", "--tenant", "7")
    ask(lab, "GET", "/beta/echo", fields=OWN)
    check(values(only(lab, origin.port)[1], "authorization") == [OWN["Authorization"]], "once it is deleted the caller's own goes through")
    check(state(lab) == "unlocked", "the vault is as it was")


if __name__ == "__main__":
    main(test, agents=("alpha", "beta", "gamma"), limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 8192})
