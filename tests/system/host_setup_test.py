#!/usr/bin/python3
"""scripts/host-setup on this machine's own kernel and on an image: what it shows, does, refuses and takes back.

/etc and /dev are copies of its own in a mount namespace; the kernel's values are real and put back. No device is bound:
the one with the default route is tried, and both host-setup and dpdk-devbind.py have to refuse it."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from common import ROOT, check, run

SETUP = ROOT / "scripts/host-setup"
STAT_INTERVAL = pathlib.Path("/proc/sys/vm/stat_interval")
PAGES = pathlib.Path("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages")
HUGEPAGES_AT_BOOT = pathlib.Path("/etc/tmpfiles.d/sluice-hugepages.conf")
CONFIG = """
eal: {{ mode: shared }}
ports:
  - {{ name: north, device: "3b:00.0" }}
  - {{ name: south, device: "0000:3b:00.1" }}
  - {{ name: veth, device: "net_af_packet0,iface=eth1" }}
cores: {{ control: 0, workers: [{{ core: {0}, queues: [north/0] }}], verifiers: [] }}
"""


def host_setup(*args, code=0, **kwargs):
    done = run(SETUP, *args, check=False, **kwargs)
    if done.returncode != code:
        said = done.stdout + done.stderr
        check(False, f"host-setup {' '.join(map(str, args))} ends with {code}, not {done.returncode}: {said}")
    return done


def tree(folder):
    """Everything below it: names, kinds, contents."""
    out = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_symlink():
            out[str(path)] = os.readlink(path)
        else:
            out[str(path)] = path.read_bytes() if path.is_file() else "folder"
    return out


def kernel_values():
    """All that host-setup might write here, but hugepages, which others ask for as well."""
    files = [STAT_INTERVAL, pathlib.Path("/proc/irq/default_smp_affinity"),
             pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled"),
             *pathlib.Path("/proc/irq").glob("*/smp_affinity_list"),
             *pathlib.Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")]
    return {str(f): f.read_text() for f in files if f.exists()}


def states(done):
    return {i["what"]: i["state"] for i in json.loads(done.stdout)["items"]}


def bad_input(work):
    help_text = host_setup("--help").stdout
    check("scripts/setup" in help_text and "examples:" in help_text
          and "host-setup" in run(ROOT / "scripts/setup", "--help").stdout,
          "--help teaches, and each of the two setups names the other")
    wrong = [(("--cores", "2-x", "--devices", ""), "is no list of cores"),
             (("--cores", "1", "--devices", "eth0"), "is no PCI address"),
             (("--cores", "4096", "--devices", ""), "core 4096 is not one of this host's"),
             (("--cores", "0", "--devices", ""), "core 0 does the kernel's own work"),
             (("--config", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory; name"),
             (("--cores", "1", "--devices", "", "--pages", "0"), "more than nothing"),
             (("--cores", "1", "--devices", "3b:00.0,0000:3b:00.0"), "named twice"), (("--root", "/nowhere"), "is no folder"),
             (("--appl",), "unrecognized")]
    for args, sentence in wrong:
        said = host_setup(*args, code=2).stderr
        check(sentence in said and "Traceback" not in said, f"{' '.join(args)}: {sentence}")
    for text, sentence in (("ports: [", "yaml:1 is no YAML"), ("ports: []\n", "lacks cores.workers"),
                           ("cores: { workers: [{ core: one }] }\nports: []", "lacks")):
        (work / "bad.yaml").write_text(text)
        check(sentence in host_setup("--config", work / "bad.yaml", code=2).stderr, f"a configuration that is none: {sentence}")
    (work / "state").mkdir()
    (work / "state/changes.json").write_text("{")
    check("nothing is changed before" in host_setup("--undo", "--state-dir", work / "state", code=1).stderr,
          "a damaged state is not guessed at")
    shutil.rmtree(work / "state")


def on_this_host(work):
    """Hugepages, interrupts and settings of the running kernel, there and back."""
    known = ("--cores", "1", "--devices", "", "--state-dir", work / "state")
    before, etc, pages = kernel_values(), tree("/etc"), int(PAGES.read_text())
    shown = host_setup(*known).stdout
    host_setup(*known, "--check", code=1)
    check(kernel_values() == before and tree("/etc") == etc and not (work / "state").exists(),
          "showing and checking change nothing")
    check("Nothing was changed" in shown and "vm.stat_interval" in shown, "and it says so")
    try:
        there(work, known, before, pages)
    finally:
        back = host_setup("--undo", "--state-dir", work / "state").stdout
    check(kernel_values() == before and tree("/etc") == etc, "--undo: every value and file as before")
    check(int(PAGES.read_text()) == pages and "stays" not in back, f"and {pages} hugepages")
    check("Nothing to undo" in host_setup("--undo", "--state-dir", work / "state").stdout and not (work / "state").exists(),
          "once")


def there(work, known, before, pages):
    wanted = (*known, "--pages", str(pages + 2), "--only", "hugepages", "quiet", "interrupts")
    host_setup(*wanted, "--apply")
    got = int(PAGES.read_text())
    check(got >= pages + 2, f"hugepages: {pages} before, {got} now")
    check(STAT_INTERVAL.read_text() == "10\n"
          and "vm.stat_interval = 10" in pathlib.Path("/etc/sysctl.d/60-sluice.conf").read_text(),
          "a setting holds now and at boot")
    check(f"w!- {PAGES} - - - - {pages + 2}\n" in HUGEPAGES_AT_BOOT.read_text(), "hugepages are asked for at boot, by node")
    check(any(line.split()[1:3] == ["/dev/hugepages", "hugetlbfs"]
              for line in pathlib.Path("/proc/mounts").read_text().splitlines()),
          "hugetlbfs is mounted")
    moved = {f: v for f, v in kernel_values().items() if f.endswith("smp_affinity_list") and v != before[f]}
    check(moved and not any("1" in v for v in moved.values()), f"{len(moved)} interrupts were moved away from core 1")
    good = json.loads(host_setup(*wanted, "--check", "--json").stdout)
    check(good["good"] and all(i["state"] == "good" for i in good["items"]), "--check agrees")
    state = (work / "state/changes.json").read_text()
    host_setup(*wanted, "--apply")
    check(json.loads((work / "state/changes.json").read_text())["entries"] == json.loads(state)["entries"],
          "a second run changes nothing and forgets nothing")
    fewer = (*known, "--pages", "1", "--only", "hugepages", "--apply")
    host_setup(*fewer)
    check(int(PAGES.read_text()) == got and f"- {pages + 2}\n" in HUGEPAGES_AT_BOOT.read_text(),
          "who asks for fewer takes nobody's away")


def somebody_else(work):
    """What was changed since is not host-setup's any more."""
    known = ("--cores", "1", "--devices", "", "--state-dir", work / "state", "--only", "quiet")
    before = STAT_INTERVAL.read_text()
    host_setup(*known, "--apply")
    try:
        STAT_INTERVAL.write_text("7\n")
        with open("/etc/sysctl.d/60-sluice.conf", "a") as file:
            file.write("# mine\n")
        said = host_setup("--undo", "--state-dir", work / "state").stdout
        check(STAT_INTERVAL.read_text() == "7\n" and "somebody else changed it" in said,
              "a value that somebody else set since stays")
        check(pathlib.Path("/etc/sysctl.d/60-sluice.conf").read_text().endswith("# mine\n") and "was changed since" in said,
              "and so does a file")
    finally:
        STAT_INTERVAL.write_text(before)
        pathlib.Path("/etc/sysctl.d/60-sluice.conf").unlink()


