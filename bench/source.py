"""build/bench/peers/peers_source as an object: two clients of a running relay, and trials at given rates."""
import json
import os
import select
import subprocess

from lab import LabError


class Source:
    def __init__(self, program, config, path, core):
        path.touch(mode=0o600)  # it holds the clients' keys
        path.write_text(json.dumps(config, indent=1) + "\n")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), str(program), str(path)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self._answer(60)
        except BaseException:
            self.close()
            raise

    def _answer(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            problem = self.process.stderr.read().strip().removeprefix("error: ")
            raise LabError(f"the traffic source stopped: {problem or 'no answer'}")
        return json.loads(line)

    def trial(self, rate, seconds):
        """Packets a second (0: all it can), for so long after a short warm-up."""
        self.process.stdin.write(f"{rate:.0f} {seconds}\n")
        return self._answer(seconds + 30)

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except OSError:
                pass
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def pin_self(core):
    """The driver and what it calls stay off the relay's core."""
    os.sched_setaffinity(0, {core})
