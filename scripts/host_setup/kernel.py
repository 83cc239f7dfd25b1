"""The kernel's arguments, from the next boot on: cores without the kernel's work, and the IOMMU.

isolcpus   domain: the scheduler puts nothing there; managed_irq: drivers' interrupts stay away where they can
nohz_full  no tick while one thread runs; rcu_nocbs: RCU's callbacks run elsewhere
irqaffinity  all other interrupts on the cores that are left"""
from . import cores
from .changes import File
from .plan import CHANGE, MANUAL, REBOOT, Item

GRUB = "/etc/default/grub.d/sluice.cfg"


def arguments(host, options):
    """The words wanted, in order."""
    isolated = options.relay.busy
    online = host.cpus()
    words = []
    if isolated:
        listed = cores.text(isolated)
        words += [f"isolcpus=managed_irq,domain,{listed}", f"nohz_full={listed}", f"rcu_nocbs={listed}"]
        left = (online or set()) - isolated
        if left:
            words.append(f"irqaffinity={cores.text(left)}")
    if options.relay.devices and not options.unsafe_noiommu:
        vendor = host.value("/proc/cpuinfo") or ""
        if not host.live or "GenuineIntel" in vendor:
            words.append("intel_iommu=on")  # AMD's is on where the firmware has it on
        words.append("iommu=pt")
    return words


def plan(host, options):
    words = arguments(host, options)
    if not words:
        return []
    running = (host.value("/proc/cmdline") or "").split()
    missing = [w for w in words if w not in running]
    content = ("# Sluice: cores for the relay's workers alone. Recovery mode boots without.\n"
               f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {" ".join(words)}"\n')
    present = host.text(GRUB)
    now = f"{len(words) - len(missing)} of {len(words)} in force" if host.live else "–"
    item = Item("kernel", "kernel arguments", now, f"{len(words)} in force", f"{GRUB}, update-grub", notes=[" ".join(words)])
    if host.live:
        for word in missing:
            name = word.split("=")[0]
            others = [r for r in running if r.startswith(name + "=")]
            if others:
                item.notes.append(f"the running kernel has {others[0]} from elsewhere: take it out there "
                                  f"(grep -r {name} /etc/default)")
    if host.live and not missing:
        item.how = ""
        return [item]
    if not host.has_program("update-grub"):
        item.state, item.how = MANUAL, "the boot loader's own configuration"
        item.notes.append("there is no GRUB here: add these words to the kernel's command line where your boot loader has it")
    elif present != content:
        item.state, item.changes = CHANGE, [File(GRUB, content, ("update-grub",))]
        if host.live:
            item.notes.append("takes a reboot to be in force")
    elif host.live:
        item.state = REBOOT
        item.notes.append("written: reboot to have them in force")
    return [item]