def default_route_device():
    """The PCI device behind the default route, or None."""
    routes = json.loads(run("ip", "-j", "route", "show", "default").stdout or "[]")
    for route in routes:
        device = pathlib.Path("/sys/class/net", route.get("dev", "-"), "device")
        for part in reversed(device.resolve().parts if device.exists() else ()):
            if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d", part):
                return part
    return None


def binding(work):
    device = default_route_device()
    if device is None:
        print("no PCI device has the default route here: that it is not bound is not tried")
        return
    link = pathlib.Path("/sys/bus/pci/devices", device, "driver")
    driver = os.readlink(link)
    items = json.loads(host_setup("--cores", "1", "--devices", f"{device},0000:ff:1f.7", "--check", "--json",
                                  code=1).stdout)["items"]
    mine = next(i for i in items if i["what"] == device)
    check(mine["state"] == "refused" and "default route" in mine["notes"][0] and os.path.basename(driver) in mine["now"],
          f"{device} has the default route and is refused")
    check(next(i for i in items if i["what"] == "0000:ff:1f.7")["state"] == "refused", "a device that is not there is refused")
    check(not any(i["what"] == "binding at boot" for i in items), "neither is bound at boot")
    # Past host-setup's own look: the real dpdk-devbind.py is run, refuses, and that is noticed whatever it ends with.
    record = work / "bin/dpdk-devbind.py"
    record.parent.mkdir()
    record.write_text(f'#!/bin/sh\necho "$@" >> {work}/devbind\nexec /usr/bin/dpdk-devbind.py "$@"\n')
    record.chmod(0o755)
    script = (f"import sys; sys.path.insert(0, '{ROOT}/scripts'); sys.dont_write_bytecode = True\n"
              "from host_setup import changes, host, state\nfrom host_setup.errors import Refused\n"
              f"h = host.Host(); s = state.State(h, '{work}/state'); s.open()\n"
              f"try: changes.Bind('{device}', 'vfio-pci').make(h, s)\n"
              "except Refused as e: print('refused:', e, len(s.entries))\ns.close()\n")
    said = run("/usr/bin/python3", "-c", script, env={**os.environ, "PATH": f"{work}/bin:{os.environ['PATH']}"}).stdout
    check((work / "devbind").read_text() == f"--bind=vfio-pci {device}\n",
          "dpdk-devbind.py was asked with the device and the driver alone")
    check(said.startswith("refused: dpdk-devbind.py") and said.endswith(" 0\n") and os.readlink(link) == driver,
          f"it refuses, and nothing is noted: {said.strip()}")


