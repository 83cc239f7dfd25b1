"""What else disturbs a core that polls: slow clocks, interrupts, and the kernel's own housekeeping."""
import pathlib

from . import cores
from .changes import File, Value, chosen
from .plan import CHANGE, Item

GOVERNOR = "/etc/tmpfiles.d/sluice-governor.conf"
DEFAULT_IRQ = "/proc/irq/default_smp_affinity"
BALANCE = "/etc/systemd/system/irqbalance.service.d/sluice.conf"
SYSCTL = "/etc/sysctl.d/60-sluice.conf"
PAGES = "/etc/tmpfiles.d/sluice-thp.conf"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
# name, value, reason
SETTINGS = [("vm.stat_interval", "10", "each core folds its memory statistics in that often; default 1 s"),
            ("kernel.numa_balancing", "0", "it unmaps pages to see who uses them: faults on workers")]


def _persist(host, step, what, path, content, hooks=()):
    if host.text(path) == content:
        return []
    return [Item(step, what, "no", "yes", path, CHANGE, [File(path, content, hooks)])]


def plan_governor(host, options):
    files = [f"/sys/devices/system/cpu/cpu{c}/cpufreq/scaling_governor" for c in sorted(options.relay.cores)]
    if host.live:
        files = [f for f in files if host.value(f) is not None]
        if not files:
            return [Item("governor", "frequency governor", "none here", "–")]
    items = []
    if host.live:
        other = {f: host.value(f) for f in files if host.value(f) != "performance"}
        item = Item("governor", "frequency governor", ", ".join(sorted(set(other.values()))) or "performance", "performance")
        if other:
            item.state, item.how = CHANGE, f"echo performance > /sys/…/scaling_governor of {len(other)} cores"
            item.changes = [Value(f, "performance", True) for f in other]
        items.append(item)
    content = "# Sluice: a relay's cores at full clock.\n" + "".join(f"w- {f} - - - - performance\n" for f in files)
    return items + _persist(host, "governor", "governor at boot", GOVERNOR, content)


def plan_interrupts(host, options):
    isolated = options.relay.busy
    if not isolated:
        return []
    items = []
    online = host.cpus()
    if host.live and online:
        left = online - isolated
        default = host.value(DEFAULT_IRQ)
        if default is not None and _bits(default) & _bits(cores.mask(isolated)):
            items.append(Item("interrupts", "new interrupts", f"mask {default}", f"mask {cores.mask(left)}",
                              f"echo {cores.mask(left)} > {DEFAULT_IRQ}", CHANGE, [Value(DEFAULT_IRQ, cores.mask(left), True)]))
        items.append(_interrupts(host, options, left))
    if host.has_program("irqbalance"):
        content = ("# Sluice: these cores are the relay's.\n"
                   f"[Service]\nEnvironment=IRQBALANCE_BANNED_CPULIST={cores.text(isolated)}\n")
        items += _persist(host, "interrupts", "irqbalance leaves them alone", BALANCE, content,
                          ("systemctl daemon-reload", "systemctl try-restart irqbalance"))
    return items


def _bits(mask):
    return int(mask.replace(",", ""), 16)


def _interrupts(host, options, left):
    """By where they arrive and may go on arriving: a list that was written holds from the next interrupt on. Those of a
    device's queues, which its driver places, take no other list; isolcpus=managed_irq keeps them away from cores that
    give their queue no work."""
    changes, placed, isolated = [], 0, options.relay.busy
    managed = "isolcpus=managed_irq" in (host.value("/proc/cmdline") or "")
    for folder in sorted(pathlib.Path("/proc/irq").glob("[0-9]*"), key=lambda f: int(f.name)):
        listed = str(folder / "smp_affinity_list")
        arrives = host.value(folder / "effective_affinity_list") or host.value(listed) or ""
        allowed = cores.parse(host.value(listed) or "", listed)
        if not cores.parse(arrives, str(folder)) & allowed & isolated:
            continue
        if listed in options.refusing or (managed and allowed <= isolated):
            placed += 1
        else:
            changes.append(Value(listed, cores.text(allowed - isolated or left), True,
                                 "placed by its driver; isolcpus=managed_irq keeps it away"))
    now = f"{len(changes)} on the relay's cores" if changes else "off the relay's cores"
    item = Item("interrupts", "interrupts", now + (f", {placed} placed by drivers" if placed else ""),
                f"on cores {cores.text(left)}")
    if changes:
        item.state, item.how, item.changes = CHANGE, "/proc/irq/*/smp_affinity_list", changes
    return item


def plan_kernel_work(host, options):
    items, lines = [], []
    for name, value, reason in SETTINGS:
        path = "/proc/sys/" + name.replace(".", "/")
        now = host.value(path)
        lines.append(f"# {reason}\n-{name} = {value}\n")
        if now is not None:
            item = Item("quiet", name, now, value)
            if now != value:
                item.state, item.how, item.changes = CHANGE, f"sysctl -w {name}={value}", [Value(path, value)]
            items.append(item)
    items += _persist(host, "quiet", "sysctl at boot", SYSCTL, "# Sluice\n" + "".join(lines))
    thp = chosen(host.value(THP))
    if thp is not None:
        item = Item("quiet", "transparent hugepages", thp, "madvise")
        if thp == "always":  # never is as good
            item.state, item.how, item.changes = CHANGE, f"echo madvise > {THP}", [Value(THP, "madvise")]
        items.append(item)
    if thp in (None, "always"):
        items += _persist(host, "quiet", "transparent hugepages at boot", PAGES,
                          "# Sluice: khugepaged moves pages of running programs, which interrupts all their cores.\n"
                          f"w- {THP} - - - - madvise\n")
    return items
