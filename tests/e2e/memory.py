"""resident memory stays within 8 MiB with one camera, uploading over HTTPS"""
from rig.clip import Clip

LIMIT_KIB = 8 * 1024


def run(rig):
    """1080p at 2 Mbit/s with audio; the peak as the kernel counted it."""
    camera = rig.camera(clip=Clip(size="1920x1080", kbps=2000))
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    gateway.start()
    rig.wait_blobs(storage, 10, 90)
    now, peak = gateway.memory_kib()
    gateway.terminate()
    rig.check(now <= LIMIT_KIB, f"{now} KiB resident, {peak} KiB at most")
    rig.check(not rig.judge(storage, [camera])["rig-front-door"].holes, "holes")
