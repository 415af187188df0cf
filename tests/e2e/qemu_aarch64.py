"""aarch64 in QEMU, 128 MiB, one 1080p camera: boots and does the main job"""
from rig.clip import Clip

ALONE = True
LONG = True
BOARD = "aarch64"
TIMEOUT = 300
RESIDENT_KIB = 12 * 1024
BOOT_SECONDS = 20


def run(rig):
    """Two segments, sent over HTTPS."""
    camera = rig.camera(clip=Clip(size="1920x1080", kbps=2000), auth="digest")
    storage = rig.storage()
    board = rig.board(storage, [camera], arch=BOARD)
    board.start()
    rig.wait_blobs(storage, 2, 200)
    _, peak = board.memory_kib()
    booted = board.booted()
    board.power_off()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")
    boot = timeline.segments[0].start / 1000 - booted
    rig.note(f"boot to recording {boot:.1f} s; resident at most {peak} KiB")
    rig.check(boot < BOOT_SECONDS, f"{boot:.1f} s from boot to recording")
    rig.check(peak <= RESIDENT_KIB, f"{peak} KiB resident at most")
