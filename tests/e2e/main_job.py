"""the main job: H.264 and AAC, Digest, every picture once, the right time, a clean archive"""
from rig.clip import Clip

TIMEOUT = 180


def run(rig):
    """Records for a dozen seconds and judges all that came of it."""
    camera = rig.camera(clip=Clip(size="1280x720", kbps=1000), auth="digest")
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    gateway.start()
    rig.wait_blobs(storage, 6)
    state = gateway.camera_status("front-door")
    rig.check(state.get("state") == "recording", f"state {state.get('state')!r}")
    rig.check("1280x720" in state.get("video", ""), f"video {state.get('video')!r}")
    rig.check("48000" in state.get("audio", ""), f"audio {state.get('audio')!r}")
    code, _ = gateway.terminate()
    rig.check(code == 0, f"exit code {code}")
    (asset, timeline), = rig.judge(storage, [camera]).items()
    rig.check(asset == "rig-front-door", f"asset {asset}")
    rig.check(not timeline.holes, f"{len(timeline.holes)} holes")
    for one in timeline.segments:
        rig.check(one.metadata["gateway"] == "rig", one.metadata["gateway"])
        rig.check(one.metadata["camera"] == "front-door", one.metadata["camera"])
        rig.check(set(one.samples) == {"vide", "soun"}, f"tracks {set(one.samples)}")
        # A picture is written after it was sent and before the gateway's clock is half a second on.
        sent = one.counters[0][1] / 1000
        rig.check(-20 < one.start - sent < 500, f"{one.name}: sent at {sent:.0f} ms")
    for one in timeline.segments[:-1]:
        rig.check(abs(one.end - one.start - 2000) <= 40, f"{one.name} is not 2 s long")
