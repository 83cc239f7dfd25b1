"""The relay's NICs: IOMMU, vfio-pci, and the binding through dpdk-devbind.py, now and at each boot.

A NIC that carries the host's own traffic is refused, also where dpdk-devbind.py would not notice: behind a bridge, a
bond or a VLAN."""
import json
import os
import pathlib

from .changes import DRIVERS, Bind, File, Link, Module, Value, driver_of
from .errors import Refused
from .plan import CHANGE, MANUAL, REFUSED, Item

MODULES = "/etc/modules-load.d/sluice.conf"
NOIOMMU = "/etc/modprobe.d/sluice-vfio.conf"
NOIOMMU_NOW = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
UNIT = "/etc/systemd/system/sluice-bind.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/sluice-bind.service"
# DPDK drives these beside the kernel's driver, which has to stay.
SHARED_DRIVERS = {"mlx4_core", "mlx5_core"}
NOIOMMU_WARNING = ("without an IOMMU the NIC, and whoever controls it, can write to all of the host's memory; "
                   "the kernel marks itself as tainted")


def unit(devices):
    return f"""# Sluice: the relay's NICs leave the kernel before the network starts.
[Unit]
Description=Bind the relay's NICs to vfio-pci
DefaultDependencies=no
After=local-fs.target systemd-modules-load.service
Before=network-pre.target sluiced.service
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/dpdk-devbind.py --bind=vfio-pci {' '.join(devices)}

[Install]
WantedBy=multi-user.target
"""


def _file(host, step, what, path, content, hooks=()):
    present = host.text(path)
    now = "yes" if present == content else "no" if present is None else "otherwise"
    item = Item(step, what, now, "yes", path)
    if present != content:
        item.state = CHANGE
        item.changes.append(File(path, content, hooks))
    return item


# --- IOMMU and vfio

def plan_iommu(host, options):
    if not options.relay.devices:
        return []
    items = []
    if host.live:
        groups = len(list(pathlib.Path("/sys/kernel/iommu_groups").glob("*")))
        item = Item("iommu", "IOMMU", f"on, {groups} groups" if groups else "off", "on")
        if not groups and not options.unsafe_noiommu:
            item.state = MANUAL
            item.notes.append("turn on VT-d or AMD-Vi in the firmware; the kernel's arguments below do the rest. Where there "
                              f"is none, as in most virtual machines: --unsafe-noiommu, but {NOIOMMU_WARNING}")
        elif not groups:
            item.wanted = "off, by --unsafe-noiommu"
            item.notes.append("WARNING: " + NOIOMMU_WARNING)
        items.append(item)
    if options.unsafe_noiommu:
        items.append(_file(host, "iommu", "vfio without IOMMU at boot", NOIOMMU,
                           "# Sluice: by --unsafe-noiommu.\noptions vfio enable_unsafe_noiommu_mode=1\n"))
        if host.value(NOIOMMU_NOW) == "N":
            items.append(Item("iommu", "vfio without IOMMU", "no", "yes", f"echo Y > {NOIOMMU_NOW}", CHANGE,
                              [Value(NOIOMMU_NOW, "Y", True)]))
    return items


def plan_vfio(host, options):
    if not _to_bind(options.relay.devices):
        return []
    items = [_file(host, "vfio", "vfio-pci at boot", MODULES,
                   "# Sluice: the driver that hands NICs to the relay.\nvfio-pci\n")]
    if host.live:
        item = Item("vfio", "vfio-pci", "loaded", "loaded")
        if not pathlib.Path("/sys/bus/pci/drivers/vfio-pci").exists():
            item.now, item.how = "not loaded", "modprobe vfio-pci"
            if pathlib.Path(f"/lib/modules/{os.uname().release}").exists():
                item.state, item.changes = CHANGE, [Module("vfio-pci")]
            else:
                item.state = MANUAL
                item.notes.append("this kernel has no modules here: boot one that has vfio-pci, such as that of "
                                  "Debian's linux-image-amd64")
        items.append(item)
    return items


