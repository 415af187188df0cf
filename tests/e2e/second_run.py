"""a second run on the same rings is refused, and the first goes on"""


def run(rig):
    """The same configuration, and another one with the same cache."""
    camera = rig.camera()
    storage = rig.storage()
    first = rig.gateway(storage, [camera])
    first.start()
    rig.wait_blobs(storage, 2)
    second = rig.gateway(storage, [camera], localMediaCachePath=str(first.cache))
    for path in (first.path, second.path):
        done = second.run("run", path)
        rig.check(done.returncode == 1, f"exit code {done.returncode}")
        rig.check(done.stderr.strip(), "not a word why")
        rig.check("panicked" not in done.stderr, done.stderr)
    rig.wait_blobs(storage, len(storage.names()) + 2)
    first.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")
