//! The front of a blob: what makes an ordinary MP4 of the ring's bytes.
//!
//! ```text
//! ftyp | moov with full sample tables | mdat { init segment, fragment, check, fragment, ... }
//! '--------------- front ----------------------' '------------ the ring's bytes -----------'
//! ```
//!
//! Movie time 0 is the start of the segment. A hole in a track, between fragments, lengthens
//! the sample before it, so that the timeline stays true and the last picture stands still.

use core::fmt;

use crate::limits::{INIT_SEGMENT_MAX, SEGMENT_SAMPLES_MAX};
use crate::media::TrackKind;
use crate::mp4::boxes::{BoxError, BoxWriter, Full};
use crate::mp4::header::{TrackHead, ftyp, mvhd, trak};
use crate::mp4::init::{InitTrack, read_init_track};
use crate::mp4::moof::{MoofError, read_moof};
use crate::mp4::sample_table::{AddError, SAMPLE_BYTES_MAX, SampleTable};
use crate::time::{Ticks, UtcMillis};

/// Most bytes of a front: two full sample tables, the sample entries, and a generous bound of
/// everything else.
pub const FRONT_MAX: usize = 2 * SAMPLE_BYTES_MAX * SEGMENT_SAMPLES_MAX + INIT_SEGMENT_MAX + 2048;

/// Why a front cannot be built. After an error in a fragment the builder is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontError {
    /// The fragment at `at` is not one of ours.
    Fragment {
        /// Its position from the first byte of the init segment.
        at: u64,
        /// What is wrong with it.
        error: MoofError,
    },
    /// The fragment at `at` has more samples of `track` than there is room for.
    TooManySamples {
        /// Its position from the first byte of the init segment.
        at: u64,
        /// The track.
        track: TrackKind,
    },
    /// In the fragment at `at` the samples of `track` begin before the last one of the fragments
    /// before it, or more than 13 hours after.
    Time {
        /// Its position from the first byte of the init segment.
        at: u64,
        /// The track.
        track: TrackKind,
    },
    /// Samples of a track, but nothing of it in the init segment.
    Init(BoxError),
    /// Nothing lies between start and end.
    Empty,
    /// The blob would not fit 32-bit offsets.
    TooLarge,
    /// The buffer is too small for the sample entries.
    Full(Full),
}

impl fmt::Display for FrontError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fragment { at, error } => write!(f, "fragment at {at}: {error}"),
            Self::TooManySamples { at, track } => {
                write!(f, "fragment at {at}: too many samples, {track:?}")
            }
            Self::Time { at, track } => {
                write!(f, "fragment at {at}: its time does not follow, {track:?}")
            }
            Self::Init(error) => write!(f, "init segment: {error}"),
            Self::Empty => write!(f, "nothing between start and end"),
            Self::TooLarge => write!(f, "larger than 32-bit offsets"),
            Self::Full(full) => full.fmt(f),
        }
    }
}

impl core::error::Error for FrontError {}

impl From<Full> for FrontError {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

/// When a segment was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontTimes {
    /// Its start on the camera's timeline: movie time 0.
    pub start: Ticks,
    /// Its end on the camera's timeline.
    pub end: Ticks,
    /// UTC of its start.
    pub creation: UtcMillis,
}

/// Collects the samples of one segment after another and writes their fronts.
///
/// All memory is taken by [`FrontBuilder::new`]: about 4 MiB of address space, of which only
/// what the largest segment so far needed is resident.
#[derive(Debug)]
pub struct FrontBuilder {
    video: SampleTable,
    audio: SampleTable,
    out: Vec<u8>,
}

impl Default for FrontBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrontBuilder {
    /// Takes the memory.
    pub fn new() -> Self {
        Self {
            video: SampleTable::new(),
            audio: SampleTable::new(),
            out: vec![0; FRONT_MAX],
        }
    }

    /// Forgets the segment, for the next one.
    pub fn reset(&mut self) {
        self.video.reset();
        self.audio.reset();
    }

