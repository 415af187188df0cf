"""The gateway under test: its configuration, its process, what it logs and publishes."""
import json
import os
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

from .paths import BINARY
from .process import Process


class GatewayFault(Exception):
    """The gateway ended on its own, or told a secret."""


class Gateway:
    """`cvr` with one configuration file in `folder`.

    `options` go into the file as they are, over the defaults; a camera's own by `per_camera`:
    {name: {key: value}}. None removes a key.
    """

    def __init__(self, folder, storage, cameras, per_camera=None, **options):
        self.folder = Path(folder)
        self.path = self.folder / "cvr.json"
        self.log = self.folder / "cvr.log"
        self.status_path = self.folder / "status.json"
        self.cache = self.folder / "cache"
        self.cache.mkdir(exist_ok=True)
        self.secrets = set()
        self.configuration = {
            "gatewayName": "rig",
            "containerSasUrl": storage.url() if storage else "https://127.0.0.1:9/none/none?sig=x",
            "localMediaCachePath": str(self.cache),
            "statusPath": str(self.status_path),
            "logLevel": "Verbose",
            "segmentLength": "PT2S",
            "localMediaCacheMaximumSizeMiB": "64",
            "cameras": [self._camera(one) for one in cameras],
        }
        if storage:
            self.configuration["trustedCertificatesPath"] = str(storage.ca)
        self.configure(per_camera=per_camera, **options)
        self._process = None
        self._may_end = True

    @staticmethod
    def _camera(one):
        words = {"name": one.name, "rtspUrl": one.url}
        if one.auth:
            words |= {"rtspUserName": one.user, "rtspPassword": one.password}
        return words

    def configure(self, per_camera=None, **options):
        """Changes the configuration and writes it; `hup` applies it to a running gateway."""
        _merge(self.configuration, options)
        for camera in self.configuration["cameras"]:
            _merge(camera, (per_camera or {}).get(camera["name"], {}))
        url = urllib.parse.urlsplit(self.configuration["containerSasUrl"])
        signature = urllib.parse.parse_qs(url.query).get("sig", [""])[0]
        self.secrets |= {signature, urllib.parse.quote(signature, safe="")} - {"", "x"}
        for camera in self.configuration["cameras"]:
            self.secrets |= {camera.get("rtspPassword"),
                             urllib.parse.urlsplit(camera["rtspUrl"]).password} - {None}
        # As an administrator's editor does: a whole new file in the place of the old one.
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.configuration, indent=2))
        part.rename(self.path)

    def run(self, *arguments, seconds=30):
        """Runs another command, `cvr ARGUMENTS`, to its end: a `CompletedProcess`."""
        argv = [str(binary()), *map(str, arguments)]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds)

    def start(self, under=()):
        """Starts `cvr run`; `under`: a command that runs it in its place, as `env` does."""
        self._may_end = False
        self._process = Process([*under, binary(), "run", self.path], self.log)

    def judge_alive(self):
        """A gateway that runs must not end on its own."""
        if self._process and not self._may_end and self._process.code is not None:
            self._may_end = True
            raise GatewayFault(f"cvr ended with {self._process.code}: {self.log_text()[-500:]}")

    def judge_secrets(self):
        """No secret in the log or in the state."""
        for path in self.texts():
            text = path.read_text(errors="replace") if path.exists() else ""
            for secret in self.secrets:
                if secret in text:
                    raise GatewayFault(f"a secret stands in {path.name}: {secret[:4]}...")

    def texts(self):
        """Where no secret may stand."""
        return [self.log, self.status_path]

    def wait_end(self, seconds):
        """Waits for its end; (exit code or None, seconds it took)."""
        self._may_end = True
        start = time.monotonic()
        code = self._process.wait(seconds)
        return code, time.monotonic() - start

    def terminate(self, seconds=20):
        """SIGTERM; (exit code, seconds it took)."""
        self._may_end = True
        self._process.signal(signal.SIGTERM)
        return self.wait_end(seconds)

    def kill(self):
        """SIGKILL: what a power cut is, but for what the kernel still holds."""
        self._may_end = True
        self._process.signal(signal.SIGKILL)
        self._process.wait(10)

    def hup(self):
        """SIGHUP: read the configuration again."""
        self._process.signal(signal.SIGHUP)

    def stop(self):
        """Ends it, if it runs."""
        self._may_end = True
        if self._process:
            self._process.end(10)

    def log_text(self):
        """All it logged so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def status(self):
        """The state it publishes; {} where there is none yet."""
        try:
            return json.loads(self.status_path.read_text())
        except (OSError, ValueError):
            return {}

    def camera_status(self, name):
        """One camera's part of the state; {} where there is none."""
        return next((one for one in self.status().get("cameras", []) if one.get("name") == name),
                    {})

    def upload_status(self):
        """The upload's part of the state."""
        return self.status().get("upload", {})

    def memory_kib(self):
        """Resident memory now and at most, in KiB."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        words = dict(line.split(":", 1) for line in text.splitlines())
        return tuple(int(words[key].split()[0]) for key in ("VmRSS", "VmHWM"))

    def cpu_seconds(self):
        """User and system time it took so far."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = text.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def binary():
    """The binary under test: `CVR_E2E_BINARY`, or the build with short segments."""
    return Path(os.environ.get("CVR_E2E_BINARY", BINARY))


def _merge(words, changes):
    for key, value in changes.items():
        if value is None:
            words.pop(key, None)
        else:
            words[key] = value
