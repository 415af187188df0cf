"""Child processes that cannot outlive their parent, and what one asks of them."""
import os
import signal
import socket
import subprocess
import time


class Process:
    """A running program; both its outputs go to the file `log`."""

    def __init__(self, argv, log, stdout=None, env=None, cwd=None):
        self.log = log
        self._file = open(log, "ab")
        # The parent's death is this child's too, even if the parent is killed.
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)]
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout or self._file,
            stderr=self._file,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        self.pid = self._child.pid
        self.stdout = self._child.stdout

    @property
    def code(self):
        """Exit code, or None while it runs."""
        return self._child.poll()

    def signal(self, number):
        """Sends a signal if it still runs."""
        if self.code is None:
            self._child.send_signal(number)

    def wait(self, seconds):
        """Waits for its end; its exit code, or None if it still runs."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, seconds=5):
        """SIGTERM, then SIGKILL; the exit code. Does nothing to one that has ended."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(seconds) is None:
            self.signal(signal.SIGKILL)
            self.wait(10)
        self._file.close()
        if self.stdout:
            self.stdout.close()
        return self.code


def run(argv, seconds=60, check=False, **options):
    """Runs a program to its end; a `subprocess.CompletedProcess` with text."""
    done = subprocess.run(
        [str(one) for one in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=seconds,
        **options,
    )
    done.stdout = done.stdout.decode(errors="replace")
    done.stderr = done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done


def free_port():
    """A port of the loopback address that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_port(port, seconds, alive):
    """Waits until something listens on `port`; false if `alive()` ends first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and alive():
        with socket.socket() as one:
            one.settimeout(1)
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
