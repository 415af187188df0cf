"""Boxes and samples of ISO/IEC 14496-12: as much as the judge and the stand-in need."""
import struct
from dataclasses import dataclass

VIDEO, AUDIO = "vide", "soun"


class Malformed(Exception):
    """The bytes are not what ISO/IEC 14496-12 says."""


@dataclass
class Box:
    """A box: `start` of its header, `body` of its payload and `end`, as offsets in the file."""

    kind: str
    start: int
    body: int
    end: int


@dataclass
class Sample:
    """A sample; times in ticks of its track's timescale, `dts` as the file says."""

    dts: int
    duration: int
    composition: int
    sync: bool
    offset: int
    size: int


@dataclass
class Track:
    """A track of a `moov`."""

    number: int
    handler: str
    timescale: int
    samples: list
    duration: int = 0
    default: tuple = (0, 0, 0)


def boxes(data, start=0, end=None):
    """The boxes between two offsets, in order."""
    end = len(data) if end is None else end
    found = []
    while start < end:
        if end - start < 8:
            raise Malformed(f"{end - start} stray bytes at {start}")
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            size = struct.unpack_from(">Q", data, body)[0]
            body += 8
        elif size == 0:
            size = end - start
        if size < body - start or start + size > end:
            raise Malformed(f"box {kind} at {start} has length {size}")
        found.append(Box(kind.decode("latin-1"), start, body, start + size))
        start += size
    return found


def child(data, box, *path):
    """The first box down `path` inside `box`, or None."""
    for kind in path:
        inside = [one for one in boxes(data, box.body, box.end) if one.kind == kind]
        if not inside:
            return None
        box = inside[0]
    return box


def moov_tracks(data, moov):
    """The tracks of a `moov` with their sample tables; empty tables in an init segment."""
    defaults = {}
    mvex = child(data, moov, "mvex")
    for trex in boxes(data, mvex.body, mvex.end) if mvex else []:
        if trex.kind == "trex":
            number, _, duration, size, flags = struct.unpack_from(">5I", data, trex.body + 4)
            defaults[number] = (duration, size, flags)
    tracks = []
    for trak in boxes(data, moov.body, moov.end):
        if trak.kind != "trak":
            continue
        tkhd = child(data, trak, "tkhd")
        number = struct.unpack_from(">I", data, tkhd.body + (20 if data[tkhd.body] else 12))[0]
        mdhd = child(data, trak, "mdia", "mdhd")
        if data[mdhd.body]:
            timescale, duration = struct.unpack_from(">IQ", data, mdhd.body + 20)
        else:
            timescale, duration = struct.unpack_from(">II", data, mdhd.body + 12)
        hdlr = child(data, trak, "mdia", "hdlr")
        handler = bytes(data[hdlr.body + 8:hdlr.body + 12]).decode("latin-1")
        stbl = child(data, trak, "mdia", "minf", "stbl")
        tracks.append(Track(number, handler, timescale, _table(data, stbl), duration,
                            defaults.get(number, (0, 0, 0))))
    return tracks


def _runs(data, stbl, kind, form):
    box = child(data, stbl, kind)
    if box is None:
        return None
    count = struct.unpack_from(">I", data, box.body + 4)[0]
    size = struct.calcsize(form)
    if box.body + 8 + count * size > box.end:
        raise Malformed(f"{kind} says {count} entries")
    return [struct.unpack_from(form, data, box.body + 8 + i * size) for i in range(count)]


def _table(data, stbl):
    durations = [delta for count, delta in _runs(data, stbl, "stts", ">II") for _ in range(count)]
    stsz = child(data, stbl, "stsz")
    fixed, count = struct.unpack_from(">II", data, stsz.body + 4)
    sizes = [fixed] * count if fixed else list(
        struct.unpack_from(f">{count}I", data, stsz.body + 12))
    if len(durations) != count:
        raise Malformed(f"stts has {len(durations)} samples, stsz {count}")
    ctts = _runs(data, stbl, "ctts", ">Ii")
    compositions = [offset for n, offset in ctts for _ in range(n)] if ctts else [0] * count
    if len(compositions) != count:
        raise Malformed(f"ctts has {len(compositions)} samples, stsz {count}")
    stss = _runs(data, stbl, "stss", ">I")
    syncs = None if stss is None else {number for (number,) in stss}
    chunks = _runs(data, stbl, "stco", ">I") or _runs(data, stbl, "co64", ">Q") or []
    per_chunk = _runs(data, stbl, "stsc", ">III") or []
    samples, dts, at = [], 0, 0
    for number, (offset,) in enumerate(chunks, 1):
        in_chunk = [n for first, n, _ in per_chunk if first <= number][-1]
        for _ in range(in_chunk):
            if at >= count:
                raise Malformed("stsc has more samples than stsz")
            samples.append(Sample(dts, durations[at], compositions[at],
                                  syncs is None or at + 1 in syncs, offset, sizes[at]))
            offset += sizes[at]
            dts += durations[at]
            at += 1
    if at != count:
        raise Malformed(f"stsc has {at} samples, stsz {count}")
    return samples


def fragment_samples(data, moof, tracks):
    """The samples of a `moof`, as {track number: [Sample]}; its data follows in the `mdat`."""
    known = {one.number: one for one in tracks}
    found = {}
    for traf in boxes(data, moof.body, moof.end):
        if traf.kind != "traf":
            continue
        tfhd = child(data, traf, "tfhd")
        flags, number = struct.unpack_from(">II", data, tfhd.body)
        flags &= 0xFFFFFF
        if number not in known:
            raise Malformed(f"moof at {moof.start}: unknown track {number}")
        if not flags & 0x020000:
            raise Malformed(f"moof at {moof.start}: default-base-is-moof is not set")
        at = tfhd.body + 8
        at += 8 if flags & 1 else 0
        at += 4 if flags & 2 else 0
        default = list(known[number].default)
        for i, bit in enumerate((8, 16, 32)):
            if flags & bit:
                default[i] = struct.unpack_from(">I", data, at)[0]
                at += 4
        tfdt = child(data, traf, "tfdt")
        dts = struct.unpack_from(">Q" if data[tfdt.body] else ">I", data, tfdt.body + 4)[0]
        samples = found.setdefault(number, [])
        for trun in boxes(data, traf.body, traf.end):
            if trun.kind == "trun":
                dts = _trun(data, trun, moof, default, dts, samples)
    return found


def _trun(data, trun, moof, default, dts, samples):
    flags, count = struct.unpack_from(">II", data, trun.body)
    flags &= 0xFFFFFF
    at, first_flags = trun.body + 8, None
    if not flags & 1:
        raise Malformed(f"trun at {trun.start} has no data offset")
    offset = moof.start + struct.unpack_from(">i", data, at)[0]
    at += 4
    if flags & 4:
        first_flags = struct.unpack_from(">I", data, at)[0]
        at += 4
    for i in range(count):
        duration, size, sample_flags = default
        composition = 0
        if i == 0 and first_flags is not None:
            sample_flags = first_flags
        if flags & 0x100:
            duration, at = struct.unpack_from(">I", data, at)[0], at + 4
        if flags & 0x200:
            size, at = struct.unpack_from(">I", data, at)[0], at + 4
        if flags & 0x400:
            sample_flags, at = struct.unpack_from(">I", data, at)[0], at + 4
        if flags & 0x800:
            composition, at = struct.unpack_from(">i", data, at)[0], at + 4
        samples.append(Sample(dts, duration, composition, not sample_flags & 0x10000, offset, size))
        dts += duration
        offset += size
    return dts
