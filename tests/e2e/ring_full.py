"""an outage longer than the ring: the oldest is gone and says so, the newest is there"""
from rig.clip import Clip

MIB = 1024 * 1024


def run(rig):
    """8 Mbit/s into 16 MiB for twice as long as fits."""
    camera = rig.camera(clip=Clip(size="1280x720", kbps=8000))
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera], segmentLength="PT1S",
                          localMediaCacheMaximumSizeMiB="16")
    gateway.start()
    rig.wait_blobs(storage, 3)
    # A Put whose answer is lost may have been stored: the gateway cannot know, and tells it as lost.
    rig.wait("a moment without a Put", lambda: gateway.upload_status().get("state") == "idle")
    storage.proxy.refuse()
    rig.wait("evictions", lambda: evicted(gateway) >= 8, 90)
    cache = gateway.camera_status("front-door")["cache"]
    rig.check(cache["unsentBytes"] >= 0.6 * 16 * MIB, f"{cache} is little of 16 MiB")
    storage.proxy.accept()
    kept = len(storage.names()) + cache["unsentSegments"]
    rig.wait_blobs(storage, kept, 120)
    gateway.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(set(timeline.causes) == {"cacheFull"}, f"causes {timeline.causes}")
    rig.check(len(timeline.holes) == 1, f"{len(timeline.holes)} holes")
    (before, after), = timeline.holes
    rig.check(after.start - before.end >= 7000, f"{after.start - before.end} ms evicted")
    kept = sum(one.blob.size for one in timeline.segments if one.start >= after.start)
    rig.check(kept >= 0.6 * 16 * MIB, f"{kept} bytes kept")


def evicted(gateway):
    """Segments that left the ring unsent, as the state tells."""
    return gateway.camera_status("front-door").get("evicted", {}).get("unsentSegments", 0)
