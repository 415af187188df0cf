"""storage away for five segments: all of it is there afterwards, oldest first"""


def run(rig):
    """Refuses, then cuts lines in the middle of bodies, then lets everything through."""
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    gateway.start()
    rig.wait_blobs(storage, 2)
    storage.proxy.refuse()
    rig.wait("backlog", lambda: backlog(gateway) >= 4)
    rig.check(gateway.upload_status().get("state") in ("waiting", "uploading"),
              f"upload {gateway.upload_status()}")
    before = len(storage.names())
    # Each connection is reset in the middle of its first body.
    storage.proxy.cut_after = 60_000
    storage.proxy.accept()
    connections = storage.proxy.connections
    rig.wait("broken lines", lambda: storage.proxy.connections >= connections + 2, 90)
    new = storage.names()[before:]
    rig.check(not new, f"blobs by broken lines: {new}")
    storage.proxy.cut_after = None
    rig.wait("end of the backlog", lambda: backlog(gateway) == 0, 120)
    gateway.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")
    rig.check(len(timeline.segments) >= before + 4, f"{len(timeline.segments)} segments")
    expected = [one.name for one in timeline.segments]
    order = storage.put_order()
    rig.check(order == expected, f"stored in another order: {order}")


def backlog(gateway):
    """Segments sealed and not yet sent, as the state tells."""
    cache = gateway.camera_status("front-door").get("cache", {})
    return cache.get("unsentSegments", 0)
