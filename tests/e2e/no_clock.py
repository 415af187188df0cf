"""a clock at 1970 that nobody sets: the storage's host tells the time, all is sent with it"""
import subprocess

TIMEOUT = 180

# 1970 for the gateway alone, which must not be able to set this machine's clock.
UNDER = [
    "setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time", "--",
    "env", "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1", "TZ=UTC", "FAKETIME=@1970-01-01 00:01:00",
    "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1",
]


def run(rig):
    """Until the host is asked no certificate is good; then everything goes out, in order."""
    shown = subprocess.run([*UNDER, "date", "+%Y"], capture_output=True, text=True, check=True)
    rig.check(shown.stdout == "1970\n", f"the rig's clock is at {shown.stdout!r}")
    camera = rig.camera()
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera])
    gateway.start(UNDER)
    rig.wait("recording without a clock", lambda: unsent_without_clock(gateway))
    rig.check(not storage.names(), "something was sent at a time when no certificate was good")
    rig.wait("a corrected clock", lambda: gateway.status().get("clock") == "corrected")
    rig.wait_blobs(storage, 8, 90)
    code, _ = gateway.terminate()
    rig.check(code == 0, f"exit code {code}")
    rig.check("system's clock cannot be set" in gateway.log_text(), "no word of the capability")
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(not timeline.holes, f"{len(timeline.holes)} holes")
    rig.check(timeline.segments[0].metadata["sequence"] == "0", "the first segment is missing")
    for one in timeline.segments:
        rig.check(one.metadata["clock"] == "corrected", f"clock {one.metadata['clock']}")
        # `Date` is whole seconds.
        sent = one.counters[0][1] / 1000
        rig.check(abs(one.start - sent) < 1500, f"{one.name}: sent at {sent:.0f} ms")


def unsent_without_clock(gateway):
    """The state: a segment waits, and the clock is not known."""
    waits = gateway.camera_status("front-door").get("cache", {}).get("unsentSegments", 0) > 0
    return waits and gateway.status().get("clock") == "unsynchronized"
