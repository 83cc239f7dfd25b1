#!/usr/bin/python3
"""Calls between two agents whose edges take nothing else: bytes there and back, what the command line says about calls that are
not let through or not taken, programs and daemons that are killed in the middle, and what the audit log keeps of it."""
import concurrent.futures
import hashlib
import json
import os
import signal
import subprocess
import time

from common import BUILD, check, main, ping_ok, wait_until

MIB = 1 << 20


def call(lab, name, *args, data=b"", seconds=90):
    """Exit code, response and what was said about it."""
    done = subprocess.run(lab.agent_argv(name, "call", *args), input=data, capture_output=True, cwd=lab.dir, timeout=seconds)
    return done.returncode, done.stdout, done.stderr.decode()


def call_json(lab, name, *args, data=b""):
    code, out, err = call(lab, name, *args, "--json", data=data)
    return code, json.loads(out), err


def connected(lab, name):
    return lab.info(name).get("session", {}).get("up")


def rows(lab, name, **fields):
    listed = json.loads(lab.agent(name, "calls", "--json").stdout)["calls"]
    return [c for c in listed if all(c[k] == v for k, v in fields.items())]


def introduce(lab):
    """A relay, and alice and bob connected to it."""
    lab.make_relay()
    lab.start_relay()
    lab.ctl("tenant", "add", "acme")
    for n in ("alice", "bob"):
        lab.join(n, lab.ctl("token", "create", "--tenant", "acme", "--ttl", "1h", "--host", lab.address(n, 1))["join"])
        lab.start_agent(n)
        wait_until(f"{n} to connect", lambda: connected(lab, n), 15)


def agree(lab, asked=(), granted=()):
    """alice may open calls of two capabilities and one protocol at bob, who may only answer."""
    lab.agent("alice", "handshake", lab.dids["bob"], "to use your tools", "--ask", "may_open", "--offer", "reply_only",
              "--capabilities", "tool_call,read", "--protocols", "raw", *asked)
    wait_until("the request to reach bob", lambda: json.loads(lab.agent("bob", "pending", "--json").stdout)["incoming"], 10)
    lab.agent("bob", "approve", "alice", *granted)
    wait_until("both to know each other, verified",
               lambda: all(p and p[0]["verified"] for p in (lab.peers("alice"), lab.peers("bob"))), 10)


def meet(lab):
    introduce(lab)
    agree(lab)
    check([lab.peers(n)[0]["right"] for n in ("alice", "bob")] == ["may_open", "reply_only"], "one may call, the other answer")


def refusals(lab):
    code, out, err = call(lab, "alice", "bob", data=b"hello")
    check((code, out) == (4, b"") and "[not_served]" in err, f"without a server: {err.strip()}")
    code, answer, err = call_json(lab, "alice", "bob", "--capability", "delegate")
    check((code, answer["decision"], answer["error"]["reason"], answer["error"]["code"]) ==
          (13, "capability_not_allowed", "capability_not_allowed", "refused") and answer["error"]["hint"],
          f"a capability that was not granted: {err.strip()}")
    code, _, err = call(lab, "alice", "bob", "--protocol", "mcp")
    check(code == 13 and "[protocol_not_allowed]" in err, "nor a protocol")
    code, _, err = call(lab, "alice", "bob", "--scope", "payments")
    check(code == 13 and "[missing_scope]" in err, "nor a scope")
    code, _, err = call(lab, "bob", "alice")
    check(code == 13 and "answer its calls" in err, f"who may only answer cannot call: {err.strip()}")
    code, _, err = call(lab, "alice", "nosuch")
    check(code == 5, "nobody of that name")
    for bad in (["--timeout", "never"], ["--trace", "xyz"], ["--capability", "fly"], ["--service", "70000"]):
        check(call(lab, "alice", "bob", *bad)[0] == 2, f"{' '.join(bad)} is a mistake")
    check(call(lab, "alice", "bob", data=bytes(16 * MIB + 1))[0] == 15, "more than 16 MiB is too large")
    check(lab.agent("bob", "serve", check=False).returncode == 2, "a server needs something to run")
    key = "5a" * 16
    serve_once = lab.serve("bob", "--echo")
    check(call(lab, "alice", "bob", "--idempotency-key", key, data=b"x")[:2] == (0, b"x"), "a key passes once")
    code, _, err = call(lab, "alice", "bob", "--idempotency-key", key, data=b"x")
    check(code == 8 and "[duplicate_idempotency_key]" in err, "and not twice")
    lab.end(serve_once)
    wait_until("the end of the server to be noticed", lambda: call(lab, "alice", "bob")[0] == 4, 10)


