"""SIGTERM: seals, ends within 5 s whatever the upload does, and loses nothing"""
import time


def run(rig):
    """Ends it in the middle of a slow Put, then while the storage answers nothing."""
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    ends = []
    gateway.start()
    rig.wait_blobs(storage, 2)
    storage.proxy.rate = 10_000
    sent = storage.proxy.sent
    rig.wait("a body on its way", lambda: storage.proxy.sent > sent + 20_000)
    ends.append(end(rig, gateway))
    storage.proxy.rate = None
    gateway.start()
    rig.wait_blobs(storage, len(storage.names()) + 4)
    storage.proxy.stalled = True
    rig.sleep(5)
    ends.append(end(rig, gateway))
    storage.proxy.stalled = False
    gateway.start()
    rig.wait_blobs(storage, len(storage.names()) + 5)
    end(rig, gateway)
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(len(timeline.holes) == 2, f"{len(timeline.holes)} holes")
    for when, (before, after) in zip(ends, timeline.holes):
        rig.check("restarted" in [cause for _, _, cause in after.gaps], f"gaps {after.gaps}")
        lost = when - before.end / 1000
        rig.check(lost < 1, f"{lost:.1f} s before the signal are lost")


def end(rig, gateway):
    """Ends it in time; when, in seconds since 1970."""
    when = time.time()
    code, took = gateway.terminate()
    rig.check(code == 0, f"exit code {code}")
    # A second more for a machine that has other things to do.
    rig.check(took <= 5 + 1, f"it took {took:.1f} s")
    return when
