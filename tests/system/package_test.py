#!/usr/bin/python3
"""The Debian packages under a real systemd: installed, started, upgraded, removed and purged, and what the units' sandbox
leaves to the relay. Above this host's own root; with --clean above a fresh Debian that has what the packages depend on."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import common
from common import BUILD, ROOT, check, need_namespaces, run, wait_until
from container import Container

VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
CONFIG = """eal: { mode: no_huge }
ports:
  - { name: north, device: "net_af_packet0,iface=relay0", addresses: [10.1.0.1/24] }
cores: { control: %(core)s, workers: [ { core: %(core)s, queues: [north/0] } ] }
worker: { idle: backoff }
limits: { agents: 256, edges: 2048, sessions: 1024 }
"""
LIBRARY = ("libsluice-agent0", "libsluice-agent-dev")
# What the relay may: open raw sockets, set a link's flags, be scheduled in real time.
CAPABILITIES = 1 << 12 | 1 << 13 | 1 << 23
DPKG = "dpkg --force-unsafe-io --force-confdef --force-confold"


def build_packages(folder):
    """The packages of this build, and the relay's again as a later version that ships another configuration."""
    print(run(ROOT / "scripts/package", "--from", BUILD, "--to", folder).stdout, end="", flush=True)
    debs = {p.name.split("_")[0]: p for p in folder.glob("*.deb")}
    check(set(debs) == {"sluice", "sluice-agent", *LIBRARY} and all(f"_{VERSION}_" in p.name for p in debs.values()),
          f"packages of relay, agent and library in version {VERSION}, which is Meson's")
    tree = folder / "later"
    run("dpkg-deb", "-R", debs["sluice"], tree)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}", f"Version: {VERSION}+later"))
    with open(tree / "etc/sluice/sluiced.yaml", "a") as shipped:
        shipped.write("# Of a later version.\n")
    with open(tree / "lib/systemd/system/sluiced.service", "a") as unit:
        unit.write("# Of a later version.\n")
    later = folder / "sluice_later.deb"
    run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, later)
    return debs["sluice"], debs["sluice-agent"], [debs[name] for name in LIBRARY], later


def check_control(deb, program_packages):
    fields = run("dpkg-deb", "-f", deb, "Depends", "Recommends").stdout
    missing = [p for p in program_packages if not re.search(rf"(?<![\w.-]){re.escape(p)}(?![\w.-])", fields)]
    check(not missing, f"{deb.name} depends on the drivers that scripts/packages/run.txt lists: {missing}")


def clean_root(folder, debs):
    """A fresh Debian with systemd and the packages' dependencies, nothing else: minutes."""
    wanted = {"systemd", "systemd-sysv", "iproute2", "ethtool", "procps"}
    for deb in debs:
        for part in run("dpkg-deb", "-f", deb, "Depends").stdout.replace("\n", " ").split(","):
            name = part.split("|")[0].split("(")[0].split(":")[-1].strip()
            wanted |= {name} - {"sluice", ""}
    run("mmdebstrap", "--mode=root", "--variant=apt", f"--include={','.join(sorted(wanted))}",
        "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io", "bookworm", folder)
    return folder


def mode_of(host, path):
    return host.sh(f"stat -c '%a %U:%G' {path}").stdout.strip()


def state_of(host, unit):
    shown = host.sh(f"systemctl show -p ActiveState -p NRestarts -p MainPID -p UnitFileState {unit}").stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def journal(host, unit="sluiced"):
    return host.sh(f"journalctl --no-pager -o cat -u {unit}").stdout


def as_user(host, user, command):
    return host.sh(f"setpriv --reuid={user} --regid={user} --init-groups {command}", check=False)