    /// Adds the next fragment of the segment.
    ///
    /// `at` is the position of its `moof` from the first byte of the init segment; `head` begins
    /// with the `moof` and reaches at least over the header of its `mdat`.
    pub fn add_fragment(&mut self, at: u64, head: &[u8]) -> Result<(), FrontError> {
        let view = read_moof(head).map_err(|error| FrontError::Fragment { at, error })?;
        for run in &view.runs {
            let offset = at.checked_add(run.data_offset.into());
            let offset = offset.and_then(|offset| u32::try_from(offset).ok());
            let table = match run.track {
                TrackKind::Video => &mut self.video,
                TrackKind::Audio => &mut self.audio,
            };
            let track = run.track;
            table
                .add(run, offset.ok_or(FrontError::TooLarge)?)
                .map_err(|error| match error {
                    AddError::TooManySamples => FrontError::TooManySamples { at, track },
                    AddError::Time => FrontError::Time { at, track },
                })?;
        }
        Ok(())
    }

    /// Writes the front of the fragments added, header of the `mdat` included; `ring_bytes` of
    /// the ring, beginning with `init`, follow it in the blob.
    ///
    /// Where there is video, its last picture ends at `times.end` and audio is trimmed there;
    /// otherwise the same is true of the last audio frame. A track without samples is left out.
    pub fn finish(
        &mut self,
        init: &[u8],
        times: FrontTimes,
        ring_bytes: u64,
    ) -> Result<&[u8], FrontError> {
        let main = if self.video.is_empty() {
            &mut self.audio
        } else {
            &mut self.video
        };
        let main_end = times
            .end
            .0
            .checked_add_signed(-i64::from(main.first_offset()));
        main.end_at(main_end.unwrap_or(0));
        let tracks = [
            Track::of(TrackKind::Video, &self.video, init, times)?,
            Track::of(TrackKind::Audio, &self.audio, init, times)?,
        ];
        if tracks.iter().all(Option::is_none) {
            return Err(FrontError::Empty);
        }
        // Chunk offsets have a fixed width: a first pass tells the length of the front.
        let len = write(&mut self.out, &tracks, times, 0, 0)?;
        let base = u32::try_from(len).map_err(|_| FrontError::TooLarge)?;
        let mdat = u32::try_from(ring_bytes)
            .ok()
            .and_then(|bytes| bytes.checked_add(8))
            .filter(|mdat| mdat.checked_add(base).is_some())
            .ok_or(FrontError::TooLarge)?;
        write(&mut self.out, &tracks, times, base, mdat)?;
        Ok(self.out.get(..len).unwrap_or_default())
    }
}

/// A track of the front.
struct Track<'a> {
    kind: TrackKind,
    table: &'a SampleTable,
    init: InitTrack<'a>,
    edit: Edit,
}

impl<'a> Track<'a> {
    /// None where nothing of it would be shown.
    fn of(
        kind: TrackKind,
        table: &'a SampleTable,
        init: &'a [u8],
        times: FrontTimes,
    ) -> Result<Option<Self>, FrontError> {
        let edit = Edit::of(table, times);
        if table.is_empty() || edit.shown == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            kind,
            table,
            init: read_init_track(init, kind).map_err(FrontError::Init)?,
            edit,
        }))
    }
}

/// Which part of a track is shown when (section 8.6.6), in ticks.
struct Edit {
    /// Nothing is shown first for so long.
    empty: u64,
    /// Where in the media it begins.
    media_time: u64,
    /// How much of the media is shown.
    shown: u64,
}

impl Edit {
    fn of(table: &SampleTable, times: FrontTimes) -> Self {
        let offset = i64::from(table.first_offset());
        let (start, end) = (times.start.0, times.end.0);
        let first = table.first().saturating_add_signed(offset);
        let last = first.saturating_add(table.duration());
        let trimmed = start.saturating_sub(first);
        Self {
            empty: first.saturating_sub(start),
            media_time: trimmed.saturating_add_signed(offset),
            shown: last.min(end).saturating_sub(first.max(start)),
        }
    }

