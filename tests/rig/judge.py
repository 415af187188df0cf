"""The judge of what the gateway stored: names, metadata, timeline, both faces of each body.

`judge` downloads every blob of a container and finds fault with each and with the line they make
together. It knows the contract and nothing of the gateway's code.
"""
import base64
import datetime
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import mp4
from .clip import counter_of
from .players import AS_TIMED
from .process import run

CAUSES = {
    "cameraDisconnected", "mediaLost", "overload", "cacheFull", "powerLost", "restarted",
    "cacheCorrupt", "cacheFailed", "formatChanged", "clockStepped", "inactive", "uploadRefused",
}
CLOCKS = {"synchronized", "corrected", "unsynchronized"}
NAME = re.compile(
    r"(?P<asset>.+)/(?P<day>\d{4}/\d{2}/\d{2})/"
    r"(?P<start>\d{8}T\d{6}\.\d{3}Z)_(?P<duration>\d+)_(?P<ring>[0-9a-f]{8})-(?P<sequence>\d+)\.mp4"
)
REQUIRED = ("gateway", "camera", "sequence", "start", "end", "clock", "initoffset", "initlength",
            "initid")
# How far, in milliseconds, what a player computes may stand from the name.
ROUNDING = 2


class Faults(Exception):
    """What the judge found; one line a fault."""


@dataclass
class Segment:
    """One blob with all the judge knows of it; times in milliseconds since 1970."""

    name: str
    path: Path
    blob: object
    asset: str
    start: int
    end: int
    ring: str
    sequence: int
    gaps: list
    data: bytes = b""
    tracks: list = field(default_factory=list)
    init: tuple = (0, 0)
    # {handler: [Sample]} of the inside face.
    samples: dict = field(default_factory=dict)
    counters: list = field(default_factory=list)

    @property
    def metadata(self):
        """The blob's metadata."""
        return self.blob.metadata

    @property
    def inner(self):
        """The bytes behind the init segment: the fragments."""
        return self.data[self.init[0] + self.init[1]:]


@dataclass
class Timeline:
    """The segments of one asset, oldest first."""

    asset: str
    segments: list
    # (segment before, segment after) where video is missing between the two.
    holes: list

    @property
    def causes(self):
        """Every cause told for video missing between two segments, in order."""
        return [cause for _, after in self.holes for _, _, cause in after.gaps]

    @property
    def seconds(self):
        """Length of the video, without holes."""
        return sum(one.end - one.start for one in self.segments) / 1000

    def runs(self):
        """Lists of segments without a hole between them."""
        found = []
        for one in self.segments:
            if not found or any(after is one for _, after in self.holes):
                found.append([])
            found[-1].append(one)
        return found


def judge(storage, folder, cameras=(), players=True, clock_error=0.5):
    """Judges every blob of `storage`; {asset: Timeline}, or raises `Faults`.

    `cameras`: with their clips, every picture and every audio frame is accounted for by its
    counter. `players`: ffprobe and ffmpeg judge each blob too. `clock_error`: seconds by which a
    hole's length may be told wrong.
    """
    court = Court(Path(folder), players, clock_error)
    segments = [one for one in map(court.read, *fetch(storage, folder)) if one]
    assets = {}
    for one in segments:
        assets.setdefault(one.asset, []).append(one)
    by_name = {one.name: one for one in cameras}
    timelines = {}
    for asset, those in assets.items():
        timeline = court.line(asset, those)
        camera = by_name.get(those[0].metadata.get("camera"))
        court.once(timeline, camera.clip.load() if camera and camera.clip else None)
        court.inside(timeline)
        timelines[asset] = timeline
    court.close()
    return timelines


def fetch(storage, folder):
    """Downloads all blobs: lists of blobs and of files."""
    blobs, paths = storage.blobs(), []
    for one in blobs:
        path = Path(folder) / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(storage.get(one.name))
        paths.append(path)
    return blobs, paths


