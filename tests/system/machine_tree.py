"""A machine as the kernel shows it, in a folder: what `sluicectl doctor --from` and `tune --from` read."""


class Machine:
    """Sockets with physical cores of two threads each: core c of a socket has the CPUs c and c + all cores."""

    def __init__(self, root, nodes=2, cores_per_node=8, flags="aes pclmulqdq vaes vpclmulqdq avx512ifma constant_tsc nonstop_tsc"):
        self.root = root
        self.nodes = nodes
        self.cores = nodes * cores_per_node
        self.per_node = cores_per_node
        cpus = range(2 * self.cores)
        self.write("sys/devices/system/cpu/online", f"0-{2 * self.cores - 1}")
        self.isolate("", "")
        for cpu in cpus:
            core = cpu % self.cores
            at = f"sys/devices/system/cpu/cpu{cpu}"
            self.write(f"{at}/topology/physical_package_id", core // cores_per_node)
            self.write(f"{at}/topology/core_id", core % cores_per_node)
            self.write(f"{at}/cpufreq/scaling_governor", "performance")
        for node in range(nodes):
            first = node * cores_per_node
            last = first + cores_per_node - 1
            self.write(f"sys/devices/system/node/node{node}/cpulist",
                       f"{first}-{last},{first + self.cores}-{last + self.cores}")
            self.hugepages(node, 4096)
        self.write("proc/cpuinfo", f"processor\t: 0\nmodel name\t: A Server CPU\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
        self.write("proc/meminfo", "MemTotal:       262144000 kB")
        self.write("proc/net/route", "Iface\tDestination\tGateway\neth9\t00000000\t0102000A")
        self.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc")
        for group in range(20):
            self.folder(f"sys/kernel/iommu_groups/{group}")

    def folder(self, path):
        (self.root / path).mkdir(parents=True, exist_ok=True)

    def write(self, path, text):
        self.folder(str((self.root / path).parent))
        (self.root / path).write_text(f"{text}\n")

    def isolate(self, isolated, tickless):
        self.write("sys/devices/system/cpu/isolated", isolated)
        self.write("sys/devices/system/cpu/nohz_full", tickless)

    def hugepages(self, node, free, kb=2048):
        at = f"sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB"
        self.write(f"{at}/nr_hugepages", free)
        self.write(f"{at}/free_hugepages", free)

    def nic(self, address, node, driver="vfio-pci", interface="", speed=0, mtu=1500, queues=0):
        at = f"sys/bus/pci/devices/{address}"
        for name, text in {"class": "0x020000", "vendor": "0x8086", "device": "0x1592", "numa_node": node}.items():
            self.write(f"{at}/{name}", text)
        link = self.root / at / "driver"
        link.unlink(missing_ok=True)
        if driver:
            self.folder(f"sys/bus/pci/drivers/{driver}")
            link.symlink_to(f"../../drivers/{driver}")
        if interface:
            self.write(f"{at}/net/{interface}/speed", speed)
            self.write(f"{at}/net/{interface}/mtu", mtu)
            self.write(f"sys/class/net/{interface}/mtu", mtu)
            for queue in range(queues):
                self.folder(f"{at}/net/{interface}/queues/rx-{queue}")
