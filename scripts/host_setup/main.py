"""scripts/host-setup: shows what a relay host lacks; --apply does it, --undo takes it back, --check only tells."""
import argparse
import json
import os
import pathlib
import sys

from . import cores, devices, kernel, memory, quiet, relay
from .changes import UNDO
from .errors import Refused
from .host import Host
from .plan import CHANGE, GOOD, MANUAL, REBOOT, REFUSED, paint, table
from .state import FOLDER, State

STEPS = {"hugepages": memory.plan, "iommu": devices.plan_iommu, "vfio": devices.plan_vfio, "bind": devices.plan_bind,
         "kernel": kernel.plan, "governor": quiet.plan_governor, "interrupts": quiet.plan_interrupts,
         "quiet": quiet.plan_kernel_work}
CONFIG = "/etc/sluice/sluiced.yaml"

HELP = """\
Prepares a Debian 12 host to run a relay at its full rate. Without --apply nothing is changed: a table shows what is,
what should be, and how. It is for hosts that run a relay; scripts/setup is for machines that build and test Sluice
(packages, a few hugepages until the next boot).

Cores and devices come from the relay's configuration, so that they are said once.

steps (--only and --without name them):
  hugepages   of 2 MB, on each NUMA node with a core of the relay's, now and at boot; hugetlbfs. Never fewer than
              there are; pages of 1 GB are of no use to the relay and left alone
  iommu       tells its state; --unsafe-noiommu goes on without one
  vfio        vfio-pci, loaded now and at boot
  bind        the ports' PCI devices to vfio-pci by dpdk-devbind.py, now and at boot; never a device that the host's
              own routes or this SSH session need
  kernel      arguments for isolated, tickless cores and the IOMMU, through /etc/default/grub.d/sluice.cfg; they
              take a reboot
  governor    performance, on the relay's cores
  interrupts  off the workers' cores; irqbalance leaves those alone
  quiet       vm.stat_interval, kernel.numa_balancing, transparent hugepages
"""
EXAMPLES = """\
examples:
  scripts/host-setup                                   show what /etc/sluice/sluiced.yaml needs
  scripts/host-setup --apply && reboot                 do it
  scripts/host-setup --check --json                    for monitoring
  scripts/host-setup --cores 2-5 --devices 0000:3b:00.0,0000:3b:00.1 --hugepages-gb 2
  scripts/host-setup --root /mnt/image --config relay.yaml --apply
  scripts/host-setup --undo                            put back what was there before

exit codes: 0 done, or --check found all as it should be; 1 something is missing or failed; 2 wrong usage;
77 no root"""


