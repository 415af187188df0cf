"""a camera goes and comes back, or falls silent: the gap says cameraDisconnected"""


def run(rig):
    """First the camera's process ends; then it freezes, with its connection open."""
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    gateway.start()
    rig.wait_blobs(storage, 2)
    camera.restart(away=3)
    rig.wait("recording", lambda: recording(gateway))
    rig.wait_blobs(storage, len(storage.names()) + 3)
    camera.freeze()
    rig.wait("notice of the silence", lambda: not recording(gateway), 90)
    camera.restart()
    rig.wait("recording", lambda: recording(gateway), 90)
    rig.wait_blobs(storage, len(storage.names()) + 3)
    gateway.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(len(timeline.holes) == 2, f"{len(timeline.holes)} holes")
    rig.check(set(timeline.causes) == {"cameraDisconnected"}, f"causes {timeline.causes}")
    told = [gap["cause"] for gap in gateway.camera_status("front-door").get("gaps", [])]
    rig.check("cameraDisconnected" in told, f"the state tells of {told}")


def recording(gateway):
    """The state says that it records."""
    return gateway.camera_status("front-door").get("state") == "recording"
