"""boot in 1970, in QEMU: recording begins at once, and is given its true times later"""
import time

ALONE = True
LONG = True
BOARD = "armv7"
TIMEOUT = 400
# The guest's shell takes whole seconds, and its own time.
CLOCK = 1.5


def run(rig):
    """The storage is away until the clock is right, so nothing is sent under a wrong name."""
    camera = rig.camera()
    storage = rig.storage()
    storage.proxy.refuse()
    board = rig.board(storage, [camera], arch=BOARD, localMediaCacheMaximumSizeMiB="32")
    board.start(rtc="1970-01-01T00:00:00")
    rig.wait("recording", lambda: board.camera_status("front-door").get("state") == "recording", 90)
    rig.check(board.status()["clock"] == "unsynchronized", board.status()["clock"])
    rig.wait("two segments", lambda: recorded(board) >= 2, 120)
    rig.check(not storage.names(), f"sent: {storage.names()}")
    time.sleep(1 - time.time() % 1)
    board.shell(f"date -s @{time.time():.0f}")
    set_at = time.time()
    storage.proxy.accept()
    rig.wait("a whole segment of the right time", lambda: any(
        one.metadata["clock"] == "synchronized" for one in storage.blobs()), 150)
    board.power_off()
    timeline = rig.judge(storage, [camera], clock_error=CLOCK)["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")
    corrected = [one for one in timeline.segments if one.metadata["clock"] == "corrected"]
    rig.check(len(corrected) >= 2, f"{len(corrected)} segments corrected")
    for one in timeline.segments:
        wrong = one.start / 1000 - one.counters[0][1] / 1e6
        rig.check(abs(wrong) < CLOCK, f"{one.name}: {wrong:.1f} s wrong")
        early = one.end / 1000 < set_at - CLOCK
        rig.check(not early or one in corrected, f"{one.name}: {one.metadata['clock']}")
    order = storage.put_order()
    rig.check(order == [one.name for one in timeline.segments], f"stored in another order: {order}")


def recorded(board):
    """Segments sealed since it was switched on."""
    return board.camera_status("front-door")["recorded"]["segments"]
