"""A program that a benchmark runs beside itself: on given cores, its lines as they come, and an end in any case."""
import collections
import ctypes
import os
import queue
import signal
import subprocess
import threading
import time

from lab import LabError

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    def __init__(self, name, argv, cores, echo=None):
        """`echo` gets each line of standard error; the last of them are kept for `complaint`."""
        self.name, self.echo = name, echo
        self.errors = collections.deque(maxlen=40)
        self.lines = queue.Queue()

        def prepare():
            os.sched_setaffinity(0, cores)
            # Even if this program is killed: two spinning processes would stay behind.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        # A session of its own: Ctrl-C is for the benchmark, which ends its programs in the order that they need.
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, bufsize=1, preexec_fn=prepare,
                                        start_new_session=True)
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._read_out, self._read_errors)]
        for thread in self.threads:
            thread.start()

    def _read_out(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))
            if self.echo:
                self.echo(line.strip())

    def running(self):
        return self.process.poll() is None

    def line(self, seconds):
        """The next line of its output; None at its end."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            raise LabError(f"{self.name} said nothing for {seconds:.0f} s{self.complaint()}") from None

    def complaint(self):
        """What it wrote to standard error, for a message."""
        self.threads[1].join(0.5 if self.running() else 2)
        text = "\n".join(list(self.errors)[-8:])
        return f"; its last lines:\n{text}" if text else ""

    def tell(self, text):
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def end_of_input(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def stop(self, first=signal.SIGTERM):
        """Its exit code. A DPDK program can ignore a signal, so at last it is killed."""
        for sign, seconds in ((first, 8), (signal.SIGTERM, 4), (signal.SIGKILL, 5)):
            if not self.running():
                break
            self.process.send_signal(sign)
            self.wait(seconds)
        self.end_of_input()
        return self.process.returncode

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.process.returncode