def image(work):
    """Below --root: files alone."""
    root = work / "image"
    for folder in ("etc/modules-load.d", "usr/sbin"):
        (root / folder).mkdir(parents=True)
    (root / "etc/modules-load.d/sluice.conf").write_text("# an administrator's\nvfio-pci\n")
    for program in ("update-grub", "irqbalance"):
        (root / "usr/sbin" / program).write_text("#!/bin/sh\nexit 1\n")
    (work / "relay.yaml").write_text(CONFIG.format(5))
    before, values = tree(root), kernel_values()
    args = ("--root", root, "--config", work / "relay.yaml", "--nodes", "0,1", "--hugepages-gb", "2")
    listed = states(host_setup(*args, "--json"))
    check(listed["kernel arguments"] == "change" and "IOMMU" not in listed and tree(root) == before,
          "the plan for an image leaves out what only a running host has")
    said = host_setup(*args, "--apply").stdout
    check("update-grub: to be run in the image" in said and kernel_values() == values,
          "nothing of this machine is changed, no program of the image run")
    at_boot = (root / "etc/tmpfiles.d/sluice-hugepages.conf").read_text()
    check(at_boot.count(" 1024\n") == 2 and "/node1/" in at_boot, "2 GB on each of two nodes")
    words = run("sh", "-c", f"GRUB_CMDLINE_LINUX_DEFAULT=quiet; . {root}/etc/default/grub.d/sluice.cfg; "
                "echo $GRUB_CMDLINE_LINUX_DEFAULT").stdout.split()
    check(words == ["quiet", "isolcpus=managed_irq,domain,5", "nohz_full=5", "rcu_nocbs=5", "intel_iommu=on", "iommu=pt"],
          f"what GRUB reads: {words}")
    unit = root / "etc/systemd/system/sluice-bind.service"
    check("--bind=vfio-pci 0000:3b:00.0 0000:3b:00.1\n" in unit.read_text(),
          "both PCI ports are bound at boot, the virtual one is not")
    check(os.readlink(unit.parent / "multi-user.target.wants" / unit.name) == f"/etc/systemd/system/{unit.name}",
          "by a unit that is enabled")
    check((root / "etc/tmpfiles.d/sluice-governor.conf").read_text().count("performance\n") == 2,
          "the governor, of control's core and the worker's")
    check("BANNED_CPULIST=5\n" in (root / "etc/systemd/system/irqbalance.service.d/sluice.conf").read_text(),
          "irqbalance leaves core 5 alone")
    check(not (root / "etc/modprobe.d").exists(), "vfio without IOMMU is nothing that happens by itself")
    if shutil.which("systemd-analyze"):
        warnings = run("systemd-analyze", "verify", "--man=no", unit, check=False).stderr
        check(f"{unit.name}:" not in warnings.replace("sluiced", ""), f"systemd takes the unit: {warnings.strip()}")
    if shutil.which("systemd-tmpfiles"):
        tried = run("systemd-tmpfiles", "--create", f"--root={work}/empty", *(root / "etc/tmpfiles.d").glob("*.conf"),
                    check=False)
        check("line" not in tried.stderr.lower() and ":" not in tried.stderr,
              f"systemd-tmpfiles takes the files: {tried.stderr.strip()}")
    check(json.loads(host_setup(*args, "--check", "--json").stdout)["good"], "--check of the image agrees")
    host_setup(*args, "--apply", "--unsafe-noiommu")
    check("enable_unsafe_noiommu_mode=1" in (root / "etc/modprobe.d/sluice-vfio.conf").read_text(), "unless it is asked for")
    host_setup("--root", root, "--undo")
    check({k: v for k, v in tree(root).items() if "/var" not in k} == before,
          "--undo: the image as it was, the administrator's file among it")
    return args, before