def bytes_both_ways(lab):
    server = lab.serve("bob", "--echo")
    for n in (0, 1, 1119, 1120, 1121, 100_000):
        data = os.urandom(n)
        code, out, err = call(lab, "alice", "bob", data=data)
        check(code == 0 and out == data, f"{n} bytes there and back {err.strip()}")
    data = os.urandom(MIB)
    began = time.monotonic()
    code, out, _ = call(lab, "alice", "bob", data=data)
    check(code == 0 and out == data, f"1 MiB there and back, {time.monotonic() - began:.2f} s")
    lab.end(server)


def programs(lab):
    script = ("cat > /dev/null; printf '%s|%s|%s|%s|%s|%s' "
              "\"$SLUICE_CALLER\" \"$SLUICE_CALLER_NAME\" \"$SLUICE_TRACE\" \"$SLUICE_CAPABILITY\" \"$SLUICE_SERVICE\" \"$SLUICE_CALLER_VERIFIED\"")
    server = lab.serve("bob", "--exec", "sh", "-c", script)
    trace = "00112233445566778899aabbccddeeff"
    code, out, _ = call(lab, "alice", "bob", "--trace", trace, "--capability", "read", "--service", "9", data=b"q")
    check(code == 0 and out.decode() == f"{lab.dids['alice']}|alice|{trace}|read|9|1", "the program knows who calls, and about what")
    lab.end(server)
    server = lab.serve("bob", "--limit", "1s", "--exec", "sh", "-c", "read what; case $what in fail) echo partly; exit 3;; kill) kill -9 $$;; esac; sleep 60")
    code, out, err = call(lab, "alice", "bob", data=b"fail\n")
    check((code, out) == (17, b"partly\n") and "exit status 3" in err, "its exit status is told, with what it said")
    check(call_json(lab, "alice", "bob", data=b"kill\n")[1]["status"] == 256 + 9, "a signal as well")
    code, answer, _ = call_json(lab, "alice", "bob", data=b"wait\n")
    check((code, answer["error"]["reason"]) == (17, "program_timeout"), "it is stopped when its time is over")
    lab.end(server)
    server = lab.serve("bob", "--exec", "sha256sum")
    def one(i):
        data = os.urandom(20_000 + i)
        code, out, err = call(lab, "alice", "bob", data=data)
        return code == 0 and out.decode().split()[0] == hashlib.sha256(data).hexdigest() or err
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(one, range(10)))
    check(all(r is True for r in results), f"ten at once: {[r for r in results if r is not True]}")
    lab.end(server)
    server = lab.serve("bob", "--parallel", "4", "--exec", "sleep", "60")
    held = [subprocess.Popen(lab.agent_argv("alice", "call", "bob"), cwd=lab.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for _ in range(3)]
    lab.children.extend(held)
    wait_until("three programs to run", lambda: len(rows(lab, "bob", state="serving", direction="in")) == 3, 10)
    code, _, err = call(lab, "alice", "bob")
    check(code == 7 and "[busy]" in err, "one peer does not take the last quarter")
    lab.end(server)
    check([h.wait(10) for h in held] == [17] * 3, "calls end with the server that had them")
    server = lab.serve("bob", "--parallel", "1", "--exec", "sh", "-c", "cat; sleep 60")
    first = subprocess.Popen(lab.agent_argv("alice", "call", "bob", "--timeout", "60s"), cwd=lab.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lab.children.append(first)
    wait_until("a program to run", lambda: rows(lab, "bob", state="serving", direction="in"), 10)
    code, _, err = call(lab, "alice", "bob")
    check(code == 7 and "[busy]" in err, "one at a time, the next hears so")
    # Ctrl-C or worse: the callee's program is stopped, and its place is free.
    first.kill()
    first.communicate()
    wait_until("the callee to hear of it", lambda: not rows(lab, "bob", state="serving"), 10)
    check(rows(lab, "bob", outcome="cancelled") and rows(lab, "alice", outcome="cancelled"), "a caller that is killed has cancelled")
    code, _, err = call(lab, "alice", "bob", "--timeout", "2s")
    check(code == 11 and "[timeout]" in err, f"no response in time: {err.strip()}")
    return server


def killed_callee(lab):
    waiting = subprocess.Popen(lab.agent_argv("alice", "call", "bob", "--timeout", "2m", "--json"), cwd=lab.dir,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lab.children.append(waiting)
    wait_until("the call to be served", lambda: rows(lab, "bob", state="serving", direction="in"), 10)
    lab.end(lab.daemons["bob"], signal.SIGKILL)
    lab.start_agent("bob")
    out, _ = waiting.communicate(timeout=60)
    answer = json.loads(out)
    check(waiting.returncode in (17, 11) and answer["error"]["reason"] in ("unknown_call", "peer_silent"),
          f"a callee killed with -9: {answer['error']['reason']} after {answer['ms']['total']} ms")
    wait_until("bob to connect again", lambda: connected(lab, "bob"), 20)
    # The server has found the new daemon.
    wait_until("a call to be taken again", lambda: call(lab, "alice", "bob", "--timeout", "1s")[0] == 11, 20)


def audited(lab):
    trace = "c0ffee" + "0" * 20 + "c0ffee"
    check(call(lab, "alice", "bob", "--timeout", "1s", "--trace", trace)[0] == 11, "one more call, to be found again")

    def records():
        out = subprocess.run([BUILD / "sluicectl", "--json", "--socket", lab.socket, "audit", "tail", "--count", "1000"],
                             capture_output=True, text=True, check=True).stdout
        found = [json.loads(line) for line in out.splitlines() if trace in line]
        return found if {"call", "call_closed"} <= {r["kind"] for r in found} else None

    found = wait_until("the call and its end in the audit log", records, 30, 0.5)
    check(len(found) == 2, "one record of the decision and one of the end, with its trace")


def test(lab):
    meet(lab)
    refusals(lab)
    bytes_both_ways(lab)
    server = programs(lab)
    killed_callee(lab)
    audited(lab)
    lab.end(server)
    check(lab.drops().get("right", 0) == 0, "nothing was sent that the edges do not take")



def operator_pair(lab):
    """Agents that the operator's configuration pairs, for messages and calls, under the header seal."""
    lab.start_relay()
    for n in lab.names:
        lab.start_agent(n)
    lab.wait_connected()
    lab.serve("beta", "--echo")
    lab.serve("alpha", "--echo")

    def both_ways():
        for a, b in (("alpha", "beta"), ("beta", "alpha")):
            data = os.urandom(50_000)
            code, out, err = call(lab, a, b, data=data)
            check(code == 0 and out == data, f"{a} calls {b}{err.strip()}")
            check(ping_ok(lab, a, b), "messages pass beside calls")

    both_ways()
    check(rows(lab, "alpha", direction="out", decision="authorized"), "without a grant, by the operator's word")
    lab.end(lab.relay, signal.SIGKILL)
    lab.start_relay()
    wait_until("calls through the relay that was started again", lambda: call(lab, "alpha", "beta", "--timeout", "2s")[0] == 0, 40)
    both_ways()


if __name__ == "__main__":
    main(test, enrol=False, agents=("alice", "bob"), limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 1024})
    main(operator_pair, seals={("alpha", "beta"): "header"})