class Court:
    """Collects faults, so that one run tells all of them."""

    def __init__(self, folder, players=True, clock_error=0.5):
        self.folder = folder
        self.players = players
        self.clock_error = clock_error
        self.faults = []

    def fault(self, where, what):
        """Notes a fault."""
        self.faults.append(f"{where}: {what}")

    def expect(self, true, where, what):
        """Notes a fault unless `true`."""
        if not true:
            self.fault(where, what)
        return true

    def close(self):
        """Raises `Faults` if there were any."""
        if self.faults:
            more = len(self.faults) - 20
            lines = self.faults[:20] + ([f"and {more} more"] if more > 0 else [])
            raise Faults("\n".join(lines))

    def read(self, blob, path):
        """Judges one blob alone; its `Segment`, or None where nothing can be said of it."""
        match = NAME.fullmatch(blob.name)
        if not self.expect(match, blob.name, "the name is not as the contract says"):
            return None
        start = basic_millis(match["start"])
        segment = Segment(
            blob.name, path, blob, match["asset"], start, start + int(match["duration"]),
            match["ring"], int(match["sequence"]), self._gaps(blob))
        day = match["day"].replace("/", "")
        self.expect(match["start"].startswith(day), blob.name, "folder and start differ")
        segment.data = path.read_bytes()
        self._headers(segment)
        try:
            if self._faces(segment) and self.players:
                self._players(segment)
        except (mp4.Malformed, KeyError, IndexError, ValueError, AttributeError) as error:
            self.fault(blob.name, f"malformed: {error!r}")
            return None
        return segment

    def _gaps(self, blob):
        gaps = []
        for entry in filter(None, blob.metadata.get("gaps", "").split(";")):
            try:
                start, end, cause = entry.split("/")
                gaps.append((iso_millis(start), iso_millis(end), cause))
            except ValueError:
                self.fault(blob.name, f"gap {entry!r} is not START/END/CAUSE")
                continue
            self.expect(cause in CAUSES, blob.name, f"unknown cause {cause!r}")
        self.expect(len(gaps) <= 16, blob.name, f"{len(gaps)} gaps")
        for start, end, cause in gaps:
            self.expect(start <= end, blob.name, f"gap {cause} ends before it starts")
        return gaps

    def _headers(self, one):
        for key in REQUIRED:
            self.expect(one.metadata.get(key), one.name, f"metadata {key} is missing")
        said = one.metadata
        self.expect(said.get("sequence") == str(one.sequence), one.name,
                    f"sequence {said.get('sequence')} is not the name's")
        for key, value in (("start", one.start), ("end", one.end)):
            try:
                same = iso_millis(said.get(key, "")) == value
            except ValueError:
                same = False
            self.expect(same, one.name, f"{key} {said.get(key)!r} is not the name's")
        self.expect(said.get("clock") in CLOCKS, one.name, f"clock {said.get('clock')!r}")
        self.expect(one.blob.content_type == "video/mp4", one.name,
                    f"content type {one.blob.content_type}")
        digest = base64.b64encode(hashlib.md5(one.data).digest()).decode()
        self.expect(one.blob.md5 == digest, one.name, "Content-MD5 is not the body's")
        self.expect(one.end > one.start, one.name, "it lasts no time")

    def _faces(self, one):
        """Reads both faces and compares them, sample by sample."""
        data = one.data
        top = mp4.boxes(data)
        kinds = [box.kind for box in top]
        if not self.expect(kinds[:2] == ["ftyp", "moov"] and kinds.count("mdat") == 1
                           and kinds[-1] == "mdat", one.name, f"front boxes {kinds}"):
            return False
        outside = mp4.moov_tracks(data, top[1])
        mdat = top[-1]
        offset, length = int(one.metadata["initoffset"]), int(one.metadata["initlength"])
        one.init = (offset, length)
        self.expect(offset == mdat.body, one.name,
                    f"initoffset {offset} is not the mdat's payload at {mdat.body}")
        init = mp4.boxes(data, offset, offset + length)
        self.expect([box.kind for box in init] == ["ftyp", "moov"], one.name, "init segment")
        one.tracks = mp4.moov_tracks(data, next(box for box in init if box.kind == "moov"))
        inside = {track.number: [] for track in one.tracks}
        ends = {}
        for box in mp4.boxes(data, offset + length, mdat.end):
            self.expect(box.kind in ("moof", "mdat", "free", "styp"), one.name,
                        f"{box.kind} among the fragments")
            if box.kind != "moof":
                continue
            for number, samples in mp4.fragment_samples(data, box, one.tracks).items():
                if number in ends and samples:
                    self.expect(samples[0].dts == ends[number], one.name,
                                f"track {number}: tfdt {samples[0].dts} after {ends[number]}")
                inside[number] += samples
                if samples:
                    ends[number] = samples[-1].dts + samples[-1].duration
        self.expect([t.number for t in outside] == [t.number for t in one.tracks], one.name,
                    "the faces have different tracks")
        for front, back in zip(outside, one.tracks):
            one.samples[back.handler] = inside[back.number]
            self._same(one, front, back, inside[back.number])
        self._starts(one)
        return True

    def _same(self, one, front, back, inside):
        """The sample table and the fragments must tell the same samples."""
        where = f"{one.name}: {front.handler}"
        if not self.expect(len(front.samples) == len(inside), where,
                           f"{len(front.samples)} samples in front, {len(inside)} inside"):
            return
        first = inside[0].dts if inside else 0
        for at, (a, b) in enumerate(zip(front.samples, inside)):
            same = (a.offset, a.size, a.sync) == (b.offset, b.size, b.sync)
            front_time = (a.dts / front.timescale, a.composition / front.timescale)
            back_time = ((b.dts - first) / back.timescale, b.composition / back.timescale)
            near = all(abs(x - y) < 0.001 for x, y in zip(front_time, back_time))
            if not self.expect(same and near, where, f"sample {at} differs between the faces"):
                return

    def _starts(self, one):
        video = one.samples.get(mp4.VIDEO)
        if video is None:
            return
        if self.expect(video, one.name, "no video sample"):
            continues = one.metadata.get("continues") == "true"
            self.expect(video[0].sync or continues, one.name,
                        "it does not begin with a sync sample")
        scale = next(t.timescale for t in one.tracks if t.handler == mp4.VIDEO)
        length = sum(sample.duration for sample in video) * 1000 / scale
        self.expect(abs(length - (one.end - one.start)) <= ROUNDING, one.name,
                    f"{length:.1f} ms of video, the name says {one.end - one.start}")
        one.counters = [
            counter_of(one.data[s.offset:s.offset + s.size]) for s in video]

    def _players(self, one):
        probed = probe(one.path)
        told = float(probed["format"]["duration"]) * 1000
        self.expect(abs(told - (one.end - one.start)) <= ROUNDING, one.name,
                    f"ffprobe says {told:.1f} ms, the name {one.end - one.start}")
        self._dts(one.name, probed)
        video = len(one.samples.get(mp4.VIDEO, []))
        self.decode(one.name, one.path, video)

    def _dts(self, where, probed):
        """Within a stream each packet begins where the last one ended."""
        ends = {}
        for packet in probed["packets"]:
            stream = packet["stream_index"]
            if "dts" not in packet:
                self.fault(where, f"stream {stream}: a packet without a time")
                continue
            if stream in ends and abs(packet["dts"] - ends[stream]) > 1:
                self.fault(where, f"stream {stream}: dts {packet['dts']} after {ends[stream]}")
            ends[stream] = packet["dts"] + packet.get("duration", 0)

    def decode(self, where, path, pictures):
        """ffmpeg decodes all of it, says nothing, and gives as many pictures as samples."""
        count, said = decode(path)
        self.expect(not said, where, f"ffmpeg: {said[:300]}")
        if pictures:
            self.expect(count == pictures, where, f"{count} pictures of {pictures} samples")

    def line(self, asset, segments):
        """Judges the order and the seams of an asset's segments; its `Timeline`."""
        segments = sorted(segments, key=lambda one: (one.start, one.sequence))
        holes = []
        for before, after in zip(segments, segments[1:]):
            if before.ring == after.ring:
                self.expect(before.sequence < after.sequence, after.name,
                            f"sequence {after.sequence} after {before.sequence}")
            if after.start == before.end:
                self.expect(not after.gaps, after.name, "tells gaps where nothing is missing")
                continue
            if self.expect(after.start > before.end, after.name,
                           f"begins {before.end - after.start} ms before its predecessor ends"):
                holes.append((before, after))
                self._tiled(before, after)
        return Timeline(asset, segments, holes)

    def _tiled(self, before, after):
        """The gaps told must fill the hole, one behind the other."""
        missing = f"{after.start - before.end} ms missing"
        if not self.expect(after.gaps, after.name, f"{missing}, no gap told"):
            return
        at = before.end
        for start, end, cause in after.gaps:
            self.expect(start == at, after.name,
                        f"{missing}: gap {cause} starts {start - at} ms beside the last end")
            at = end
        self.expect(at == after.start, after.name,
                    f"{missing}: the gaps end {after.start - at} ms too early")

    def once(self, timeline, loaded):
        """Every picture and audio frame exactly once, by counters and bytes."""
        last = None
        for run_of in timeline.runs():
            for one in run_of:
                for counted in one.counters:
                    if counted is None:
                        if loaded:
                            self.fault(one.name, "a picture without its counter")
                        continue
                    self._next(one, run_of, last, counted[0])
                    last = counted[0]
            if loaded and loaded.frames:
                self._audio(run_of, loaded)
        if loaded:
            self._hole_lengths(timeline, loaded.clip.fps)

    def _next(self, one, run_of, last, counter):
        if last is None or counter == last + 1:
            return
        if counter <= last:
            self.fault(one.name, f"picture {counter} after {last}: twice or out of order")
            return
        first_of_run = one is run_of[0] and one.counters[0][0] == counter
        lost = int(one.metadata.get("lostpictures", 0))
        self.expect(first_of_run or lost, one.name,
                    f"pictures {last + 1} to {counter - 1} are missing and nobody says so")

    def _audio(self, run_of, loaded):
        places = {hashlib.md5(frame).digest(): at for at, frame in enumerate(loaded.frames)}
        last = None
        for one in run_of:
            for sample in one.samples.get(mp4.AUDIO, []):
                data = one.data[sample.offset:sample.offset + sample.size]
                place = places.get(hashlib.md5(data).digest())
                if not self.expect(place is not None, one.name, "an audio frame nobody sent"):
                    return
                if last is not None and place != (last + 1) % len(loaded.frames):
                    self.fault(one.name, f"audio frame {place} after {last}")
                    return
                last = place

    def _hole_lengths(self, timeline, fps):
        """A hole is as long as the pictures missing in it, as far as the clock is to be trusted."""
        for before, after in timeline.holes:
            if not (before.counters and after.counters and before.counters[-1]
                    and after.counters[0]):
                continue
            missing = (after.counters[0][0] - before.counters[-1][0] - 1) / fps
            told = (after.start - before.end) / 1000
            self.expect(abs(missing - told) < self.clock_error, after.name,
                        f"{missing:.2f} s of pictures missing, {told:.2f} s told")

    def inside(self, timeline):
        """The inside faces of each run, joined, are one clean fragmented MP4."""
        for number, run_of in enumerate(timeline.runs()):
            for before, after in zip(run_of, run_of[1:]):
                self._seam(before, after)
            if not self.players:
                continue
            parts = [[run_of[0]]]
            for one in run_of[1:]:
                same = one.metadata["initid"] == parts[-1][0].metadata["initid"]
                parts[-1].append(one) if same else parts.append([one])
            for part, those in enumerate(parts):
                path = self.folder / f"{timeline.asset.replace('/', '_')}.{number}.{part}.inside.mp4"
                self._joined(path, those)

    def _seam(self, before, after):
        """`tfdt` goes on over the seam, to the tick, in each track."""
        for handler, samples in after.samples.items():
            earlier = before.samples.get(handler)
            if samples and earlier:
                end = earlier[-1].dts + earlier[-1].duration
                self.expect(samples[0].dts == end, after.name,
                            f"{handler}: begins at tick {samples[0].dts} after {end}")

    def _joined(self, path, segments):
        offset, length = segments[0].init
        init = segments[0].data[offset:offset + length]
        for one in segments:
            here = one.data[one.init[0]:one.init[0] + one.init[1]]
            self.expect(here == init, one.name, "same initid, another init segment")
        path.write_bytes(init + b"".join(one.inner for one in segments))
        where = f"inside face of {segments[0].name} to {segments[-1].sequence}"
        # ffmpeg only guesses the duration of a fragment's last sample; its times must be ours.
        seen = {}
        for packet in probe(path)["packets"]:
            seen.setdefault(packet["stream_index"], []).append(packet.get("dts"))
        for stream, track in enumerate(segments[0].tracks):
            ours = [s.dts for one in segments for s in one.samples.get(track.handler, [])]
            self.expect(seen.get(stream, []) == ours, where,
                        f"stream {stream}: ffprobe sees other times than the fragments tell")
        self.decode(where, path, sum(len(one.samples.get(mp4.VIDEO, [])) for one in segments))


def probe(path):
    """ffprobe's view of format and packets."""
    done = run(["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_entries",
                "packet=stream_index,dts,duration,flags", path], 120, check=True)
    return json.loads(done.stdout)


def decode(path):
    """Decodes with ffmpeg: (pictures, what it said)."""
    done = run(["ffmpeg", "-v", "warning", "-xerror", "-err_detect", "explode", "-i", path,
                *AS_TIMED, "-f", "null", "-progress", "pipe:1", "-"], 600)
    frames = re.findall(r"^frame=(\d+)", done.stdout, re.M)
    said = done.stderr.strip()
    if done.returncode and not said:
        said = f"exit code {done.returncode}"
    return int(frames[-1]) if frames else 0, said


def basic_millis(text):
    """`20261121T203000.123Z` in milliseconds since 1970."""
    when = datetime.datetime.strptime(text[:15] + "+0000", "%Y%m%dT%H%M%S%z")
    return round(when.timestamp()) * 1000 + int(text[16:19])


def iso_millis(text):
    """`2026-11-21T20:30:00.123Z` in milliseconds since 1970; `ValueError` where it is not."""
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z", text)
    if not match:
        raise ValueError(text)
    return basic_millis("%s%s%sT%s%s%s.%sZ" % match.groups())
