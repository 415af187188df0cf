"""a wrong SAS, an expired one, no container: each told plainly, healed by SIGHUP without loss"""

TIMEOUT = 300


def run(rig):
    """One refusal after the other, while the ring takes everything."""
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera], containerSasUrl=storage.wrong_url())
    gateway.start()
    refused(rig, gateway, "403")
    gateway.configure(containerSasUrl=storage.expired_url())
    gateway.hup()
    refused(rig, gateway, "expired")
    gateway.configure(containerSasUrl=storage.url("nowhere"))
    gateway.hup()
    refused(rig, gateway, "404")
    # A wrong file changes nothing, and says so.
    gateway.configure(containerSasUrl="nonsense")
    gateway.hup()
    rig.wait("word of the wrong file", lambda: "containerSasUrl" in gateway.log_text())
    gateway.configure(containerSasUrl=storage.url())
    gateway.hup()
    rig.wait_blobs(storage, 6)
    rig.wait("end of the backlog", lambda: gateway.camera_status("front-door")
             .get("cache", {}).get("unsentSegments") == 0, 60)
    rig.check(gateway.upload_status().get("state") in ("idle", "uploading"),
              f"upload {gateway.upload_status()}")
    gateway.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")


def refused(rig, gateway, word):
    """State and log both say that storage refuses, and why."""
    def told():
        upload = gateway.upload_status()
        return upload.get("state") == "refused" and word in (upload.get("message") or "")
    rig.wait(lambda: f"refusal with {word!r}, but {gateway.upload_status()}", told)
    rig.check(word in gateway.log_text(), f"the log does not say {word!r}")
