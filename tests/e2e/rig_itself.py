"""the rig: cameras send what they should, the judge finds each fault, players play"""
import contextlib
import re
import shutil
import struct

from rig import judge, mp4, playlist, players
from rig.blobmaker import SCALE, Maker, Unit, audio_words, video_words
from rig.clip import Clip, counter_of
from rig.paths import NODE
from rig.process import run as execute

TIMEOUT = 240
CLIP = Clip(size="320x180", kbps=200, audio=48000)
SECONDS = 2
COUNT = 4


def run(rig):
    """Tries each part of the rig on hand-made blobs and on ffmpeg as the gateway's stand-in."""
    camera = rig.camera(clip=CLIP, auth="digest")
    sent(rig, camera)
    storage = rig.storage()
    made = hand_made()
    for name, headers, body in made:
        rig.check(storage.put(name, body, headers) == 201, f"{name} was not stored")
    timeline = rig.judge(storage, [camera])["rig-front-door"]
    rig.check(len(timeline.segments) == COUNT and not timeline.holes, "not what was stored")
    rig.check(timeline.seconds == SECONDS * COUNT, f"{timeline.seconds} s")
    for what, words, change in FAULTS:
        caught(rig, storage, camera, made, what, words, change)
    playing(rig, timeline)


def sent(rig, camera):
    """Every picture and audio frame the camera sends arrives once, in order, with its counter."""
    path = rig.dir / "sent.mp4"
    execute(["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", camera.url_with_credentials,
             "-t", "4", "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof",
             path], 60, check=True)
    data = path.read_bytes()
    top = mp4.boxes(data)
    tracks = mp4.moov_tracks(data, next(box for box in top if box.kind == "moov"))
    numbers = {one.handler: one.number for one in tracks}
    found = {one.number: [] for one in tracks}
    for box in top:
        if box.kind == "moof":
            for number, samples in mp4.fragment_samples(data, box, tracks).items():
                found[number] += [data[one.offset:one.offset + one.size] for one in samples]
    counters = [counter_of(one)[0] for one in found[numbers[mp4.VIDEO]]]
    rig.check(len(counters) >= 75, f"{len(counters)} pictures")
    first = counters[0]
    rig.check(counters == list(range(first, first + len(counters))), f"counters {counters}")
    frames = camera.clip.load().frames
    places = [frames.index(one) for one in found[numbers[mp4.AUDIO]]]
    rig.check(len(places) >= 150, f"{len(places)} audio frames")
    for before, after in zip(places, places[1:]):
        rig.check(after == (before + 1) % len(frames), f"audio frame {after} after {before}")


def hand_made(skip=()):
    """Blobs of the clip: (name, headers, body) each; `skip` leaves out pictures by counter."""
    loaded = CLIP.load()
    width, height = map(int, CLIP.size.split("x"))
    units = loaded.pictures[0].units
    sps = next(one for one in units if one[0] & 0x1F == 7)
    pps = next(one for one in units if one[0] & 0x1F == 8)
    words = [video_words(sps, pps, width, height),
             audio_words(loaded.audio_config, CLIP.audio, CLIP.channels)]
    maker = Maker("rig-front-door", "rig", "front-door", words, 1_795_293_000_123)
    picture, frame, begin = SCALE // CLIP.fps, 1024 * SCALE // CLIP.audio, 7 * SCALE
    made, taken = [], 0
    for segment in range(COUNT):
        video, audio = [], []
        first = segment * SECONDS * CLIP.fps
        for counter in range(first, first + SECONDS * CLIP.fps):
            if counter in skip:
                continue
            one = loaded.pictures[counter % len(loaded.pictures)]
            video.append(Unit(length_prefixed(one.annex_b(counter, 0)), begin + counter * picture,
                              picture, 0, one.sync))
        end = begin + (first + SECONDS * CLIP.fps) * picture
        while begin + taken * frame < end:
            data = loaded.frames[taken % len(loaded.frames)]
            audio.append(Unit(data, begin + taken * frame, frame))
            taken += 1
        made.append(maker.blob([video, audio], end))
    return made


def length_prefixed(annex_b):
    """The NAL units of an access unit as a sample has them."""
    units = annex_b.split(b"\0\0\0\1")[1:]
    return b"".join(struct.pack(">I", len(one)) + one for one in units)


