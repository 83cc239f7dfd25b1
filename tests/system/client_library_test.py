#!/usr/bin/python3
"""libsluice-agent: programs that use its public header alone call, serve, cancel, agree on trust and send messages, through
daemons that are killed and come back; and the examples compile as C++17 against what is installed."""
import os
import shutil
import signal
import subprocess

from call_test import connected, introduce
from common import BUILD, ROOT, check, main, wait_until

TRACE = "00112233445566778899aabbccddeeff"


def user_argv(lab, name):
    """What starts a program in the agent's namespace and as its user."""
    whole = lab.agent_argv(name)
    return [*whole[:whole.index(str(lab.dir / "bin" / "sluice-agent"))], "env", f"LD_LIBRARY_PATH={lab.dir / 'bin'}"]


def state_of(lab, name):
    whole = lab.agent_argv(name)
    return whole[whole.index("--state") + 1]


def argv_of(lab, name, *words):
    return [*user_argv(lab, name), str(lab.dir / "bin" / "client_probe"), state_of(lab, name), *words]


def install(lab):
    """Where the agents' user may read them."""
    shutil.copy(BUILD / "tests" / "system" / "client_probe", lab.dir / "bin")
    shutil.copy(BUILD / "src" / "client" / "libsluice-agent.so.0", lab.dir / "bin")


def probe(lab, name, *words, data=b"", seconds=90):
    done = subprocess.run(argv_of(lab, name, *words), input=data, capture_output=True, cwd=lab.dir, timeout=seconds)
    return done.returncode, done.stdout


class Server:
    def __init__(self, lab, name, parallel):
        self.log = lab.dir / f"server-{name}-{parallel}.log"
        self.process = subprocess.Popen(argv_of(lab, name, "serve", str(parallel)), stdout=self.log.open("w"), cwd=lab.dir)
        self.until("serving")

    def said(self):
        return self.log.read_text(errors="replace").splitlines()

    def until(self, line, times=1, seconds=20):
        wait_until(f"the server to say {line}", lambda: sum(said.startswith(line) for said in self.said()) >= times, seconds)

    def stop(self, seconds=20):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        check((code, self.said()[-1]) == (0, "stopped"), "a server that is asked to ends when all is answered")


def agreement(lab):
    check(probe(lab, "alice", "request", lab.dids["bob"]) == (0, b"pending\n"), "trust is asked for")
    wait_until("the request to reach bob", lambda: probe(lab, "bob", "pending")[1], 10)
    alice = lab.dids["alice"]
    check(probe(lab, "bob", "pending") == (0, f"{alice} by way of the library\n".encode()), "the other sees who asks, and why")
    check(probe(lab, "bob", "approve", "alice")[0] == 0, "and approves")
    wait_until("both to know each other", lambda: all(lab.peers(n) and lab.peers(n)[0]["verified"] for n in ("alice", "bob")), 10)
    check(probe(lab, "alice", "peers") == (0, f"{lab.dids['bob']} bob may_send ok 1\n".encode()), "peers are listed")
    code, said = probe(lab, "alice", "info")
    did, name, up, most = said.decode().split()
    check((code, did, name, up) == (0, alice, "alice", "up") and int(most) > 1000, "and what the agent is")


def messages(lab):
    check(probe(lab, "alice", "send", "bob")[0] == 0, "messages leave")
    got = []
    while len(got) < 3:
        code, said = probe(lab, "bob", "receive")
        check(code == 0 and said, "messages come")
        got += said.decode().splitlines()
    check(got == [f"{lab.dids['alice']} {n}" for n in (3, 3, 5)], "all of them, in order, with their bytes")


def calls(lab):
    code, said = probe(lab, "alice", "call", "bob", data=b"hello")
    check((code, said) == (1, b"failed unreachable not_served 1 0 \n"), f"without a server nobody takes a call: {said.decode().strip()}")
    server = Server(lab, "bob", 4)
    everything = bytes(range(256)) * 3
    check(probe(lab, "alice", "call", "bob", data=everything) == (0, everything), "all bytes come back as they were")
    check(probe(lab, "alice", "call", "bob", data=b"") == (0, b""), "none do as well")
    large = os.urandom(16 << 20)
    check(probe(lab, "alice", "call", "bob", data=large) == (0, large), "16 MiB each way")
    code, said = probe(lab, "alice", "call", "bob", data=large + b"x")
    check(code == 3 and said.startswith(b"error too_large the request has 16777217 bytes"), f"no more: {said.decode().strip()}")
    code, said = probe(lab, "alice", "call", "bob", "read", TRACE, data=b"who")
    who = said.decode().split()
    check(code == 0 and who[:2] == [lab.dids["alice"], "alice"] and who[3:5] == ["1", TRACE] and len(who[5]) == 32 and
          who[6:] == ["read", "raw", "0", "0"], "the server knows who calls, and with what right")
    check(probe(lab, "alice", "call", "bob", data=b"fail because") == (1, b"failed call_failed exit_status 7 7 because\n"),
          "a status of its own comes with the bytes")
    check(probe(lab, "alice", "call", "bob", data=b"throw") == (1, b"failed call_failed exit_status 1 0 \n"),
          "of what a handler throws nothing leaves but that it did")
    check(probe(lab, "alice", "call", "bob", "delegate", data=b"x") == (1, b"failed refused capability_not_allowed 0 0 \n"),
          "what was not granted is denied, with the relay's reason")
    code, said = probe(lab, "alice", "call", "nosuch", data=b"x")
    check(code == 3 and said.startswith(b"error not_found "), "nobody of that name")
    code, said = probe(lab, "alice", "call", "bob", "fly", data=b"x")
    check(code == 3 and said.startswith(b'error usage "capability" is one of'), f"no such capability: {said.decode().strip()}")
    code, said = probe(lab, "alice", "storm", "bob", "200", "3")
    check((code, said) == (0, b"200 good, 0 bad\n"), "200 calls of three threads, each with its own answer")
    return server