def try_install(host, relay, agent):
    host.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)  # an index of all pages takes seconds
    host.path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)  # images forbid what maintainer scripts do
    for deb in (relay, agent):
        shutil.copy(deb, host.path("/root"))
    host.sh(f"{DPKG} -i /root/{relay.name} /root/{agent.name}")
    check(host.sh("dpkg-query -W -f '${db:Status-Status} ' sluice sluice-agent").stdout.split() == ["installed"] * 2,
          "both are installed")
    check(host.sh("systemctl --failed --no-legend --plain").stdout == "", "no unit failed")
    state = state_of(host, "sluiced")
    check(state["ActiveState"] == "inactive" and state["UnitFileState"] == "disabled", "the relay waits for its configuration")
    modes = {"/var/lib/sluice": "700 sluice:sluice", "/run/sluice": "750 sluice:sluice", "/usr/sbin/sluiced": "755 root:root",
             "/etc/sluice/sluiced.yaml": "644 root:root", "/var/lib/sluice-agent": "700 sluice-agent:sluice-agent"}
    for path, mode in modes.items():
        check(mode_of(host, path) == mode, f"{path} is {mode}")
    check(host.path("/etc/sluice/sluiced.yaml").read_bytes() == (ROOT / "config/sluiced.yaml").read_bytes(),
          "the configuration is the commented manual")
    check("good" in host.sh("sluiced --check /etc/sluice/sluiced.yaml").stdout, "and sluiced --check likes it")
    files = host.sh("dpkg -L sluice sluice-agent").stdout.split()
    for page in sorted(p.name for p in (BUILD / "config").glob("*.[158]")):
        check(f"/usr/share/man/man{page[-1]}/{page}.gz" in files, f"man page {page}")
        name = page[:-2]
        if (BUILD / name).exists():
            completion = {f"/usr/share/bash-completion/completions/{name}", f"/usr/share/zsh/vendor-completions/_{name}"}
            check(completion <= set(files), f"completion of {name}")
    check("--apply" in host.sh("sluice-host-setup --help").stdout, "sluice-host-setup finds its parts")
    host.sh("systemd-analyze verify --man=no sluiced.service sluice-agent@alice.service")
    for unit, most in (("sluiced.service", 30), ("sluice-agent@alice.service", 20)):
        done = host.sh(f"systemd-analyze security --offline=true --threshold={most} --no-pager {unit}", check=False)
        check(done.returncode == 0, f"systemd-analyze security gives {unit} {most / 10} at most: {done.stdout[-60:].strip()}")


def try_first_start(host):
    """As docs/install.md has it, with a virtual link as NIC."""
    core = sorted(common.os.sched_getaffinity(0))[0]
    host.sh("ip link add relay0 type veth peer name agents0 && ip link set relay0 up && ip link set agents0 up && "
            "ip addr add 10.1.0.2/24 dev agents0 && ethtool -K agents0 tx off")
    host.path("/etc/sluice/sluiced.yaml").write_text(CONFIG % {"core": core})
    started = host.sh("systemctl start sluiced", check=False)
    check(started.returncode != 0 and "--new-key" in journal(host), "without a key the relay says how to make one")
    check(state_of(host, "sluiced")["NRestarts"] == "0", "and is not started over and over")
    made = as_user(host, "sluice", "sluiced --new-key /var/lib/sluice/relay.key")
    check(made.returncode == 0 and mode_of(host, "/var/lib/sluice/relay.key") == "600 sluice:sluice", "its user makes its key")
    host.sh("systemctl set-environment SSLKEYLOGFILE=/run/sluice/keys && systemctl start sluiced")
    check("relaying on UDP port 7600" in journal(host), "systemctl start ends when the relay relays")


