"""kill -9 while recording and while uploading: at most the last two seconds, nothing twice"""
import time

TIMEOUT = 300


def run(rig):
    """The machine goes on, so the cause is `restarted`."""
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    deaths = []
    gateway.start()
    rig.wait_blobs(storage, 2)
    rig.sleep(1.3)
    deaths.append(die(gateway))
    gateway.start()
    rig.wait_blobs(storage, len(storage.names()) + 3)
    # A line slow enough for the next Put to be under way for seconds.
    storage.proxy.rate = 20_000
    sent = storage.proxy.sent
    rig.wait("a body on its way", lambda: storage.proxy.sent > sent + 40_000)
    deaths.append(die(gateway))
    storage.proxy.rate = None
    gateway.start()
    rig.wait_blobs(storage, len(storage.names()) + 5)
    code, _ = gateway.terminate()
    rig.check(code == 0, f"exit code {code}")
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(len(timeline.holes) == 2, f"{len(timeline.holes)} holes")
    for death, (before, after) in zip(deaths, timeline.holes):
        causes = [cause for _, _, cause in after.gaps]
        rig.check("restarted" in causes, f"causes {causes}")
        rig.check(set(causes) <= {"restarted", "cameraDisconnected"}, f"causes {causes}")
        lost = death - before.end / 1000
        # flashSyncInterval, and the time this machine's disk takes for a sync.
        rig.check(lost <= 2 + 1.5, f"{lost:.1f} s before the kill are lost")


def die(gateway):
    """Kills it; when it died, in seconds since 1970."""
    gateway.kill()
    return time.time()
