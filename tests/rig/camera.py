"""A camera: gst-rtsp-server in a process of its own, so that it can be stopped, frozen, killed."""
import json
import select
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from .clip import Clip
from .paths import PYTHON
from .process import Process, free_port


class Camera:
    """One camera at `url`.

    With a `clip` it sends that clip over and over, with time and counter going on, at 1 % of a
    core. With `live` (a dict of `size`, `fps`, `kbps`, `gop`, `audio`, `title`, `threads`) it
    encodes a moving picture with a burnt-in clock. `auth` is "digest" or "basic", with `user` and
    `password`; `tls` a pair of certificate and key files. It counts pictures from its first start
    on, also while nobody looks or while it is off, as a real camera's clock does.
    """

    def __init__(self, folder, name="front-door", clip=None, live=None, auth=None,
                 user="admin", password="correct-horse-7", tls=None):
        self.name = name
        self.folder = Path(folder)
        self.clip = clip or Clip() if live is None else None
        self.live = live
        self.auth, self.user, self.password = auth, user, password
        self.tls = tls
        self.port = 0
        self._born = time.time()
        self._process = None

    @property
    def url(self):
        """Its RTSP URL, without credentials."""
        scheme = "rtsps" if self.tls else "rtsp"
        return f"{scheme}://127.0.0.1:{self.port}/stream1"

    @property
    def url_with_credentials(self):
        """Its RTSP URL with user and password, for ffmpeg."""
        if not self.auth:
            return self.url
        return self.url.replace("://", f"://{self.user}:{self.password}@")

    def start(self):
        """Starts it; on the same port as before, if it ran before."""
        # gst-rtsp-server takes a port of its own for 0; a fixed one lets it come back there.
        self.port = self.port or free_port()
        options = {
            "port": self.port, "auth": self.auth, "user": self.user, "password": self.password,
            "tls": self.tls, "live": self.live, "born": self._born,
            "clip": asdict(self.clip) if self.clip else None,
        }
        if self.clip:
            self.clip.path()
        self._process = Process(
            [PYTHON, "-u", "-m", "rig.camera_server", json.dumps(options)],
            self.folder / "camera.log",
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[1],
        )
        ready, _, _ = select.select([self._process.stdout], [], [], 20)
        line = self._process.stdout.readline().decode() if ready else ""
        if not line.startswith("port "):
            raise RuntimeError(f"the camera did not start; see {self.folder / 'camera.log'}")

    def stop(self):
        """Ends it, without a TEARDOWN or BYE."""
        if self._process:
            self._process.signal(signal.SIGKILL)
            self._process.end()
            self._process = None

    def restart(self, away=0.0):
        """Ends it and starts it again `away` seconds later."""
        self.stop()
        time.sleep(away)
        self.start()

    def freeze(self):
        """SIGSTOP: connections stay, nothing comes."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self):
        """Ends `freeze`."""
        self._process.signal(signal.SIGCONT)