def cancellation(lab, server):
    caller = subprocess.Popen(argv_of(lab, "alice", "cancel", "bob"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=lab.dir)
    server.until("hold begins")
    out, _ = caller.communicate(b"now\n", timeout=5)
    check((caller.returncode, out) == (1, b"failed call_failed cancelled 512 0 \n"), "a call is cancelled from another thread, at once")
    server.until("hold cancelled", seconds=5)
    print("ok: and its handler is told")
    caller = subprocess.Popen(argv_of(lab, "alice", "cancel", "bob"), stdin=subprocess.PIPE, cwd=lab.dir, stdout=subprocess.PIPE)
    server.until("hold begins", times=2)
    caller.kill()
    caller.wait()
    server.until("hold cancelled", times=2, seconds=10)
    print("ok: so it is when its caller dies")


def restart(lab, server):
    lab.end(lab.daemons["bob"], signal.SIGKILL)
    server.until("away: unreachable")
    code, said = probe(lab, "bob", "info")
    check(code == 3 and b"sluice-agent up" in said, f"without a daemon: {said.decode().strip()}")
    lab.start_agent("bob")
    server.until("back", seconds=30)
    wait_until("bob to connect", lambda: connected(lab, "bob"), 15)
    wait_until("a call to come through", lambda: probe(lab, "alice", "call", "bob", data=b"again") == (0, b"again"), 60)
    print("ok: a server outlives its daemon")


def drain(lab, server):
    slow = subprocess.Popen(argv_of(lab, "alice", "call", "bob"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=lab.dir)
    slow.stdin.write(b"slow 3000")
    slow.stdin.close()
    server.until("slow begins")
    server.process.send_signal(signal.SIGTERM)
    wait_until("no more calls to be taken",
               lambda: probe(lab, "alice", "call", "bob", data=b"x") == (1, b"failed unreachable not_served 1 0 \n"), 2.5)
    check(slow.stdout.read() == b"slow done" and slow.wait(10) == 0, "what runs at the end of a server is answered")
    check(server.process.wait(10) == 0 and server.said()[-1] == "stopped", "then it ends")


def examples(lab):
    binaries, homes = lab.dir / "bin", lab.dir / "homes"
    for name in ("ask", "answer"):
        subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}", ROOT / "clients" / "cpp" / f"{name}.cpp",
                        binaries / "libsluice-agent.so.0", "-o", binaries / name], check=True)

    def example(agent, program, *words):
        # Its daemon is found where sluice-agent's default is.
        home = homes / agent
        if not home.exists():
            home.mkdir(parents=True)
            (home / "sluice-agent").symlink_to(state_of(lab, agent))
        return subprocess.Popen([*user_argv(lab, agent), f"XDG_STATE_HOME={home}", binaries / program, *words], cwd=lab.dir,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    server = example("bob", "answer")
    check(server.stdout.readline() == b"serving calls; Enter ends it\n", "the example of a server serves")
    out, err = example("alice", "ask", "bob", "is it you?").communicate(timeout=30)
    check((out, err) == (b"IS IT YOU?\n", b""), "and that of a caller hears it")
    out, err = server.communicate(b"\n", timeout=20)
    check((server.returncode, out) == (0, b"alice asks: is it you?\n"), "until it is told to end")


def test(lab):
    introduce(lab)
    install(lab)
    agreement(lab)
    messages(lab)
    server = calls(lab)
    cancellation(lab, server)
    restart(lab, server)
    drain(lab, server)
    examples(lab)
    Server(lab, "bob", 1).stop()
    check(probe(lab, "alice", "untrust", "bob")[0] == 0, "trust is ended")
    wait_until("no peer to be left", lambda: probe(lab, "alice", "peers") == (0, b""), 10)


if __name__ == "__main__":
    main(test, enrol=False, agents=("alice", "bob"), limits={"calls_per_agent": 64, "idempotency_keys_per_agent": 1024})
