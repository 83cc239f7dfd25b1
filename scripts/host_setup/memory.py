"""Hugepages of 2 MB on each NUMA node that has a core of the relay's, and the file system in which DPDK finds them.

The relay's tables are in pages of 2 MB alone, so pages of 1 GB are neither asked for nor touched."""
import re

from .changes import File, Mount, Value
from .plan import CHANGE, MANUAL, Item

PAGE_MB = 2
BOOT = "/etc/tmpfiles.d/sluice-hugepages.conf"
MOUNT = "/dev/hugepages"


def count_file(node):
    return f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages"


def _node_mb(host, node):
    found = re.search(r"MemTotal:\s+(\d+) kB", host.value(f"/sys/devices/system/node/node{node}/meminfo") or "")
    return int(found[1]) // 1024 if found else None


def plan(host, options):
    if options.relay.mode == "no_huge":
        return [Item("hugepages", "hugepages", "–", "none: eal.mode is no_huge")]
    nodes = host.nodes()
    ours = [n for n, cpus in sorted(nodes.items()) if cpus & options.relay.cores] if nodes else options.nodes
    items, lines = [], []
    for node in ours:
        now = host.value(count_file(node))
        wanted = max(options.pages, int(now or 0))  # somebody else's pages are never taken away
        lines.append(f"w!- {count_file(node)} - - - - {wanted}")
        if host.live:
            items.append(_node(host, node, now, wanted, options))
    items.append(_boot(host, ours, lines, options))
    if host.live and options.relay.mode == "shared":
        items.append(_mount(host))
    return items


def _node(host, node, now, wanted, options):
    what = f"2 MB pages of node {node}"
    if now is None:
        return Item("hugepages", what, "none offered", str(wanted), state=MANUAL,
                    notes=["this kernel or CPU offers none; set eal.mode: no_huge, which costs rate"])
    item = Item("hugepages", what, now, f"{options.pages} ({options.pages * PAGE_MB} MB)")
    if int(now) >= options.pages:
        return item
    memory = _node_mb(host, node)
    if memory is not None and wanted * PAGE_MB > memory * 3 // 4:
        item.state = MANUAL
        item.notes.append(f"the node has {memory} MB, of which at most three quarters are given: ask for fewer with --pages")
        return item
    item.state, item.how = CHANGE, f"echo {wanted} > {count_file(node)}"
    item.changes.append(Value(count_file(node), str(wanted)))
    return item


def _boot(host, ours, lines, options):
    found = re.findall(r"^w!- \S*/node(\d+)/\S* - - - - (\d+)$", host.text(BOOT) or "", re.M)
    asked = {int(node): int(count) for node, count in found}
    now = ", ".join(f"{count} on node {node}" for node, count in sorted(asked.items()))
    item = Item("hugepages", "2 MB pages at boot", now or "not asked for", f"{options.pages} a node", BOOT)
    if any(asked.get(node, 0) < options.pages for node in ours):
        content = "# Sluice: pages for the relay, asked for before memory is in pieces.\n" + "\n".join(lines) + "\n"
        item.state, item.changes = CHANGE, [File(BOOT, content)]
    return item


def _mount(host):
    for line in (host.value("/proc/mounts") or "").splitlines():
        fields = line.split()
        if fields[2] == "hugetlbfs" and "pagesize=2M" in fields[3].split(","):
            return Item("hugepages", "hugetlbfs", fields[1], "mounted")
    item = Item("hugepages", "hugetlbfs", "not mounted", MOUNT, f"mount -t hugetlbfs hugetlbfs {MOUNT}", CHANGE, [Mount(MOUNT)])
    if host.text("/lib/systemd/system/dev-hugepages.mount") is None:
        item.notes.append("without systemd's dev-hugepages.mount it has to be mounted again after a boot: add it to /etc/fstab")
    return item
