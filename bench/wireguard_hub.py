"""What agent and paths are compared with: wireguard-go as a hub, over the same veth pairs as the relay."""
import os
import shutil
import subprocess

import softirq
from lab import LabError, run, wait_until


class WireGuard:
    """wireguard-go in the relay's namespace, forwarding between the two agents' own."""

    NAMES = ("relay", "alpha", "beta")
    ADDRESS = {"relay": "10.88.0.1", "alpha": "10.88.0.2", "beta": "10.88.0.3"}

    def __init__(self, lab):
        self.lab = lab
        self.children = []

    def wg(self, name, *argv, **kwargs):
        return run("ip", "netns", "exec", self.lab.ns(name), *argv, **kwargs)

    def start(self):
        if not shutil.which("wireguard-go") or not shutil.which("wg"):
            raise LabError("wireguard-go and wg are not installed: run scripts/setup --only bench")
        lab = self.lab
        for name in ("alpha", "beta"):
            device = f"r{lab.names.index(name)}"
            run("ip", "-n", lab.ns("relay"), "addr", "add", f"{lab.address(name, 1)}/24", "dev", device)
            softirq.neighbour(lab.ns("relay"), device, lab.address(name, 2), softirq.mac_of(lab.ns(name), "eth0"))
            softirq.neighbour(lab.ns(name), "eth0", lab.address(name, 1), softirq.mac_of(lab.ns("relay"), device))
        self.wg("relay", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        keys = {n: run("wg", "genkey").stdout.strip() for n in self.NAMES}
        public = {n: run("wg", "pubkey", input=k).stdout.strip() for n, k in keys.items()}
        for i, name in enumerate(self.NAMES):
            device = f"{lab.tag[-7:]}w{i}"
            child = subprocess.Popen(["ip", "netns", "exec", lab.ns(name), "wireguard-go", "-f", device], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, env={**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"})
            self.children.append((child, name, device))
            lab.children.append(child)
            wait_until("wireguard-go's device", lambda n=name, d=device: self.wg(n, "ip", "link", "show", d, check=False).returncode == 0, 10)
            key = lab.dir / f"wg-{name}"
            key.touch(mode=0o600)
            key.write_text(keys[name])
            argv = ["wg", "set", device, "private-key", key, "listen-port", "51820"]
            if name == "relay":
                for peer in ("alpha", "beta"):
                    argv += ["peer", public[peer], "allowed-ips", f"{self.ADDRESS[peer]}/32"]
            else:
                argv += ["peer", public["relay"], "allowed-ips", "10.88.0.0/24", "endpoint", f"{lab.address(name, 1)}:51820",
                         "persistent-keepalive", "5"]
            self.wg(name, *argv)
            self.wg(name, "ip", "addr", "add", f"{self.ADDRESS[name]}/24", "dev", device)
            self.wg(name, "ip", "link", "set", device, "up", "mtu", "1420")

    def stop(self):
        for child, _, _ in self.children:
            self.lab.end(child)
        for name in ("alpha", "beta"):
            run("ip", "-n", self.lab.ns("relay"), "addr", "flush", "dev", f"r{self.lab.names.index(name)}", check=False)
        self.wg("relay", "sysctl", "-qw", "net.ipv4.ip_forward=0", check=False)
