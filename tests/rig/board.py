"""The gateway on emulated hardware: a card made by board/image, booted by board/qemu.

A subclass of `Gateway`, so that a case asks the same of both. Inside, the host's loopback is
10.0.2.2; cameras and storage are reached there. What the guest says on its console is its log.
"""
import contextlib
import json
import signal
import socket
import tempfile
import time
import urllib.parse
from pathlib import Path

from .gateway import Gateway, GatewayFault
from .paths import ROOT
from .process import Process, run

# The host's loopback, as the guest sees it.
HOST = "10.0.2.2"
NETWORK = "ntp none\n"


class Board(Gateway):
    """An SD card, and the emulated gateway that boots it.

    `arch` is armv7 or aarch64, `memory` in MiB. `network` is the text of network.txt; as it is,
    nobody but the machine's own clock tells the guest the time.
    """

    def __init__(self, folder, storage, cameras, arch="armv7", memory=128, network=NETWORK,
                 **options):
        self.arch, self.memory, self.network = arch, memory, network
        self.image = Path(folder) / "card.img"
        self.boots = 0
        # Short: a Unix socket's name has room for 107 bytes.
        self._sockets = tempfile.TemporaryDirectory(prefix="cvr-board-")
        self._storage = storage
        self._shell = None
        self._state, self._looked = {}, 0.0
        super().__init__(folder, storage, cameras, **{
            "containerSasUrl": inside(storage.url()), "trustedCertificatesPath": "ca.crt",
            "localMediaCachePath": "/media/data/cvr", "statusPath": None,
            "logLevel": "Information", "segmentLength": "PT30S",
            "localMediaCacheMaximumSizeMiB": "128", **options})

    @classmethod
    def _camera(cls, one):
        words = super()._camera(one)
        return words | {"rtspUrl": inside(words["rtspUrl"])}

    @property
    def consoles(self):
        """What each boot has said so far, oldest first."""
        return [self.folder / f"console-{boot}.log" for boot in range(1, self.boots + 1)]

    def texts(self):
        """Where no secret may stand: the consoles, and the state as last seen."""
        return [*self.consoles, self.status_path]

    def make(self):
        """Makes the card."""
        network = self.folder / "network.txt"
        network.write_text(self.network)
        run([ROOT / "board/image", self.image, "--arch", self.arch, "--config", self.path,
             "--file", self._storage.ca, "--file", network], 300, check=True)

    def start(self, rtc=None):
        """Switches it on; `rtc` is the time its clock shows, as 1970-01-01T00:00:00."""
        if not self.image.exists():
            self.make()
        self.boots += 1
        self.log = self.consoles[-1]
        shell = Path(self._sockets.name) / "shell"
        shell.unlink(missing_ok=True)
        argv = [ROOT / "board/qemu", self.image, "--arch", self.arch, "--mem", self.memory,
                "--serial", self.log, "--shell", shell]
        self._shell = Shell(shell)
        self._state = {}
        self._may_end = False
        self._process = Process([*argv, *(["--rtc", rtc] if rtc else [])],
                                self.folder / "qemu.log")

    def cut_power(self):
        """The end of the guest between two instructions; when it was, seconds since 1970."""
        self._may_end = True
        self._process.signal(signal.SIGKILL)
        self._process.wait(10)
        when = time.time()
        self._shell.close()
        return when

    kill = cut_power

    def power_off(self, seconds=30):
        """As an operator does it: `cvr` seals what is open, the card is unmounted."""
        self._may_end = True
        self.shell("kill -USR2 1")
        code, took = self.wait_end(seconds)
        if code != 0:
            raise GatewayFault(f"no power-off after {took:.0f} s: {self.log_text()[-500:]}")
        return code, took

    terminate = power_off

    def stop(self):
        """Ends it, if it runs."""
        if self._process and self._process.code is None:
            self.cut_power()
        super().stop()
        self._sockets.cleanup()

    def shell(self, command, seconds=20):
        """What a root shell of the guest answers; "" where there is none yet."""
        return self._shell.run(command, seconds)

    def judge_alive(self):
        """Neither the guest nor `cvr` in it, which would be started again, ends on its own."""
        super().judge_alive()
        if not self._may_end and (at := self.log_text().find("cvr ended with")) >= 0:
            self._may_end = True
            raise GatewayFault(self.log_text()[max(0, at - 500):at + 100])

    def status(self):
        """The latest state that could be read since it was switched on; {} where there is none."""
        # Twice a second: an emulated core has little to spare for those who look.
        if time.monotonic() - self._looked > 0.5:
            text = self.shell("cat /run/cvr/status.json 2>/dev/null")
            with contextlib.suppress(ValueError):
                self._state = json.loads(text)
                self.status_path.write_text(text)
            self._looked = time.monotonic()
        return self._state

    def uptime(self):
        """Seconds since the guest's kernel started."""
        return float(self.shell("cat /proc/uptime").split()[0])

    def booted(self):
        """When the guest's kernel started, by the guest's clock; seconds since 1970."""
        now, up = self.shell("echo $(date +%s) $(cat /proc/uptime)").split()[:2]
        return int(now) + 0.5 - float(up)

    def memory_kib(self):
        """Resident memory of `cvr` now and at most, in KiB."""
        text = self.shell("grep VmRSS /proc/$(pidof cvr)/status; "
                          "grep VmHWM /proc/$(pidof cvr)/status")
        return tuple(int(line.split()[1]) for line in text.splitlines())

    def swap_kib(self):
        """Swap space of the guest in KiB."""
        return int(self.shell("grep SwapTotal /proc/meminfo").split()[1])

    def written(self):
        """(bytes the card's block device was given since boot, bytes `cvr` recorded since)."""
        # One command, so that both are of one moment.
        text = self.shell("cat /run/cvr/status.json /sys/block/mmcblk0/stat")
        state, end = json.JSONDecoder().raw_decode(text)
        recorded = sum(one["recorded"]["bytes"] for one in state["cameras"])
        return int(text[end:].split()[6]) * 512, recorded


class Shell:
    """The root shell of an emulated gateway, behind a Unix socket."""

    def __init__(self, path):
        self._path = str(path)
        self._socket = None
        self._count = 0

    def close(self):
        """Hangs up."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def run(self, command, seconds):
        """Runs one command to its end; what it printed, or "" where nobody answers yet."""
        try:
            if self._socket is None:
                self._open()
            return self._ask(command, seconds)
        except (OSError, EOFError):
            self.close()
            return ""

    def _open(self):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(2)
        try:
            one.connect(self._path)
            self._socket = one
            # No echo and no prompt from here on.
            self._ask("stty -echo; PS1=; PS2=", 2)
        except BaseException:
            one.close()
            self._socket = None
            raise

    def _ask(self, command, seconds):
        self._count += 1
        # Cut in two, so that an echo of the command is not taken for its answer.
        begin, end = f"<<{self._count}", f"{self._count}>>"
        text = f"echo '<<''{self._count}'; {command}; echo '{self._count}''>>'\n"
        self._socket.sendall(text.encode())
        said, until = b"", time.monotonic() + seconds
        while f"{end}\r\n".encode() not in said:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            more = self._socket.recv(65536)
            if not more:
                raise EOFError
            said += more
        answer = said.decode(errors="replace").replace("\r\n", "\n")
        return answer.partition(f"{begin}\n")[2].rpartition(f"{end}\n")[0]


def inside(url):
    """A URL of the host's loopback as the guest must write it."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace("127.0.0.1", HOST)).geturl()
