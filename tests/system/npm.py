"""Packages from npm for tests: installed once for each lock file, into the build folder, by whom that belongs to."""
import hashlib
import os
import pathlib
import pwd
import shutil
import subprocess
import time

from common import BUILD


class Packages:
    """What the lock file of `source` names, in the folder `name`. Whatever is `owned` is run by the folder's owner."""

    def __init__(self, source, name):
        self.source = source
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
        home = BUILD if os.access(BUILD, os.W_OK) else cache / "sluice"
        home.mkdir(parents=True, exist_ok=True)
        owner = home.stat()
        self.uid, self.gid = owner.st_uid, owner.st_gid
        self.folder = home / name
        try:
            self.home = pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            self.home = ""
        if not os.path.isdir(self.home):
            self.home = str(self.folder)
        self.install()

    def owned(self, *argv, **kwargs):
        env = {**os.environ, "HOME": self.home}
        done = subprocess.run([str(a) for a in argv], user=self.uid, group=self.gid, extra_groups=[], env=env, capture_output=True,
                              text=True, **kwargs)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()[-2000:]}")

    def copy(self, *names):
        """Of the source, in place of what is there."""
        for name in names:
            self.owned("rm", "-rf", self.folder / name)
        self.owned("cp", "-r", *[self.source / n for n in names], self.folder)

    def install(self):
        wanted = [self.source / n for n in ("package.json", "package-lock.json", ".npmrc")]
        digest = hashlib.sha256(b"".join(p.read_bytes() for p in wanted)).hexdigest()
        stamp = self.folder / f"installed-{digest[:16]}"
        if stamp.exists():
            return
        if shutil.which("npm") is None:
            raise RuntimeError("npm is missing: scripts/setup installs it")
        print("installing packages from npm, which takes about half a minute …", flush=True)
        began = time.monotonic()
        self.owned("rm", "-rf", self.folder)
        self.owned("mkdir", self.folder)
        self.owned("cp", *wanted, self.folder)
        self.owned("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=self.folder, timeout=240)
        self.owned("touch", stamp)
        print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
