"""`Rig` gives a test its peers and ends them all, whatever happens."""
import contextlib
import time
from pathlib import Path

from . import azurite, board, camera, faults, gateway, judge


class Failure(Exception):
    """The gateway did not do what the case asks for."""


class Rig:
    """The peers of one test. Everything it starts ends with it; logs stay in `dir`.

    `long`: a case that can do more of the same does so.
    """

    def __init__(self, directory, long=False):
        self.long = long
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.gateways = []
        self._ends = contextlib.ExitStack()
        self._counts = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._ends.close()
        for one in self.gateways:
            one.judge_secrets()

    def _folder(self, kind):
        self._counts[kind] = self._counts.get(kind, 0) + 1
        folder = self.dir / f"{kind}-{self._counts[kind]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def camera(self, **options):
        """Starts a camera; see `camera.Camera`."""
        one = camera.Camera(self._folder("camera"), **options)
        self._ends.callback(one.stop)
        one.start()
        return one

    def storage(self, **options):
        """Starts Azurite behind the fault proxy; see `azurite.Storage`."""
        one = azurite.Storage(self._folder("storage"), **options)
        self._ends.callback(one.stop)
        one.start()
        return one

    def faults(self, storage):
        """Puts a reverse proxy before Azurite that answers in its place; see `faults.Faults`."""
        one = faults.Faults(storage)
        self._ends.callback(one.stop)
        return one

    def gateway(self, storage, cameras, **options):
        """A gateway with its configuration written, not yet started; see `gateway.Gateway`."""
        one = gateway.Gateway(self._folder("gateway"), storage, cameras, **options)
        self.gateways.append(one)
        self._ends.callback(one.stop)
        return one

    def board(self, storage, cameras, **options):
        """An emulated gateway with its card made, not yet switched on; see `board.Board`."""
        one = board.Board(self._folder("board"), storage, cameras, **options)
        self.gateways.append(one)
        self._ends.callback(one.stop)
        one.make()
        return one

    def wait(self, what, condition, seconds=60):
        """Waits until `condition()` is true and returns its value; `what` may be a function."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            for one in self.gateways:
                one.judge_alive()
            if time.monotonic() > end:
                raise Failure(f"after {seconds} s still no {what() if callable(what) else what}")
            time.sleep(0.1)

    def wait_blobs(self, storage, count, seconds=60, asset=None):
        """Waits until the container holds at least `count` blobs (of `asset`)."""
        def enough():
            names = storage.names()
            if asset:
                names = [name for name in names if name.startswith(asset + "/")]
            return names if len(names) >= count else None
        return self.wait(f"{count} blobs", enough, seconds)

    def check(self, true, message):
        """Fails the test with `message` unless `true`."""
        if not true:
            raise Failure(message)

    def note(self, text):
        """A measured figure, shown beside the case's name."""
        with open(self.dir / "notes", "a") as notes:
            print(text, file=notes)

    def judge(self, storage, cameras=(), **options):
        """Downloads every blob and judges all of them; gives {asset: judge.Timeline}."""
        return judge.judge(storage, self._folder("blobs"), cameras, **options)

    def sleep(self, seconds):
        """Lets `seconds` pass, in which the gateways must stay alive."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in self.gateways:
                one.judge_alive()
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))
