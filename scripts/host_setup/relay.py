"""What the relay's configuration says about the host: cores, devices, kind of memory. `sluiced --check` finds its
mistakes; here only what is read must have its form."""
import re
from dataclasses import dataclass, field

import yaml

from .errors import Refused

PCI = re.compile(r"([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")


@dataclass
class Relay:
    source: str
    control: set = field(default_factory=set)
    busy: set = field(default_factory=set)  # workers and verifiers: the cores that are to be left alone
    devices: list = field(default_factory=list)  # PCI addresses, complete
    mode: str = "shared"

    @property
    def cores(self):
        return self.control | self.busy


def pci_address(text, where):
    text = text.strip().lower()
    if not PCI.fullmatch(text):
        raise Refused(f"{where}: '{text}' is no PCI address, such as 0000:3b:00.0; dpdk-devbind.py --status-dev net "
                      "lists them", 2)
    return text if text.count(":") == 2 else "0000:" + text


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name the relay's configuration with --config, or give --cores and "
                      "--devices", 2)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise Refused(f"{path}{line} is no YAML: {getattr(error, 'problem', None) or error}", 2)
    try:
        cores = tree["cores"]
        busy = {int(w["core"]) for w in cores["workers"]} | {int(v) for v in cores.get("verifiers") or []}
        control = {int(cores.get("control", 0))}
        named = [str(port["device"]) for port in tree["ports"]]
        mode = str((tree.get("eal") or {}).get("mode", "shared"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(f"{path} lacks cores.workers or ports with devices, or they have another form: "
                      f"sluiced --check {path} says where", 2)
    return Relay(str(path), control, busy, [pci_address(d, str(path)) for d in named if PCI.fullmatch(d.strip())], mode)