def arguments(argv):
    p = argparse.ArgumentParser(prog="scripts/host-setup", description=HELP, epilog=EXAMPLES, allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    act = p.add_mutually_exclusive_group()
    act.add_argument("--apply", action="store_true", help="change the host; what was there before is kept for --undo")
    act.add_argument("--check", action="store_true", help="only report; exit code 1 if anything is not as it should be")
    act.add_argument("--undo", action="store_true", help="put back what --apply changed, unless somebody else changed it since")
    p.add_argument("--config", metavar="FILE", help=f"the relay's configuration ({CONFIG}): its cores and devices")
    p.add_argument("--cores", metavar="LIST", help="the workers' and verifiers' cores, such as 2-5,8, in their place")
    p.add_argument("--devices", metavar="LIST", help='PCI addresses in place of the configuration\'s; "" for none')
    pages = p.add_mutually_exclusive_group()
    pages.add_argument("--hugepages-gb", type=float, metavar="N",
                       help="GB on each of the relay's NUMA nodes (1); sluicectl tune says what a relay needs")
    pages.add_argument("--pages", type=int, metavar="N", help="the same as a number of 2 MB pages")
    p.add_argument("--nodes", metavar="LIST", default="0", help="with --root: the NUMA nodes that get them (0)")
    p.add_argument("--only", nargs="+", metavar="STEP", choices=STEPS, default=list(STEPS), help="these steps alone")
    p.add_argument("--without", nargs="+", metavar="STEP", choices=STEPS, default=[], help="all steps but these")
    p.add_argument("--unsafe-noiommu", action="store_true",
                   help=f"use vfio where there is no IOMMU; {devices.NOIOMMU_WARNING}")
    p.add_argument("--force-bind", action="store_true",
                   help="bind devices that the host's own traffic needs as well: it may cut you off")
    p.add_argument("--root", metavar="DIR", default="/",
                   help="prepare the image below DIR: files alone, nothing of this machine is changed")
    p.add_argument("--state-dir", metavar="DIR", default=FOLDER, help=f"where changes are noted ({FOLDER}), below --root")
    p.add_argument("--json", action="store_true", help="for programs")
    return p.parse_args(argv)


class Options:
    """Arguments, checked, with what the relay's configuration says."""

    def __init__(self, a, host):
        self.steps = [s for s in STEPS if s in a.only and s not in a.without]
        self.unsafe_noiommu, self.force_bind = a.unsafe_noiommu, a.force_bind
        self.nodes = sorted(cores.parse(a.nodes, "--nodes"))
        self.pages = a.pages if a.pages is not None else round((1 if a.hugepages_gb is None else a.hugepages_gb) * 512)
        if self.pages < 1:
            raise Refused("--hugepages-gb and --pages want more than nothing; leave the step out with --without hugepages", 2)
        if a.cores is not None and a.devices is not None and a.config is None:
            self.relay = relay.Relay("--cores")
        else:
            self.relay = relay.read(a.config or host.path(CONFIG))
        if a.cores is not None:
            self.relay.busy = cores.parse(a.cores, "--cores")
        if a.devices is not None:
            self.relay.devices = [relay.pci_address(d, "--devices") for d in a.devices.split(",") if d.strip()]
        devices.check_devices(self.relay.devices, self.relay.source)
        self.check_cores(host)

    def check_cores(self, host):
        online, busy = host.cpus(), self.relay.busy
        if online is not None and not self.relay.cores <= online:
            raise Refused(f"{self.relay.source}: core {min(self.relay.cores - online)} is not one of this host's, which are "
                          f"{cores.text(online)}", 2)
        if 0 in busy and {"kernel", "interrupts"} & set(self.steps):
            raise Refused(f"{self.relay.source}: core 0 does the kernel's own work and cannot be a worker's alone; move that "
                          "worker, or leave the steps out with --without kernel interrupts", 2)


def make_plan(host, options, state):
    options.refusing = state.refusing(host.boot())
    return [item for step in options.steps for item in STEPS[step](host, options)]


def show(items, as_json):
    bad = [i for i in items if i.state != GOOD]
    if as_json:
        print(json.dumps({"good": not bad, "reboot": any(i.state == REBOOT for i in items),
                          "items": [i.as_json() for i in items]}, indent=1))
    else:
        print(table(items))
    return bad


def run_hooks(host, state):
    for hook in list(state.hooks):
        if not host.live:
            print(f"{hook}: to be run in the image")
        elif host.has_program(hook.split()[0]) and (not hook.startswith("systemctl ") or os.path.isdir("/run/systemd/system")):
            print(f"  ..  {hook}", flush=True)
            host.run(*hook.split())
        state.hooks.remove(hook)
        state.save()


def apply(host, options, items, state):
    failed = 0
    for item in items:
        if item.state != CHANGE:
            continue
        try:
            said = [s for s in (change.make(host, state) for change in item.changes) if s]
            print(f"  {paint('32', 'ok')}  {item.what}: {item.wanted}", flush=True)
            for sentence in said:
                print(f"      {sentence}")
        except (Refused, OSError) as error:
            failed += 1
            print(f"  {paint('31', 'fail')}  {item.what}: {error}", flush=True)
    run_hooks(host, state)
    return failed


def undo(host, state):
    failed = 0
    if not state.entries and not state.hooks:
        print("Nothing to undo.")
        return 0
    for entry in reversed(list(state.entries)):
        try:
            sentence = UNDO[entry["kind"]](host, state, entry)
            state.drop(entry)
            print(f"  {paint('32', 'ok')}  {entry['name']}" + (f": {sentence}" if sentence else ""), flush=True)
        except (Refused, OSError) as error:
            failed += 1
            print(f"  {paint('31', 'fail')}  {entry['name']}: {error}", flush=True)
    rebooting = any("update-grub" in h for h in state.hooks)
    run_hooks(host, state)
    if rebooting:
        print("The kernel's arguments go with the next boot: reboot.")
    return failed


def work(a):
    root = pathlib.Path(a.root).resolve()
    if not root.is_dir():
        raise Refused(f"--root {a.root} is no folder", 2)
    host = Host(root)
    state = State(host, a.state_dir)
    if a.undo:
        if state.file.exists():
            state.open()
        try:
            return 1 if undo(host, state) else 0
        finally:
            state.close()
    options = Options(a, host)
    items = make_plan(host, options, state)
    if not a.apply:
        bad = show(items, a.json)
        if not a.json and any(i.state == CHANGE for i in bad):
            print("Nothing was changed: --apply does what is marked as change.")
        return 1 if a.check and bad else 0
    return apply_and_tell(host, options, items, state, a.json)


def apply_and_tell(host, options, items, state, as_json):
    if not as_json:
        print(table(items))
    state.open()
    output = sys.stdout
    if as_json:
        sys.stdout = sys.stderr  # what happens is for eyes, the result for the program
    try:
        failed = apply(host, options, items, state)
    finally:
        sys.stdout = output
        state.close()
    left = make_plan(host, options, state)
    if as_json:
        show(left, True)
    else:
        tell(left, state)
    return 1 if failed or any(i.state in (CHANGE, MANUAL, REFUSED) for i in left) else 0


def tell(left, state):
    for item in left:
        if item.state in (MANUAL, REFUSED, CHANGE):
            print(f"{paint('33', 'left:')} {item.what} is {item.now or '–'}, wanted: {item.wanted}")
            print("".join(f"      {n}\n" for n in item.notes), end="")
    if any(i.state == REBOOT for i in left):
        print(paint("33", "Reboot") + " to have the kernel's arguments in force; then --check says whether all is well.")
    if state.entries:
        print(f"What was there before is in {state.file}; --undo puts it back.")


def main(argv):
    a = arguments(argv)
    try:
        code = work(a)
        sys.stdout.flush()
        return code
    except Refused as error:
        print(f"{paint('31', 'error:', sys.stderr)} {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:  # the reader has seen enough; what was begun is in the state
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: run host-setup --apply again to go on, or --undo to go back.", file=sys.stderr)
        return 130