def caught(rig, storage, camera, made, what, words, change):
    """The judge must name the fault that `change` makes in the second of the blobs."""
    changed = list(made)
    if change is None:
        del changed[1]
    else:
        changed[1] = change(*made[1])
    storage.delete(storage.container)
    rig.wait("new container", lambda: with_container(storage), 30)
    for name, headers, body in changed:
        headers = {key: value for key, value in headers.items() if key != "Content-MD5"}
        rig.check(storage.put(name, body, headers) == 201, f"{what}: not stored")
    try:
        rig.judge(storage, [camera])
    except judge.Faults as faults:
        rig.check(re.search(words, str(faults)), f"{what}: only told {str(faults)[:500]}")
        return
    rig.check(False, f"the judge did not notice: {what}")


def with_container(storage):
    """Makes the container; false while the old one is still going away."""
    with contextlib.suppress(RuntimeError):
        storage.create(storage.container)
        return True
    return False


def renamed(pattern, replacement):
    """Changes the name."""
    return lambda name, headers, body: (re.sub(pattern, replacement, name), headers, body)


def header(key, value):
    """Changes one piece of metadata; None removes it."""
    def change(name, headers, body):
        headers = {**headers, f"x-ms-meta-{key}": value}
        return name, {k: v for k, v in headers.items() if v is not None}, body
    return change


def bytes_at(find, replace, last=False):
    """Changes the body at one place."""
    def change(name, headers, body):
        at = body.rfind(find) if last else body.find(find)
        return name, headers, body[:at] + replace + body[at + len(find):]
    return change


def without_end(name, headers, body):
    """Cuts the body short."""
    return name, headers, body[:-5000]


def instead(pictures):
    """The blob made without some pictures, told nowhere."""
    return lambda *_: hand_made(skip=pictures)[1]


def later_picture(name, headers, body):
    """A picture's counter is that of one that was already there."""
    return name, headers, body.replace(b"counter!000000000060", b"counter!000000000059")


def broken_slice(name, headers, body):
    """A bit error in the middle of a picture."""
    at = body.rfind(b"counter!000000000075") + 1200
    return name, headers, body[:at] + bytes(one ^ 0x55 for one in body[at:at + 64]) + body[at + 64:]


FAULTS = [
    ("a segment is missing", "missing, no gap told", None),
    ("the duration is wrong", "no gap told|before its predecessor ends",
     renamed("_2000_", "_1999_")),
    ("the name has no ring", "not as the contract says", renamed("_5eed1234-", "_")),
    ("the sequence differs", "sequence 9 is not the name's", header("sequence", "9")),
    ("no clock", "metadata clock is missing", header("clock", None)),
    ("a gap without a hole", "where nothing is missing",
     header("gaps", "2026-11-21T20:30:00.000Z/2026-11-21T20:30:02.000Z/powerLost")),
    ("an unknown cause", "unknown cause",
     header("gaps", "2026-11-21T20:30:00.000Z/2026-11-21T20:30:02.000Z/weather")),
    ("a wrong initoffset", "initoffset|malformed", header("initoffset", "1234")),
    ("the body is cut", "malformed", without_end),
    ("pictures are missing", "missing and nobody says so|tfdt", instead({60, 61})),
    ("a picture comes twice", "twice or out of order", later_picture),
    ("the faces differ", "differs between the faces", bytes_at(b"stss", b"skip")),
    ("a bit error", "ffmpeg: ", broken_slice),
]


def playing(rig, timeline):
    """All players play a hand-made blob and the playlist of all of them."""
    one = timeline.segments[0]
    folder = one.path.parents[4]
    pictures = SECONDS * CLIP.fps
    for name, (count, complaints) in {"ffmpeg": players.ffmpeg(one.path),
                                      "gstreamer": players.gstreamer(one.path)}.items():
        rig.check(count == pictures and not complaints, f"{name}: {count}, {complaints}")
    shutil.copy(NODE / "node_modules/hls.js/dist/hls.js", folder)
    (folder / "blank.html").write_text("<!doctype html><title>rig</title>")
    (folder / "all.m3u8").write_text(playlist.hls(timeline.segments))
    with playlist.Server(folder) as server:
        url = f"{server.url}/all.m3u8"
        count, complaints = players.ffmpeg(url)
        complaints = [line for line in complaints if not players.opening(line)]
        rig.check(count == COUNT * pictures and not complaints, f"ffmpeg: {count}, {complaints}")
        for address, seconds in ((f"{server.url}/{one.name}", SECONDS), (url, SECONDS * COUNT)):
            complaints = players.vlc(address, rig.dir, seconds + 10)
            rig.check(not complaints, f"vlc: {complaints}")
            seen = players.chromium(server.url, address, address == url)
            rig.check(abs(seen["duration"] - seconds) < 0.1 and seen["ended"], f"chromium: {seen}")
            rig.check(not seen["complaints"] and seen["pictures"] > 0, f"chromium: {seen}")
