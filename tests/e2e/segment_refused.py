"""one segment refused for ever, a lost reply, 503, 429: the others go on, each is counted once"""
from rig.faults import Fault

TIMEOUT = 360

REFUSED, LOST, DOUBTFUL, BUSY, THROTTLED = "-2.mp4", "-4.mp4", "-5.mp4", "-6.mp4", "-8.mp4"
# Seconds that storage asks for.
RETRY_AFTER = 4


def run(rig):
    """One camera, so that no other's success can stand in for its own."""
    camera = rig.camera()
    storage = rig.storage()
    faults = rig.faults(storage)
    wait = {"Retry-After": str(RETRY_AFTER)}
    faults.faults = [
        Fault(REFUSED, 400, "InvalidHeaderValue"),
        Fault(LOST, times=1),
        # So Azurite answers where the blob is there and the SAS only allows to create.
        Fault(DOUBTFUL, times=1),
        Fault(DOUBTFUL, 403, "AuthorizationPermissionMismatch", times=1),
        Fault(BUSY, 503, "ServerBusy", wait, times=2),
        Fault(THROTTLED, 429, "", wait, times=1),
    ]
    gateway = rig.gateway(storage, [camera], containerSasUrl=storage.url(permissions="cw"))
    gateway.start()
    rig.wait_blobs(storage, 9)
    order = storage.put_order()
    rig.check(order == sorted(order), f"stored in another order: {order}")
    the_others(rig, faults)
    set_aside(rig, gateway, faults)
    # It is mended: with SIGHUP it is tried again, and found nowhere else.
    faults.faults = []
    gateway.hup()
    rig.wait("the refused segment", lambda: find(storage, REFUSED))
    rig.wait("the state to be without it", lambda: not named(gateway))
    rig.wait("each segment counted once", lambda: gateway.upload_status().get("segments")
             == len(storage.names()))
    rig.check(gateway.camera_status("front-door")["evicted"]["unsentSegments"] == 0, "evicted")
    gateway.terminate()
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"holes: {timeline.causes}")


def the_others(rig, faults):
    """A lost reply leads to 409 and one blob; who asks for a pause gets it."""
    for name, expected in ((LOST, [None, 409]), (DOUBTFUL, [None, 403]),
                           (BUSY, [503, 503, 201]), (THROTTLED, [429, 201])):
        statuses = [status for status, _ in faults.tries(name)]
        rig.check(statuses == expected, f"{name}: {statuses}")
    for name in (BUSY, THROTTLED):
        tries = faults.tries(name)
        for (_, before), (_, after) in zip(tries, tries[1:]):
            rig.check(after - before >= RETRY_AFTER, f"{name}: again after {after - before:.1f} s")


def set_aside(rig, gateway, faults):
    """After five tries, the first minute apart from the second; SIGHUP makes the others sooner."""
    rig.check(len(faults.tries(REFUSED)) == 1, "tried again within a minute")
    rig.wait("a second try", lambda: len(faults.tries(REFUSED)) == 2, 90)
    for count in (3, 4, 5):
        rig.check(not named(gateway), f"named after {count - 1} tries")
        gateway.hup()
        rig.wait(f"try {count}", lambda: len(faults.tries(REFUSED)) == count)
    rig.wait("its name in the state", lambda: named(gateway))
    rig.check(named(gateway)[0].endswith(REFUSED), f"named {named(gateway)}")
    rig.check(f"{named(gateway)[0]} is set aside" in gateway.log_text(), "not named in the log")
    first, second = (when for _, when in faults.tries(REFUSED)[:2])
    rig.check(second - first >= 60, f"tried again after {second - first:.0f} s")


def named(gateway):
    """The blobs that the state names as set aside."""
    return gateway.camera_status("front-door").get("setAside", [])


def find(storage, name):
    """The blobs whose names end so."""
    return [one for one in storage.names() if one.endswith(name)]