def _to_bind(devices):
    return [d for d in devices if driver_of(d) not in SHARED_DRIVERS]


# --- binding

def interfaces_of(device):
    """Interfaces of the kernel's on that device, and what stands upon them: bridges, bonds, VLANs."""
    found = {p.name for p in (DRIVERS / device).glob("**/net/*")} if (DRIVERS / device).exists() else set()
    todo = list(found)
    while todo:
        for upper in pathlib.Path("/sys/class/net", todo.pop()).glob("upper_*"):
            name = upper.name.removeprefix("upper_")
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def carriers(host):
    """By interface, why the host needs it."""
    out = {}
    for version in ("-4", "-6"):
        for route in json.loads(host.run("ip", "-j", version, "route", "show", "table", "all") or "[]"):
            if route.get("type", "unicast") != "unicast" or route["dst"].startswith(("fe80:", "169.254", "ff00:")):
                continue
            for name in [h.get("dev") for h in route.get("nexthops", [route])]:
                if route["dst"] == "default":
                    out[name] = "has the default route"
                else:
                    out.setdefault(name, f"has the route {route['dst']}")
    fields = os.environ.get("SSH_CONNECTION", "").split()
    if len(fields) == 4:
        for link in json.loads(host.run("ip", "-j", "address", "show") or "[]"):
            if any(a.get("local") == fields[2] for a in link.get("addr_info", [])):
                out[link["ifname"]] = "carries this SSH session"
    return out


def plan_bind(host, options):
    if not options.relay.devices:
        return []
    items = []
    if host.live:
        needed = carriers(host)
        items = [_device(host, options, device, needed) for device in options.relay.devices]
    stays = {i.what for i in items if i.state == REFUSED}
    devices = [d for d in _to_bind(options.relay.devices) if d not in stays]
    if devices:
        items.append(_file(host, "bind", "binding at boot", UNIT, unit(devices), ("systemctl daemon-reload",)))
        link = host.path(ENABLED)
        if not link.is_symlink():
            items.append(Item("bind", "binding at boot: unit", "not enabled", "enabled",
                              f"systemctl enable {os.path.basename(UNIT)}", CHANGE, [Link(ENABLED, UNIT)]))
    return items


def _device(host, options, device, needed):
    folder = DRIVERS / device
    item = Item("bind", device, "", "vfio-pci")
    if not folder.exists():
        item.now, item.state = "not there", REFUSED
        item.notes.append("no such PCI device: dpdk-devbind.py --status-dev net lists them")
        return item
    driver = driver_of(device)
    names = interfaces_of(device)
    item.now = (driver or "no driver") + (f" ({', '.join(sorted(names))})" if names else "")
    if not (folder / "class").read_text().startswith("0x02"):
        item.state = REFUSED
        item.notes.append("is no network device and is never bound")
    elif driver in SHARED_DRIVERS:
        item.wanted = driver
        item.notes.append(f"stays with {driver}: DPDK's driver works beside it")
    elif driver != "vfio-pci":
        item.how = f"dpdk-devbind.py --bind=vfio-pci{' --force' if options.force_bind else ''} {device}"
        reasons = [f"{n} {needed[n]}" for n in sorted(names) if n in needed]
        if reasons and not options.force_bind:
            item.state = REFUSED
            item.notes.append(f"{reasons[0]}: bound away it would cut the host off. Move that first, or insist with "
                              "--force-bind")
        else:
            item.state, item.changes = CHANGE, [Bind(device, "vfio-pci", options.force_bind)]
            item.notes.extend(f"{r}, and goes by --force-bind" for r in reasons)
    for other in (folder / "iommu_group/devices").glob("*"):
        beside = driver_of(other.name)
        if beside not in (None, "vfio-pci", "pcieport") and other.name not in options.relay.devices:
            item.notes.append(f"shares its IOMMU group with {other.name} ({beside}): vfio gives it to nobody until that has "
                              "no driver either")
    return item


def check_devices(devices, where):
    if len(set(devices)) != len(devices):
        raise Refused(f"{where}: a device is named twice", 2)
