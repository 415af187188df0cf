"""power cuts at random moments, in QEMU: each costs at most two seconds, and is told"""
import os
import random
import time

from rig import judge

ALONE = True
LONG = True
BOARD = "armv7"
TIMEOUT, TIMEOUT_LONG = 900, 2700
CUTS, CUTS_LONG = 5, 20
# A cut's moment, in seconds from switching it on: some come while it boots.
EARLIEST, LATEST = 6, 40
# Video that a cut may cost, in seconds: `flashSyncInterval`, and what comes while the sync is under
# way that was begun by the first picture after it.
LOST = 2 + 0.5
# A guest takes its time from a clock of whole seconds, at each boot anew.
CLOCK = 1.5


def run(rig):
    """The same card all the time; what came of it is judged at the end."""
    seed = int(os.environ.get("CVR_E2E_SEED", random.SystemRandom().randrange(1 << 32)))
    rig.note(f"again: CVR_E2E_SEED={seed}")
    moments = random.Random(seed)
    camera = rig.camera()
    storage = rig.storage()
    board = rig.board(storage, [camera], arch=BOARD, localMediaCacheMaximumSizeMiB="32")
    cuts = []
    for number in range(CUTS_LONG if rig.long else CUTS):
        after = moments.uniform(EARLIEST, LATEST)
        print(f"cut {number + 1}: {after:.1f} s after switching it on", flush=True)
        cuts.append(boot_and_cut(rig, board, after, first=number == 0))
    board.start()
    rig.wait("a segment recorded after the last cut",
             lambda: any(began(name) > cuts[-1][1] + CLOCK for name in storage.names()), 150)
    rig.wait("the end of the backlog", lambda: cache(board).get("unsentSegments") == 0, 60)
    board.power_off()
    consoles = "".join(path.read_text(errors="replace") for path in board.consoles)
    for word in ("cannot be mounted", "made the file system", "EXT4-fs error", "exit code"):
        rig.check(word not in consoles, f"{word!r} on the console")
    timeline = rig.judge(storage, [camera], clock_error=CLOCK)["rig-front-door"]
    lost = judge_holes(rig, timeline, cuts)
    rig.note(f"{len(cuts)} cuts, {len(timeline.holes)} of them in mid-recording, which cost "
             f"{', '.join(f'{one:.2f}' for one in lost)} s of video")


def boot_and_cut(rig, board, after, first):
    """(when it was first seen recording or None, when it was cut), seconds since 1970.

    The first cut waits until the ring is made and recording has begun.
    """
    board.start()
    moment = time.time() + after
    seen = None
    while time.time() < moment or first and not (seen and made(board)):
        if seen is None and board.camera_status("front-door").get("state") == "recording":
            seen = time.time()
        rig.sleep(min(0.5, max(0.02, moment - time.time())))
    return seen, board.cut_power()


def judge_holes(rig, timeline, cuts):
    """Each hole begins with a cut, each cut has its hole; seconds of video lost by each hole."""
    lost, first = [], set()
    for before, after in timeline.holes:
        last, next_one = before.counters[-1][1] / 1e6, after.counters[0][1] / 1e6
        inside = [cut for _, cut in cuts if last <= cut <= next_one]
        causes = [cause for _, _, cause in after.gaps]
        rig.check(inside, f"{after.name}: no cut in this hole; causes {causes}")
        first.add(inside[0])
        lost.append(inside[0] - last)
        print(f"{after.name}: {lost[-1]:.2f} s lost, {len(inside)} cuts, {causes}", flush=True)
        rig.check(set(causes) == {"powerLost"}, f"{after.name}: causes {causes}")
        rig.check(lost[-1] <= LOST, f"{after.name}: {lost[-1]:.2f} s before the cut are lost")
    # Any other cut came in the hole of an earlier one: before there was much to lose.
    for seen, cut in cuts:
        rig.check(cut in first or seen is None or cut - seen <= LOST,
                  f"nothing is left of {cut - (seen or cut):.1f} s recorded before a cut")
    return lost


def began(name):
    """When a blob begins, by its name; seconds since 1970."""
    return judge.basic_millis(judge.NAME.fullmatch(name)["start"]) / 1000


def cache(board):
    """The state of the ring; {} where there is none yet."""
    return board.camera_status("front-door").get("cache", {})


def made(board):
    """The ring is written in full once."""
    return cache(board).get("preparedBytes", 0) >= cache(board).get("sizeBytes", 1)