def killed(work, args, before):
    """kill -9 at any instant of --apply; --undo then still puts everything back."""
    root = args[1]
    state = root / "var/lib/sluice-host-setup/changes.json"
    halfway = 0
    for n in range(8):
        child = subprocess.Popen([SETUP, *args, "--apply"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not state.exists() and child.poll() is None:
            time.sleep(0.0005)
        time.sleep(n * 0.002)
        child.kill()
        halfway += child.wait() != 0
        host_setup("--root", root, "--undo")
        now = {k: v for k, v in tree(root).items() if "/var" not in k}
        if now != before:
            check(False, f"after a kill all is as before: {set(now) ^ set(before)}")
    check(halfway > 0, f"{halfway} of 8 runs were killed on their way, and undone")


def main():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        print("error: a mount namespace needs root: run this as root or with sudo")
        raise SystemExit(77)
    if "inside" not in sys.argv:
        work = tempfile.mkdtemp(prefix="sluice-host-")
        try:
            raise SystemExit(subprocess.run(["unshare", "-m", "--propagation", "private", "/usr/bin/python3", __file__,
                                             "inside", work]).returncode)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    work = pathlib.Path(sys.argv[2])
    run("mount", "-t", "tmpfs", "tmpfs", work)
    (work / "up").mkdir()
    (work / "work").mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={work}/up,workdir={work}/work", "/etc")
    bad_input(work)
    args, before = image(work)
    killed(work, args, before)
    binding(work)
    try:
        writable = os.cpu_count() > 1 and PAGES.exists() and os.access(PAGES, os.W_OK)
        PAGES.write_text(PAGES.read_text())
    except OSError:
        writable = False
    if writable:
        on_this_host(work)
        somebody_else(work)
    else:
        print("this kernel's values cannot be written here, or there is one core: the running host is not tried")
    print("passed")


main()