def try_sandbox(host):
    pid = state_of(host, "sluiced")["MainPID"]
    status = dict(line.split(":\t", 1) for line in host.path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    uid = host.sh("id -u sluice").stdout.strip()
    check(set(status["Uid"].split()) == {uid} and uid != "0", "the relay is the user sluice")
    check(all(int(status[c], 16) == CAPABILITIES for c in ("CapEff", "CapPrm", "CapBnd", "CapAmb")),
          "with three capabilities, and no way to more")
    check(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "no new privileges, a seccomp filter")
    check("SSLKEYLOGFILE" not in host.sh(f"tr '\\0' '\\n' < /proc/{pid}/environ").stdout, "SSLKEYLOGFILE does not reach it")
    refused = host.sh(f"nsenter -t {pid} -m -- /usr/bin/touch /run/probe", check=False).stderr
    check("Permission denied" in refused, "in its file system no other program can be started")
    inside = f"/proc/{pid}/root"
    for path in ("/etc/sluice", "/usr", "/var/lib", "/var/log", "/root", "/home"):
        said = host.sh(f"touch {inside}{path}/probe", check=False).stderr
        check("Read-only file system" in said, f"nothing can be written in {path}")
    host.sh("touch /root/probe && install -d /home/somebody")
    check(host.sh(f"ls -A {inside}/root && ls -A {inside}/home").stdout == "", "homes are empty")
    for path in ("/var/lib/sluice", "/run/sluice"):
        host.sh(f"touch {inside}{path}/probe && rm {path}/probe")


def try_operators(host):
    host.sh("useradd -M -G sluice sl-member && useradd -M sl-stranger")
    check(as_user(host, "sl-member", "sluicectl status").returncode == 0, "a member of the group sluice administers the relay")
    refused = as_user(host, "sl-stranger", "sluicectl status")
    check(refused.returncode == 6 and "admin.sock" in refused.stderr, "others do not")
    config = host.path("/etc/sluice/sluiced.yaml")
    good = config.read_text()
    config.write_text(good + "bogus: 1\n")
    check(host.sh("systemctl reload sluiced", check=False).returncode != 0 and "bogus" in journal(host),
          "a reload with a mistake fails and names it")
    check(state_of(host, "sluiced")["ActiveState"] == "active", "and the relay goes on")
    config.write_text(good + "# Mine.\n")
    host.sh("systemctl reload sluiced")


def connected(host):
    return as_user(host, "sluice-agent", "sluice-agent --state /var/lib/sluice-agent/alice status").returncode == 0


def try_agent(host):
    host.sh("sluicectl tenant add acme && sluicectl token create --tenant acme --host 10.1.0.1 > /root/join")
    host.sh("install -d -o sluice-agent -g sluice-agent -m 700 /var/lib/sluice-agent/alice")
    made = as_user(host, "sluice-agent", "sluice-agent --state /var/lib/sluice-agent/alice init --name alice < /root/join")
    check(made.returncode == 0, "the agents' user makes an identity")
    host.sh("systemctl start sluice-agent@alice")
    wait_until("a session of the agent's", lambda: connected(host), 20)
    check("alice" in host.sh("sluicectl agents").stdout, "an agent of the host's connects through its own unit")


def try_upgrade(host, later):
    shutil.copy(later, host.path("/root"))
    before, key = state_of(host, "sluiced"), host.path("/var/lib/sluice/relay.key").read_bytes()
    said = host.sh(f"{DPKG} -i /root/{later.name}").stdout
    check(host.sh("dpkg-query -W -f '${Version}' sluice").stdout == f"{VERSION}+later", "the later version is installed")
    check(state_of(host, "sluiced") == before and connected(host), "the upgrade did not end the tunnels")
    stale = host.sh("systemctl show -p NeedDaemonReload --value sluiced").stdout.strip()
    check(stale == "no", "systemd knows of the later unit")
    check("systemctl restart sluiced" in said, "and says how the new version is taken")
    check("# Mine." in host.path("/etc/sluice/sluiced.yaml").read_text(), "the operator's configuration stays")
    host.sh("systemctl restart sluiced")
    check(host.path("/var/lib/sluice/relay.key").read_bytes() == key and "alice" in host.sh("sluicectl agents").stdout,
          "and so does all state")


def try_remove(host):
    host.sh(f"{DPKG} -r sluice sluice-agent")
    check(state_of(host, "sluiced")["ActiveState"] == "inactive", "removed, the relay is stopped")
    check(not host.path("/usr/sbin/sluiced").exists(), "programs are gone")
    for path in ("/var/lib/sluice/relay.key", "/var/lib/sluice-agent/alice/identity.json"):
        check(host.path(path).exists(), f"{path} stays")
    check("# Mine." in host.path("/etc/sluice/sluiced.yaml").read_text(), "and so does the configuration")
    host.sh(f"{DPKG} -P sluice sluice-agent")
    for path in ("/var/lib/sluice", "/var/lib/sluice-agent", "/etc/sluice", "/run/sluice"):
        check(not host.path(path).exists(), f"purged, {path} is gone")
    check(host.sh("getent passwd sluice").stdout.rstrip().endswith("nologin"),
          "the user stays, whose number must not become another's")


def try_library(host, library):
    """A program is compiled against the development package above this host's own root, which has a compiler."""
    for deb in library:
        shutil.copy(deb, host.path("/root"))
    host.sh(f"{DPKG} -i " + " ".join(f"/root/{deb.name}" for deb in library))
    if host.sh("command -v g++ pkg-config", check=False).returncode == 0:
        host.sh("cd /root && g++ -std=c++17 -Wall -Werror /usr/share/doc/libsluice-agent-dev/examples/ask.cpp "
                "$(pkg-config --cflags --libs sluice-agent) -o ask")
        asked = host.sh("HOME=/root /root/ask bob hello", check=False)
        check(asked.returncode == 1 and "sluice-agent up" in asked.stderr, "a program of the library's runs")
    else:
        print("no compiler in there: the library's example was not compiled")
    host.sh("dpkg --purge libsluice-agent-dev libsluice-agent0")
    check("libsluice-agent" not in host.sh("ls -R /usr/lib/x86_64-linux-gnu /usr/include").stdout, "and nothing of it is left")


def main():
    need_namespaces()
    if not shutil.which("systemd-nspawn") or not shutil.which("dh"):
        print("systemd-nspawn or debhelper is not installed (scripts/setup)")
        raise SystemExit(77)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-package-test-"))
    host = None
    try:
        relay, agent, library, later = build_packages(folder)
        listed = (ROOT / "scripts/packages/run.txt").read_text()
        check_control(relay, re.findall(r"^(librte-(?:bus|net|mempool)-\S+)", listed, re.M))
        host = Container(clean_root(folder / "root", (relay, agent, library[0])) if "--clean" in sys.argv else "/")
        try_install(host, relay, agent)
        try_first_start(host)
        try_sandbox(host)
        try_operators(host)
        try_agent(host)
        try_library(host, library)
        try_upgrade(host, later)
        try_remove(host)
        print("passed")
    except BaseException:
        if host:
            print(journal(host)[-3000:])
        raise
    finally:
        if host:
            host.close()
        subprocess.run(["rm", "-rf", folder], check=False)


main()
