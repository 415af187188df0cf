"""The demonstration: a camera, a gateway, a storage that goes away for a while, and the archive.

Run by board/demo.
"""
import argparse
import shutil
import signal
import sys
import time
from dataclasses import dataclass

from . import judge
from .build import build, build_board
from .paths import ROOT
from .rig import Rig
from .screen import BLUE, BOLD, DIM, GREEN, RED, YELLOW, Screen, mib, paint, sparkline

OUT = ROOT / "demo-out"
FPS = 15


def main():
    """Runs it; exit code 0 only if all is there, continuous and playable."""
    parser = argparse.ArgumentParser(prog="board/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true",
                        help="afterwards go on recording until Ctrl-C, with all addresses shown")
    parser.add_argument("--qemu", action="store_true",
                        help="on an emulated gateway, booted from a card, with segments of 30 s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = EMULATED if options.qemu else HERE
    print(f"Building the gateway {plan.binary} (minutes, the first time) ...", flush=True)
    if options.qemu:
        build_board("armv7")
    else:
        build()
    shutil.rmtree(OUT, ignore_errors=True)
    try:
        with Rig(OUT / "rig") as rig:
            good = Demo(rig, plan).run(options.keep)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 1
    finally:
        # The ring, or the card, has done its work; logs stay.
        shutil.rmtree(OUT / "rig" / "gateway-1" / "cache", ignore_errors=True)
        (OUT / "rig" / "board-1" / "card.img").unlink(missing_ok=True)
    return 0 if good else 1


@dataclass(frozen=True)
class Plan:
    """What happens when, in seconds of recording."""

    binary: str
    segment: int
    # When the storage goes, when it comes back, when the recording ends.
    cut: int
    back: int
    end: int


HERE = Plan("with short segments", 5, 35, 75, 115)
EMULATED = Plan("for armv7", 30, 40, 130, 190)


@dataclass
class View:
    """What there is to be seen at one moment; times in milliseconds since 1970."""

    elapsed: float
    now: int
    blobs: list
    camera: dict
    upload: dict
    # Bytes a second on their way to the storage, the mean of 5 s, twice a second.
    sent: list


class Demo:
    """One demonstration."""

    def __init__(self, rig, plan):
        self.rig = rig
        self.plan = plan
        live = {"size": "640x360", "fps": FPS, "kbps": 800, "title": "front door"}
        self.camera = rig.camera(live=live)
        self.storage = rig.storage()
        make = rig.board if plan is EMULATED else rig.gateway
        self.gateway = make(self.storage, [self.camera], gatewayName="demo",
                            segmentLength=f"PT{plan.segment}S")
        self.sent = [0]
        self.cut = self.back = None

    def run(self, keep):
        """Records, cuts off, restores, judges; true if all is well."""
        screen, plan = Screen(), self.plan
        self.gateway.start()
        with screen:
            start = time.monotonic()
            self.rig.wait("first picture", lambda: self.watch(screen, start)
                          .camera.get("state") == "recording", 120)
            start = time.monotonic()
            self.until(screen, start, plan.cut)
            self.cut = now()
            self.storage.proxy.refuse()
            screen.event(plan.cut, "the storage is cut off; recording goes on, on flash")
            self.until(screen, start, plan.back)
            self.back = now()
            self.storage.proxy.accept()
            screen.event(plan.back, "the storage is back")
            self.until(screen, start, plan.end)
            self.rig.wait("the end of the backlog", lambda: caught_up(
                self.watch(screen, start)), 90)
            screen.event(time.monotonic() - start, "all of it is in the cloud")
            if keep:
                self.stay(screen, start)
        code, took = self.gateway.terminate()
        print(f"  Stopped: exit code {code} after {took:.1f} s.\n")
        return self.verdict() and code == 0

    def until(self, screen, start, seconds):
        """Shows what happens until `seconds` after `start`."""
        while time.monotonic() - start < seconds:
            self.watch(screen, start)

    def stay(self, screen, start):
        """Goes on until Ctrl-C."""
        screen.event(time.monotonic() - start, "goes on until Ctrl-C; try:")
        for line in (f"ffplay -rtsp_transport tcp {self.camera.url}",
                     f"cvr status {self.gateway.path}"):
            screen.event(time.monotonic() - start, line)
        try:
            while True:
                self.watch(screen, start)
        except KeyboardInterrupt:
            pass

    def watch(self, screen, start):
        """Waits half a second, looks and shows; the `View`."""
        self.rig.sleep(0.5)
        self.sent.append(self.storage.proxy.sent)
        view = View(time.monotonic() - start, now(), self.storage.blobs(),
                    self.gateway.camera_status(self.camera.name), self.gateway.upload_status(),
                    [(b - a) / 5 for a, b in zip(self.sent, self.sent[10:])])
        screen.show(view.elapsed, self.picture(view), plain_line(view))
        return view

    def picture(self, view):
        """The lines of the screen."""
        state = view.camera.get("state", "starting")
        cache = view.camera.get("cache", {})
        light = paint(GREEN if state == "recording" else YELLOW, f"{'● ' + state:13}")
        media = "  ".join(filter(None, (view.camera.get("video"), view.camera.get("audio"))))
        waiting = cache.get("unsentSegments", 0)
        size, used = cache.get("sizeBytes", 0), cache.get("usedBytes", 0)
        lines = [
            "",
            "  " + paint(BOLD, "cvr") + paint(DIM, "  continuous video recording  ")
            + f"{clock(view.elapsed)} of about {clock(self.plan.end)}",
            "",
            f"  camera   {self.camera.name:12} {light} {media}",
            f"  flash    {mib(size):12} {bar(used, size)} {mib(used)} used,"
            + (paint(YELLOW, f" {waiting} segments wait") if waiting else " nothing waits"),
            f"  cloud    {len(view.blobs):3} blobs    {self.cloud(view)}",
            f"  uplink   {sparkline(view.sent[-40:])} {view.sent[-1] * 8 / 1e6:.1f} Mbit/s"
            if view.sent else "",
            "",
            *self.timeline(view),
            "",
            "  " + "   ".join((paint(GREEN, "■") + " in the cloud",
                               paint(YELLOW, "■") + " on flash",
                               paint(BLUE, "■") + " being recorded",
                               paint(RED, "×") + " missing")),
            "",
            "  " + self.story(view),
            "",
        ]
        return lines

    def cloud(self, view):
        """How the storage does, in a few words."""
        if self.cut and not self.back:
            return paint(RED, f"✗ cut off for {(view.now - self.cut) / 1000:.0f} s")
        message = view.upload.get("message") or ""
        return paint(GREEN, "✓ " + view.upload.get("state", "reachable")) + paint(
            DIM, f"  {message[:50]}")

    def story(self, view):
        """What goes on, and what comes next."""
        if not self.cut:
            left = max(0, self.plan.cut - view.elapsed)
            return (f"Each {self.plan.segment} s become one blob. "
                    f"The storage goes away in {left:.0f} s.")
        if not self.back:
            left = max(0, self.plan.back - view.elapsed)
            return f"No way to the cloud: the ring on flash takes it all. Back in {left:.0f} s."
        if not caught_up(view):
            return "The way is free again: the oldest goes first, recording goes on."
        return "Caught up. Nothing is missing."

    def timeline(self, view):
        """One row a minute, one cell a second."""
        spans = [(b.name, *span(b)) for b in view.blobs]
        if not spans and not view.camera.get("recorded"):
            return [paint(DIM, "  waiting for the first picture")]
        spans.sort(key=lambda one: one[1])
        first = spans[0][1] if spans else view.now
        last = spans[-1][2] if spans else first
        unsent = view.camera.get("cache", {}).get("unsentMilliseconds", 0)
        rows = []
        for minute in range(first // 60_000, view.now // 60_000 + 1):
            begin = minute * 60_000
            cells = [self.cell(begin + s * 1000, view.now, spans, first, last + unsent)
                     for s in range(60)]
            label = time.strftime("%H:%M", time.gmtime(minute * 60))
            rows.append(f"  {paint(DIM, label)}  " + "".join(cells))
            shadow = "".join(self.shadow(begin + s * 1000, view.now) for s in range(60))
            if shadow.strip():
                rows.append("         " + paint(RED, shadow.rstrip()))
        return rows[-8:]

    def cell(self, at, moment, spans, first, flash_end):
        """One second of the timeline."""
        middle = at + 500
        for number, (_, start, end) in enumerate(spans):
            if start <= middle < end:
                # Two shades in turn, so that segments can be told apart.
                return paint(GREEN, "■" if number % 2 else "◼")
        if middle < first or middle > moment:
            return paint(DIM, "·")
        if spans and middle < spans[-1][2]:
            return paint(RED, "×")
        return paint(YELLOW if middle < flash_end else BLUE, "■")

    def shadow(self, at, moment):
        """Marks the seconds in which the storage was cut off."""
        if self.cut and self.cut <= at + 999 and at <= min(self.back or moment, moment):
            return "▔"
        return " "

    def verdict(self):
        """Lists the archive and judges it; true if all is well."""
        try:
            timelines = judge.judge(self.storage, OUT / "recordings", [self.camera])
        except judge.Faults as faults:
            print(paint(RED, "  ✗ The judge found fault:\n") + f"{faults}")
            return False
        if len(timelines) != 1:
            print(paint(RED, "  ✗ Nothing was recorded."))
            return False
        (timeline,) = timelines.values()
        print(f"  {paint(BOLD, timeline.asset)}, times in UTC\n")
        print(paint(DIM, "    start         end           length      size  in the cloud"))
        for one in timeline.segments:
            late = one.blob.created - one.end / 1000
            told = "at once"
            if late > self.plan.segment:
                told = paint(YELLOW, f"{late:.0f} s later")
            print(f"    {hms(one.start)}  {hms(one.end)}  {(one.end - one.start) / 1000:6.3f} s"
                  f"  {one.blob.size / 1024:5.0f} KiB  {told}")
        pictures = sum(len(one.samples["vide"]) for one in timeline.segments)
        whole = next((OUT / "recordings").glob("*.inside.mp4"))
        whole.rename(OUT / "whole.mp4")
        print(f"\n  One file a segment: {(OUT / 'recordings').relative_to(ROOT)}/{timeline.asset}/"
              f"\n  All of it, joined:  {(OUT / 'whole.mp4').relative_to(ROOT)}\n")
        good = not timeline.holes and abs(pictures / FPS - timeline.seconds) < 1 and (
            timeline.seconds > self.plan.end - 2 * self.plan.segment)
        mark = paint(GREEN, "✓") if good else paint(RED, "✗")
        print(f"  {mark} {len(timeline.segments)} segments, {timeline.seconds:.1f} s, {pictures} "
              f"pictures, {len(timeline.holes)} gaps: each begins in the millisecond in which the\n"
              f"    one before it ends, each decodes alone without a complaint, and all of them as "
              "one.\n")
        return good


def caught_up(view):
    """Nothing waits, as the state tells."""
    return view.camera.get("cache", {}).get("unsentSegments", 0) == 0


def plain_line(view):
    """The same for an output that is no terminal."""
    waiting = view.camera.get("cache", {}).get("unsentSegments", 0)
    return (f"{view.camera.get('state', 'starting')}, {len(view.blobs)} blobs in the cloud, "
            f"{waiting} segments wait, {view.sent[-1] * 8 / 1e6 if view.sent else 0:.1f} Mbit/s up")


def span(blob):
    """Start and end of a blob by its name alone."""
    match = judge.NAME.fullmatch(blob.name)
    start = judge.basic_millis(match["start"])
    return start, start + int(match["duration"])


def bar(part, whole, width=20):
    """A bar, filled as `part` of `whole`."""
    full = round(width * part / whole) if whole else 0
    return paint(BLUE, "█" * full) + paint(DIM, "░" * (width - full))


def clock(seconds):
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def hms(millis):
    """Time of day with milliseconds."""
    return time.strftime("%H:%M:%S", time.gmtime(millis // 1000)) + f".{millis % 1000:03d}"


def now():
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
