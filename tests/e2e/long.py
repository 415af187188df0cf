"""ten minutes of 1080p25 at 2 Mbit/s with AAC: every second exactly once"""
from rig.clip import Clip

LONG = True
TIMEOUT = 1500
MINUTES = 10


def run(rig):
    """Two short outages on the way; the judge accounts for each picture."""
    camera = rig.camera(clip=Clip(size="1920x1080", kbps=2000), auth="digest")
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera], segmentLength="PT10S",
                          localMediaCacheMaximumSizeMiB="256")
    gateway.start()
    rig.wait_blobs(storage, 1)
    for _ in range(2):
        rig.sleep(MINUTES * 60 / 4)
        storage.proxy.refuse()
        rig.sleep(30)
        storage.proxy.accept()
    rig.wait_blobs(storage, MINUTES * 6 + 1, MINUTES * 60)
    code, _ = gateway.terminate()
    rig.check(code == 0, f"exit code {code}")
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")
    rig.check(timeline.seconds >= MINUTES * 60, f"{timeline.seconds} s")
    first, last = timeline.segments[0], timeline.segments[-1]
    count = last.counters[-1][0] - first.counters[0][0] + 1
    rig.check(sum(len(one.counters) for one in timeline.segments) == count, "pictures missing")
    rig.check(abs(count / 25 - timeline.seconds) < 0.1, f"{count} in {timeline.seconds} s")
