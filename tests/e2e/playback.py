"""each blob alone and a run of them by byte ranges: ffmpeg, VLC, GStreamer, hls.js in Chromium"""
import shutil

from rig import playlist, players
from rig.clip import Clip
from rig.paths import NODE

TIMEOUT = 300


def run(rig):
    """Four segments of 3 s; every player with its own eyes."""
    camera = rig.camera(clip=Clip(size="640x360", kbps=600))
    storage = rig.storage()
    gateway = rig.gateway(storage, [camera], segmentLength="PT3S")
    gateway.start()
    rig.wait_blobs(storage, 4)
    gateway.terminate()
    segments = rig.judge(storage, [camera])["rig-front-door"].segments[:4]
    folder = rig.dir / "page"
    folder.mkdir()
    shutil.copy(NODE / "node_modules/hls.js/dist/hls.js", folder)
    (folder / "blank.html").write_text("<!doctype html><title>rig</title>")
    (folder / "all.m3u8").write_text(playlist.hls(segments))
    root = segments[0].path.parents[len(segments[0].name.split("/")) - 1]
    with playlist.Server(folder, root) as server:
        for one in segments:
            alone(rig, one)
        for one in segments[1:3]:
            by_eye(rig, server, f"{server.url}/{one.name}", one.end - one.start, False)
        together(rig, server, segments)


def alone(rig, one):
    """A blob in the players that tell how many pictures they saw."""
    pictures = len(one.counters)
    for name, play in (("ffmpeg", players.ffmpeg), ("gstreamer", players.gstreamer)):
        count, complaints = play(one.path)
        rig.check(not complaints, f"{name}: {one.name}: {complaints}")
        rig.check(count == pictures, f"{name}: {one.name}: {count} of {pictures} pictures")


def by_eye(rig, server, url, milliseconds, hls):
    """VLC and Chromium play it in real time; Chromium also seeks in it."""
    seconds = milliseconds / 1000
    complaints = players.vlc(url, rig.dir, seconds + 20)
    rig.check(not complaints, f"vlc: {url}: {complaints}")
    seen = players.chromium(server.url, url, hls)
    rig.check(not seen["complaints"], f"chromium: {url}: {seen['complaints']}")
    rig.check(abs(seen["duration"] - seconds) < 0.1, f"chromium: {url}: {seen['duration']} s")
    rig.check(seen["ended"] and (seen["width"], seen["height"]) == (640, 360), f"chromium: {seen}")
    for asked, shown in seen["seeks"]:
        rig.check(abs(asked - shown) < 0.1, f"chromium: sought {asked}, got {shown}")
    # A loaded machine may skip pictures on the screen; half of them is more than chance.
    rig.check(seen["pictures"] > 25 * seconds / 2, f"chromium: {seen['pictures']} pictures")
    rig.check(len(seen["buffered"]) == 1, f"chromium: {url}: in pieces: {seen['buffered']}")


def together(rig, server, segments):
    """The inside faces, one after the other, by a playlist."""
    url = f"{server.url}/all.m3u8"
    count, complaints = players.ffmpeg(url)
    complaints = [line for line in complaints if not players.opening(line)]
    rig.check(not complaints, f"ffmpeg: {complaints}")
    pictures = sum(len(one.counters) for one in segments)
    rig.check(count == pictures, f"ffmpeg: {count} of {pictures} pictures")
    by_eye(rig, server, url, segments[-1].end - segments[0].start, True)
