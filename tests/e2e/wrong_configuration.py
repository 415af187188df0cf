"""a wrong configuration: exit code 2 and one line that names the place, and no secret"""
import copy
import json

SECRET = "do-not-tell-me"
# What is wrong; the place the line must name; the change.
CASES = [
    ("half a second", "cameras[0].segmentLength", ("cameras", 0, "segmentLength"),
     "PT1.5S"),
    ("no duration", "segmentLength", ("segmentLength",), "30"),
    ("a number for a string", "localMediaCacheMaximumSizeMiB",
     ("localMediaCacheMaximumSizeMiB",), 64),
    ("too small a ring", "localMediaCacheMaximumSizeMiB", ("localMediaCacheMaximumSizeMiB",), "1"),
    ("an unknown key", "gatewayNmae", ("gatewayNmae",), "rig"),
    ("a name with a space", "gatewayName", ("gatewayName",), "my gateway"),
    ("no name", "gatewayName", ("gatewayName",), None),
    ("another scheme", "cameras[0].rtspUrl", ("cameras", 0, "rtspUrl"),
     f"ftp://user:{SECRET}@127.0.0.1/"),
    ("plain http", "containerSasUrl", ("containerSasUrl",),
     f"http://192.0.2.1/c?sp=c&sig={SECRET}"),
    ("an unknown state", "cameras[0].state", ("cameras", 0, "state"), "Activ"),
    ("a transport not built", "cameras[0].transport", ("cameras", 0, "transport"), "carrier"),
    ("an unknown level", "logLevel", ("logLevel",), "Loud"),
    ("an unknown tier", "accessTier", ("accessTier",), "Freezing"),
    ("two of one name", "cameras[1]", ("cameras", 1), "copy"),
]


def run(rig):
    """Each wrong file by `run` and by `check`; then files that are no JSON at all."""
    gateway = rig.gateway(None, [rig.camera()])
    for what, place, path, value in CASES:
        words = copy.deepcopy(gateway.configuration)
        change(words, path, value)
        refused(rig, gateway, what, place, json.dumps(words))
    refused(rig, gateway, "cut off", "cvr.json", json.dumps(gateway.configuration)[:-30])
    refused(rig, gateway, "empty", "cvr.json", "")
    refused(rig, gateway, "nested without end", "cvr.json", "[" * 100_000)
    refused(rig, gateway, "twice the same key", "gatewayName",
            '{"gatewayName": "a", "gatewayName": "b"}')
    done = gateway.run("run", gateway.folder / "missing.json")
    rig.check(done.returncode == 2, f"missing file: exit code {done.returncode}")
    done = gateway.run("rnu", gateway.path)
    rig.check(done.returncode == 2, f"unknown command: exit code {done.returncode}")


def change(words, path, value):
    """Sets what `path` leads to; None removes it, "copy" repeats the first camera."""
    *way, last = path
    for step in way:
        words = words[step]
    if value == "copy":
        words.append(copy.deepcopy(words[0]))
    elif value is None:
        del words[last]
    else:
        words[last] = value


def refused(rig, gateway, what, place, text):
    """Exit code 2, one line, the place in it, the secret not."""
    gateway.path.write_text(text)
    for command in ("run", "check"):
        done = gateway.run(command, gateway.path)
        said = (done.stderr + done.stdout).strip()
        rig.check(done.returncode == 2, f"{what}: {command} ended with {done.returncode}: {said}")
        rig.check(len(said.splitlines()) == 1, f"{what}: not one line: {said}")
        rig.check(place in said, f"{what}: {said!r} does not name {place}")
        rig.check(SECRET not in said, f"{what}: tells a secret: {said}")