    /// `edts` with its `elst`, version 1.
    fn write(&self, w: &mut BoxWriter<'_>) -> Result<(), Full> {
        w.nested(b"edts", |w| {
            w.nested_full(b"elst", 1, 0, |w| {
                w.u32(1 + u32::from(self.empty > 0))?;
                if self.empty > 0 {
                    w.u64(self.empty)?;
                    w.u64(u64::MAX)?; // -1: an empty edit
                    w.u32(0x0001_0000)?; // rate 1.0
                }
                w.u64(self.shown)?;
                w.u64(self.media_time)?;
                w.u32(0x0001_0000)
            })
        })
    }
}

/// Writes the front and returns its length. `base` is the position of the ring's first byte in
/// the blob, `mdat` the size of the `mdat`.
fn write(
    out: &mut [u8],
    tracks: &[Option<Track<'_>>],
    times: FrontTimes,
    base: u32,
    mdat: u32,
) -> Result<usize, Full> {
    let creation = seconds_since_1904(times.creation);
    let mut w = BoxWriter::new(out);
    ftyp(&mut w, b"isom")?;
    w.nested(b"moov", |w| {
        mvhd(w, creation, times.end.since(times.start).0)?;
        for track in tracks.iter().flatten() {
            let head = TrackHead {
                track: track.kind,
                creation,
                duration: track.edit.empty.saturating_add(track.edit.shown),
                media_duration: track.table.duration(),
                width: track.init.width,
                height: track.init.height,
            };
            trak(
                w,
                &head,
                |w| track.edit.write(w),
                |w| track.table.write(w, track.init.stsd, base),
            )?;
        }
        Ok(())
    })?;
    w.u32(mdat)?;
    w.bytes(b"mdat")?;
    Ok(w.position())
}

/// `creation_time` (section 8.2.2.3); 0 for what was before 1904.
fn seconds_since_1904(at: UtcMillis) -> u64 {
    const SECONDS_1904_TO_1970: i64 = 2_082_844_800;
    let seconds = at.0.div_euclid(1000).saturating_add(SECONDS_1904_TO_1970);
    u64::try_from(seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAGMENT_SAMPLES_MAX;
    use crate::media::{AudioDescription, ParameterSets, Sample, VideoDescription};
    use crate::mp4::boxes::Boxes;
    use crate::mp4::fragment::{TrackRun, write_moof};
    use crate::mp4::init::write_init;
    use crate::time::TIMESCALE;

    const TIMES: FrontTimes = FrontTimes {
        start: Ticks(100_000),
        end: Ticks(140_000),
        creation: UtcMillis(1999),
    };

    /// An init segment with both tracks.
    fn init() -> Vec<u8> {
        let mut sets = ParameterSets::default();
        let sps = heapless::Vec::from_slice(&[0x67, 66, 0xC0, 30, 0xDA]);
        sets.sps.push(sps.unwrap()).unwrap();
        let pps = heapless::Vec::from_slice(&[0x68, 0xEE]);
        sets.pps.push(pps.unwrap()).unwrap();
        let video = VideoDescription {
            sets,
            width: 640,
            height: 360,
            pixel_aspect: (1, 1),
            reorder_depth: 0,
        };
        let audio = AudioDescription {
            config: heapless::Vec::from_slice(&[0x11, 0x90]).unwrap(),
            sample_rate: 48_000,
            channels: 2,
            frame_length: 1024,
        };
        let mut out = [0; INIT_SEGMENT_MAX];
        let len = write_init(&mut out, Some(&video), Some(&audio)).unwrap();
        out[..len].to_vec()
    }

    fn sample(size: u32, duration: u32, composition_offset: i32, sync: bool) -> Sample {
        Sample {
            size,
            duration,
            composition_offset,
            sync,
        }
    }

    /// Decoding time of the first, and the samples.
    type Run<'a> = (u64, &'a [Sample]);

    fn head(video: Run<'_>, audio: Run<'_>) -> Vec<u8> {
        let run = |track, (at, samples)| TrackRun {
            track,
            base_decode_time: Ticks(at),
            samples,
        };
        let runs = [run(TrackKind::Video, video), run(TrackKind::Audio, audio)];
        let mut out = vec![0; 32 * 1024];
        let len = write_moof(&mut out, 1, &runs).unwrap();
        out.truncate(len);
        out
    }

    /// The payload of the box at the end of `path` in the `trak` with this number.
    fn table<'a>(front: &'a [u8], trak: usize, path: &[&[u8; 4]]) -> Option<&'a [u8]> {
        let moov = Boxes::new(front).find_box(b"moov").unwrap();
        let traks = moov.children().map(Result::unwrap);
        let mut found = traks.filter(|found| found.kind == *b"trak").nth(trak)?;
        for kind in path {
            found = found.children().find_box(kind).ok()?;
        }
        Some(found.payload())
    }

    fn stbl<'a>(front: &'a [u8], trak: usize, kind: &[u8; 4]) -> Option<&'a [u8]> {
        table(front, trak, &[b"mdia", b"minf", b"stbl", kind])
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Two fragments with a hole of 10,000 ticks in the video between them; and their heads'
    /// lengths.
    fn build(builder: &mut FrontBuilder, init: &[u8]) -> (Vec<u8>, [u32; 2]) {
        let video = [
            sample(900, 3600, 3600, true),
            sample(80, 3600, 7200, false),
            sample(70, 3600, 0, false),
        ];
        let audio = [sample(5, 1920, 0, true), sample(6, 1920, 0, true)];
        let first = head((96_400, &video), (100_500, &audio));
        let second = head((117_200, &video[..2]), (104_340, &audio[..1]));
        builder.reset();
        builder.add_fragment(1000, &first).unwrap();
        builder.add_fragment(4096, &second).unwrap();
        let front = builder.finish(init, TIMES, 8192).unwrap().to_vec();
        let lengths = [first, second].map(|head| head.len().try_into().unwrap());
        (front, lengths)
    }

    #[test]
    fn the_tables_tell_every_sample() {
        let init = init();
        let (front, [first, second]) = build(&mut FrontBuilder::new(), &init);
        let base = u32::try_from(front.len()).unwrap();
        assert!(front.ends_with(b"\0\0\x20\x08mdat"));

        #[rustfmt::skip]
        let video: [(&[u8; 4], &[u32]); 6] = [
            (b"stts", &[0, 4, 2, 3600, 1, 13_600, 1, 3600, 1, 15_600]),
            (b"ctts", &[1 << 24, 5, 1, 3600, 1, 7200, 1, 0, 1, 3600, 1, 7200]),
            (b"stss", &[0, 2, 1, 4]),
            (b"stsc", &[0, 2, 1, 3, 1, 2, 2, 1]),
            (b"stsz", &[0, 0, 5, 900, 80, 70, 900, 80]),
            (b"stco", &[0, 2, base + 1000 + first, base + 4096 + second]),
        ];
        let (first, second) = (first + 900 + 80 + 70, second + 900 + 80);
        let audio: [(&[u8; 4], &[u32]); 4] = [
            (b"stts", &[0, 1, 3, 1920]),
            (b"stsc", &[0, 2, 1, 2, 1, 2, 1, 1]),
            (b"stsz", &[0, 0, 3, 5, 6, 5]),
            (b"stco", &[0, 2, base + 1000 + first, base + 4096 + second]),
        ];
        for (trak, tables) in [&video[..], &audio].into_iter().enumerate() {
            for (kind, expected) in tables {
                let found = stbl(&front, trak, kind).unwrap();
                assert_eq!(found, words(expected), "{}", kind.escape_ascii());
            }
        }
        assert_eq!(stbl(&front, 1, b"ctts"), None);
        assert_eq!(stbl(&front, 1, b"stss"), None);
        for (trak, kind) in [TrackKind::Video, TrackKind::Audio].into_iter().enumerate() {
            let stsd = read_init_track(&init, kind).unwrap().stsd;
            assert_eq!(stbl(&front, trak, b"stsd").unwrap(), &stsd[8..]);
        }
    }

    #[test]
    fn edits_and_durations_are_exact() {
        let (front, _) = build(&mut FrontBuilder::new(), &init());
        let created = 2_082_844_801;
        let moov = Boxes::new(&front).find_box(b"moov").unwrap();
        let mvhd = moov.children().find_box(b"mvhd").unwrap().payload();
        let expected = words(&[1 << 24, 0, created, 0, created, TIMESCALE, 0, 40_000]);
        assert!(mvhd.starts_with(&expected), "{mvhd:?}");
        let unit = 0x0001_0000;
        let rows = [
            (40_000, 40_000, vec![1 << 24, 1, 0, 40_000, 0, 3600, unit]),
            (
                500 + 5760,
                5760,
                vec![
                    1 << 24,
                    2,
                    0,
                    500,
                    u32::MAX,
                    u32::MAX,
                    unit,
                    0,
                    5760,
                    0,
                    0,
                    unit,
                ],
            ),
        ];
        for (trak, (shown, media, elst)) in rows.into_iter().enumerate() {
            let tkhd = table(&front, trak, &[b"tkhd"]).unwrap();
            assert_eq!(tkhd[28..36], words(&[0, shown]));
            let mdhd = table(&front, trak, &[b"mdia", b"mdhd"]).unwrap();
            assert_eq!(mdhd[20..32], words(&[TIMESCALE, 0, media]));
            let found = table(&front, trak, &[b"edts", b"elst"]).unwrap();
            assert_eq!(found, words(&elst));
        }
    }

    #[test]
    fn audio_is_trimmed_to_the_video() {
        let init = init();
        let video = [sample(1, 40_000, 0, true)];
        let audio = [sample(1, 30_000, 0, true), sample(1, 30_000, 0, true)];
        // First audio sample; then where it begins, what is left out, what is shown.
        for (at, edit) in [
            (90_000, Some((0, 10_000, 40_000))),
            (100_000, Some((0, 0, 40_000))),
            (70_000, Some((0, 30_000, 30_000))),
            (130_000, Some((30_000, 0, 10_000))),
            (140_000, None),
            (40_000, None),
        ] {
            let mut builder = FrontBuilder::new();
            let head = head((100_000, &video), (at, &audio));
            builder.add_fragment(1000, &head).unwrap();
            let front = builder.finish(&init, TIMES, 8192).unwrap();
            let elst = table(front, 1, &[b"edts", b"elst"]);
            let expected = edit.map(|(empty, media_time, shown)| {
                let unit = 0x0001_0000;
                let last = [0, shown, 0, media_time, unit];
                match empty {
                    0 => words(&[&[1 << 24, 1], &last[..]].concat()),
                    _ => words(
                        &[&[1 << 24, 2, 0, empty, u32::MAX, u32::MAX, unit], &last[..]].concat(),
                    ),
                }
            });
            assert_eq!(elst.map(<[u8]>::to_vec), expected, "{at}");
        }
    }

    #[test]
    fn a_track_alone_ends_where_the_segment_does() {
        let init = init();
        let audio = [sample(5, 1920, 0, true)];
        let mut builder = FrontBuilder::new();
        builder
            .add_fragment(1000, &head((0, &[]), (100_000, &audio)))
            .unwrap();
        let front = builder.finish(&init, TIMES, 8192).unwrap();
        assert_eq!(stbl(front, 0, b"stts").unwrap(), words(&[0, 1, 1, 40_000]));
        assert_eq!(table(front, 1, &[b"tkhd"]), None);

        // A segment that continues its predecessor has no sync sample.
        let video = [sample(5, 1920, 0, false)];
        builder.reset();
        builder
            .add_fragment(1000, &head((100_000, &video), (0, &[])))
            .unwrap();
        let front = builder.finish(&init, TIMES, 8192).unwrap();
        assert_eq!(stbl(front, 0, b"stss").unwrap(), words(&[0, 0]));
    }

    #[test]
    fn the_same_segment_gives_the_same_bytes() {
        let init = init();
        let mut builder = FrontBuilder::new();
        let once = build(&mut builder, &init);
        assert_eq!(build(&mut builder, &init), once);
        assert_eq!(build(&mut FrontBuilder::new(), &init), once);
    }

    #[test]
    fn the_fullest_segment_fits_and_takes_no_more_memory() {
        let init = init();
        let mut builder = FrontBuilder::new();
        let memory =
            |builder: &FrontBuilder| [&builder.video, &builder.audio].map(SampleTable::capacity);
        let before = memory(&builder);
        // No two neighbours alike, in fragments of 1 and 2 samples.
        let samples: Vec<_> = (0..3)
            .map(|i| sample(1, 1 + i % 2, 1 + i.cast_signed() % 2, i % 2 == 0))
            .collect();
        let (mut left, mut at) = (SEGMENT_SAMPLES_MAX, 100_000);
        while left > 0 {
            let run = &samples[..(1 + left % 2).min(left)];
            builder
                .add_fragment(at, &head((at, run), (at, run)))
                .unwrap();
            left -= run.len();
            at += 4;
        }
        let one = (at, &samples[..1]);
        assert_eq!(
            builder.add_fragment(at, &head((0, &[]), one)),
            Err(FrontError::TooManySamples {
                at,
                track: TrackKind::Audio
            })
        );
        assert!(builder.finish(&init, TIMES, 1 << 30).is_ok());
        assert_eq!(memory(&builder), before);
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        let init = init();
        let video = [sample(1, 10, 0, true), sample(1, 10, 0, true)];
        let mut builder = FrontBuilder::new();
        assert_eq!(builder.finish(&init, TIMES, 0), Err(FrontError::Empty));
        let good = head((100_000, &video), (0, &[]));
        assert!(matches!(
            builder.add_fragment(7, &good[1..]),
            Err(FrontError::Fragment { at: 7, .. })
        ));
        assert_eq!(
            builder.add_fragment(u64::from(u32::MAX), &good),
            Err(FrontError::TooLarge)
        );
        builder.add_fragment(7, &good).unwrap();
        for at in [100_009, 100_011 + u64::from(u32::MAX)] {
            assert_eq!(
                builder.add_fragment(8, &head((at, &video), (0, &[]))),
                Err(FrontError::Time {
                    at: 8,
                    track: TrackKind::Video
                })
            );
        }
        let finish = |builder: &mut FrontBuilder, init: &[u8], bytes| {
            builder.finish(init, TIMES, bytes).map(<[u8]>::len)
        };
        for bytes in [u64::MAX, u64::from(u32::MAX), u64::from(u32::MAX) - 100] {
            let error = finish(&mut builder, &init, bytes);
            assert_eq!(error, Err(FrontError::TooLarge));
        }
        for len in 0..init.len() {
            let result = finish(&mut builder, &init[..len], 8192);
            assert!(
                result.is_ok() || matches!(result, Err(FrontError::Init(_))),
                "{len}"
            );
        }
        let early = FrontTimes {
            end: Ticks(100_000),
            ..TIMES
        };
        assert_eq!(builder.finish(&init, early, 0), Err(FrontError::Empty));
    }

    #[test]
    fn times_at_the_edge_of_64_bits_are_no_panic() {
        let samples = [sample(1, u32::MAX, i32::MIN, true); FRAGMENT_SAMPLES_MAX];
        let mut builder = FrontBuilder::new();
        for at in [0, u64::MAX - 1, 1 << 63] {
            builder.reset();
            let added = builder.add_fragment(0, &head((at, &samples), (at, &samples)));
            if added.is_ok() {
                let times = FrontTimes {
                    end: Ticks(u64::MAX),
                    ..TIMES
                };
                assert!(builder.finish(&init(), times, 8192).is_ok());
            } else {
                assert_eq!(at, u64::MAX - 1);
            }
        }
    }
}
