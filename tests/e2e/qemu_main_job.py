"""armv7 in QEMU, 128 MiB, two 1080p cameras: boots, records, catches up, spares RAM and card"""
from rig.clip import Clip

ALONE = True
LONG = True
BOARD = "armv7"
TIMEOUT, TIMEOUT_LONG = 600, 1500
CAMERAS = ("front-door", "loading-dock")
# Seconds of recording over which the bytes written to the card are counted, at least.
WINDOW, WINDOW_LONG = 60, 900
BOOT_SECONDS = 20
RESIDENT_KIB = 12 * 1024
# A page here and there; a leak grows with each of thousands of fragments.
GROWTH_KIB = 256
WRITTEN = 1.03


def run(rig):
    """One boot answers all of it."""
    window = WINDOW_LONG if rig.long else WINDOW
    clip = Clip(size="1920x1080", kbps=2000)
    cameras = [rig.camera(name=name, clip=clip, auth="digest") for name in CAMERAS]
    storage = rig.storage()
    board = rig.board(storage, cameras, arch=BOARD)
    board.start()
    rig.wait("recording", lambda: states(board) == {"recording"}, 120)
    rig.wait("both rings made", lambda: made(board), 120)
    begin, before = board.uptime(), board.written()
    rig.wait("the first blobs", lambda: len(storage.names()) >= 2, 120)
    storage.proxy.refuse()
    rig.wait("a backlog", lambda: min(unsent(board)) >= 2, 180)
    storage.proxy.accept()
    rig.wait("the end of the backlog", lambda: max(unsent(board)) == 0, 180)
    # The segments of an outage have been made and sent: from now on nothing may grow.
    settled, _ = board.memory_kib()
    rig.wait("the end of the window", lambda: board.uptime() > begin + window, window + 30)
    after = board.written()
    now, peak = board.memory_kib()
    booted, swap = board.booted(), board.swap_kib()
    board.power_off()

    timelines = rig.judge(storage, cameras)
    rig.check(set(timelines) == {f"rig-{name}" for name in CAMERAS}, f"assets {set(timelines)}")
    for timeline in timelines.values():
        rig.check(not timeline.holes, f"{timeline.asset}: holes {timeline.causes}")
    boot = max(one.segments[0].start for one in timelines.values()) / 1000 - booted
    put, recorded = after[0] - before[0], after[1] - before[1]
    rig.note(f"boot to recording {boot:.1f} s; resident {now} KiB, at most {peak} KiB; "
             f"written {put / 1e6:.1f} MB for {recorded / 1e6:.1f} MB of video: "
             f"{put / recorded:.4f}")
    rig.check(boot < BOOT_SECONDS, f"{boot:.1f} s from boot to recording")
    rig.check(peak <= RESIDENT_KIB, f"{peak} KiB resident at most")
    rig.check(now <= settled + GROWTH_KIB, f"{settled} KiB resident have become {now}")
    rig.check(swap == 0, f"{swap} KiB of swap")
    rig.check(put <= WRITTEN * recorded, f"{put} bytes written for {recorded} of video")


def states(board):
    """The states of the cameras."""
    return {one["state"] for one in board.status().get("cameras", [])}


def made(board):
    """The rings are written in full once: what is written from now on is recording."""
    caches = [one["cache"] for one in board.status().get("cameras", [])]
    return caches and all(one["preparedBytes"] >= one["sizeBytes"] for one in caches)


def unsent(board):
    """Segments sealed and not yet sent, of each camera."""
    return [one["cache"]["unsentSegments"] for one in board.status()["cameras"]]
