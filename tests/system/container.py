"""A machine with a systemd of its own, in namespaces: for tests of packages and units. Its root is this host's or a given
folder, with a layer in memory above it: nothing of it is changed, and all of it is gone afterwards."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from common import LabError, run, wait_until

# Left to itself, systemd-nspawn would keep locked memory and /sys/module away from the relay, which no host does.
BOOT = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$DIR"
mkdir "$DIR/upper" "$DIR/work" "$DIR/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DIR/upper,workdir=$DIR/work" "$DIR/root"
exec systemd-nspawn --quiet --register=no --keep-unit --boot --private-network --system-call-filter=@memlock \\
  --bind-ro=/sys/module --link-journal=no --timezone=off --resolv-conf=off --console=pipe \\
  --machine="$NAME" --directory="$DIR/root" systemd.unit=basic.target
"""


class Container:
    def __init__(self, lower="/"):
        self.dir = tempfile.mkdtemp(prefix="sluice-container-")
        self.log = open(os.path.join(tempfile.gettempdir(), f"sl{os.getpid()}-container.log"), "w+")
        self.nspawn = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", BOOT], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, "DIR": self.dir, "LOWER": str(lower), "NAME": f"sl{os.getpid()}"})
        self.leader = wait_until("a systemd of its own", self._leader, 120)
        wait_until("the end of its start", self._is_up, 120)

    def _leader(self):
        if self.nspawn.poll() is not None:
            self.log.seek(0)
            raise LabError(f"systemd-nspawn does not start: {self.log.read().strip()}")
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        # Before its exec the child is still nspawn itself, in the host's root.
        return children[0] if children and pathlib.Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd" else None

    def _is_up(self):
        return self.sh("systemctl -q is-active basic.target", check=False).returncode == 0

    def path(self, inside):
        return pathlib.Path(f"/proc/{self.leader}/root{inside}")

    def sh(self, script, check=True, **kwargs):
        """As root in there; a LabError with its output if it fails."""
        argv = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i", "LC_ALL=C.UTF-8",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "bash", "-c", script]
        return run(*argv, check=check, **kwargs)

    def close(self):
        if self.nspawn.poll() is None:
            if getattr(self, "leader", None):
                os.kill(int(self.leader), 9)  # takes its whole namespace along
            else:
                self.nspawn.kill()
            self.nspawn.wait()
        self.log.close()
        os.unlink(self.log.name)
        shutil.rmtree(self.dir, ignore_errors=True)
