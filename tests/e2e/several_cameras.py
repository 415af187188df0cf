"""six cameras of every kind at once, each with its own asset and every picture once"""
from rig.clip import Clip

TIMEOUT = 300
CAMERAS = {
    "plain": {},
    "silent": {"clip": Clip(audio=0), "auth": "basic"},
    "reordering": {"clip": Clip(bframes=2, audio=0), "auth": "digest"},
    "slow": {"clip": Clip(size="320x240", fps=10, gop=20, kbps=200, audio=16000)},
    "sliced": {"live": {"size": "320x240", "threads": 4}},
    "stereo": {"clip": Clip(fps=30, gop=30, audio=44100, channels=2)},
}


def run(rig):
    """Each camera records 5 segments or more."""
    cameras = [rig.camera(name=name, **options) for name, options in CAMERAS.items()]
    storage = rig.storage()
    gateway = rig.gateway(storage, cameras)
    gateway.start()
    for name in CAMERAS:
        rig.wait_blobs(storage, 5, 90, asset=f"rig-{name}")
    gateway.terminate()
    timelines = rig.judge(storage, cameras)
    rig.check(set(timelines) == {f"rig-{name}" for name in CAMERAS}, f"assets {set(timelines)}")
    for asset, timeline in timelines.items():
        rig.check(not timeline.holes, f"{asset}: holes {timeline.causes}")
        options = CAMERAS[asset.removeprefix("rig-")]
        audio = "live" in options or options.get("clip", Clip()).audio
        for one in timeline.segments:
            rig.check(("soun" in one.samples) == bool(audio), f"{one.name}: {set(one.samples)}")
