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
