"""no password and no signature in log, state or output, whatever goes wrong, at Verbose"""


def run(rig):
    """A wrong password, a refused SAS, credentials in the URL; then all of it right."""
    camera = rig.camera(auth="digest")
    storage = rig.storage()
    wrong = "wrong-horse-9"
    gateway = rig.gateway(storage, [camera], containerSasUrl=storage.wrong_url(),
                          per_camera={camera.name: {"rtspPassword": wrong}})
    gateway.start()
    rig.wait("refusal by the camera", lambda: "401" in gateway.log_text()
             or "password" in str(gateway.camera_status(camera.name).get("message")).lower())
    gateway.configure(per_camera={camera.name: {
        "rtspUrl": camera.url_with_credentials, "rtspUserName": None, "rtspPassword": None}})
    gateway.hup()
    rig.wait("refusal by the storage",
             lambda: gateway.upload_status().get("state") == "refused")
    gateway.configure(containerSasUrl=storage.url())
    gateway.hup()
    rig.wait_blobs(storage, 2)
    outputs = [gateway.run(command, gateway.path) for command in ("check", "status")]
    outputs += [gateway.run("check", "--probe", gateway.path, seconds=60)]
    gateway.terminate()
    for done in outputs:
        for secret in gateway.secrets:
            rig.check(secret not in done.stdout + done.stderr, f"{done.args[1]} tells a secret")
    rig.check({wrong, camera.password} <= gateway.secrets, "the test looks for too little")
