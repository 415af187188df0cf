"""an uplink at half the needed speed: nine tenths of the bytes sent end in finished blobs"""
from rig.clip import Clip

TIMEOUT = 300


def run(rig):
    """4 Mbit/s into 16 MiB, 2 Mbit/s out, for three times as long as the ring lasts."""
    camera = rig.camera(clip=Clip(size="1280x720", kbps=4000))
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera], localMediaCacheMaximumSizeMiB="16")
    storage.proxy.rate = 4_000_000 / 8 / 2
    gateway.start()
    rig.sleep(100)
    gateway.kill()
    # The Put that was under way, however long its segment, is no waste of the gateway's.
    rig.sleep(1)
    sent = storage.proxy.sent
    blobs = storage.blobs()
    finished = sum(one.size for one in blobs) + max(one.size for one in blobs)
    rig.check(finished >= 0.9 * sent, f"{finished} of {sent} bytes")
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(timeline.holes, "an uplink of half the speed and yet no hole: the test tests nothing")
    rig.check(set(timeline.causes) == {"cacheFull"}, f"causes {timeline.causes}")
