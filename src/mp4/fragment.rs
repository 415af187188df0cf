//! Fragments: `moof` and the header of its `mdat` (ISO/IEC 14496-12 section 8.8).
//!
//! In the `mdat` all bytes of the video samples come first, then all of the audio samples:
//!
//! ```text
//! moof | mdat header | video sample, video sample, ... | audio sample, audio sample, ...
//! ```
//!
//! What all samples of a run share is said once: the duration in `tfhd`, and the flags in
//! `trex`, where only the first sample differs from them in nearly every run.
//!
//! Composition offsets may be negative, but a recorder should decode early enough that none is:
//! in a fragmented file ffmpeg 5.1 moves the whole track by the largest negative offset.

use core::fmt;

use crate::limits::{BLOCK_SIZE, FRAGMENT_SAMPLES_MAX};
use crate::media::{Sample, TrackKind};
use crate::mp4::boxes::{BoxWriter, Full, HEADER_LEN};
use crate::mp4::init::{FLAGS_DEPENDENT, FLAGS_SYNC, default_flags};
use crate::time::Ticks;

/// Most bytes of a fragment before its samples: `moof` with two full runs, header of `mdat`.
pub const FRAGMENT_HEAD_MAX: usize =
    HEADER_LEN + 16 + 2 * (HEADER_LEN + 20 + 20 + 24 + 16 * FRAGMENT_SAMPLES_MAX) + HEADER_LEN;

const _: () = assert!(FRAGMENT_HEAD_MAX <= BLOCK_SIZE);

/// Bits of `tfhd` (section 8.8.7).
pub(super) mod tfhd {
    pub(in crate::mp4) const DEFAULT_DURATION: u32 = 0x08;
    pub(in crate::mp4) const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
}

/// Bits of `trun` (section 8.8.8).
pub(super) mod trun {
    pub(in crate::mp4) const DATA_OFFSET: u32 = 0x01;
    pub(in crate::mp4) const FIRST_FLAGS: u32 = 0x04;
    pub(in crate::mp4) const DURATION: u32 = 0x100;
    pub(in crate::mp4) const SIZE: u32 = 0x200;
    pub(in crate::mp4) const FLAGS: u32 = 0x400;
    pub(in crate::mp4) const COMPOSITION_OFFSET: u32 = 0x800;
}

/// The samples of one track in one fragment.
#[derive(Clone, Copy, Debug)]
pub struct TrackRun<'a> {
    /// Their track.
    pub track: TrackKind,
    /// Decoding time of the first, on the camera's timeline.
    pub base_decode_time: Ticks,
    /// At most [`FRAGMENT_SAMPLES_MAX`], in decoding order.
    pub samples: &'a [Sample],
}

/// Why a fragment cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// No run has a sample.
    Empty,
    /// The runs are not: at most one of video, then at most one of audio.
    Order,
    /// More than [`FRAGMENT_SAMPLES_MAX`] in one run.
    TooManySamples(TrackKind),
    /// Its bytes do not fit a 32-bit box.
    TooLarge,
    /// The buffer is too small.
    Full(Full),
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no sample"),
            Self::Order => write!(f, "runs are not one of video, then one of audio"),
            Self::TooManySamples(track) => {
                write!(f, "{track:?}: more than {FRAGMENT_SAMPLES_MAX} samples")
            }
            Self::TooLarge => write!(f, "larger than a 32-bit box"),
            Self::Full(full) => full.fmt(f),
        }
    }
}

impl core::error::Error for FragmentError {}

impl From<Full> for FragmentError {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

/// Writes `moof` and the 8-byte header of its `mdat` to `out` and returns their length, at most
/// [`FRAGMENT_HEAD_MAX`]. The bytes of the samples follow, in the order of `runs`.
///
/// `sequence` counts the fragments from 1 (section 8.8.5). A run without samples is left out.
pub fn write_moof(
    out: &mut [u8],
    sequence: u32,
    runs: &[TrackRun<'_>],
) -> Result<usize, FragmentError> {
    check(runs)?;
    // Where each `data_offset` stands, and what it is, counted from the first sample's byte.
    let mut offsets = heapless::Vec::<_, 2>::new();
    let mut bytes: u32 = 0;
    let mut w = BoxWriter::new(out);
    w.nested(b"moof", |w| {
        w.nested_full(b"mfhd", 0, 0, |w| w.u32(sequence))?;
        for run in runs.iter().filter(|run| !run.samples.is_empty()) {
            let at = traf(w, run)?;
            offsets.push((at, bytes)).map_err(|_| Full { at })?;
            bytes = run
                .samples
                .iter()
                .fold(bytes, |sum, sample| sum.saturating_add(sample.size));
        }
        Ok(())
    })?;
    let size = bytes.checked_add(8).ok_or(FragmentError::TooLarge)?;
    w.u32(size)?;
    w.bytes(b"mdat")?;
    let head = u32::try_from(w.position()).map_err(|_| FragmentError::TooLarge)?;
    for (at, offset) in offsets {
        let offset = offset
            .checked_add(head)
            .and_then(|offset| i32::try_from(offset).ok());
        w.patch_u32(at, offset.ok_or(FragmentError::TooLarge)?.cast_unsigned())?;
    }
    Ok(w.position())
}

fn check(runs: &[TrackRun<'_>]) -> Result<(), FragmentError> {
    if !runs.is_sorted_by(|a, b| (a.track as u32) < b.track as u32) {
        return Err(FragmentError::Order);
    }
    if runs.iter().all(|run| run.samples.is_empty()) {
        return Err(FragmentError::Empty);
    }
    match runs
        .iter()
        .find(|run| run.samples.len() > FRAGMENT_SAMPLES_MAX)
    {
        Some(run) => Err(FragmentError::TooManySamples(run.track)),
        None => Ok(()),
    }
}

/// `traf` of a run with samples (section 8.8.6); returns where its `data_offset` stands.
fn traf(w: &mut BoxWriter<'_>, run: &TrackRun<'_>) -> Result<usize, Full> {
    let mut data_offset_at = 0;
    let layout = Layout::of(run);
    w.nested(b"traf", |w| {
        let flags = tfhd::DEFAULT_BASE_IS_MOOF
            | layout.shared_duration.map_or(0, |_| tfhd::DEFAULT_DURATION);
        w.nested_full(b"tfhd", 0, flags, |w| {
            w.u32(run.track as u32)?;
            layout
                .shared_duration
                .map_or(Ok(()), |duration| w.u32(duration))
        })?;
        w.nested_full(b"tfdt", 1, 0, |w| w.u64(run.base_decode_time.0))?;
        // Version 1: composition offsets are signed.
        w.nested_full(b"trun", 1, layout.trun_flags, |w| {
            w.u32(u32::try_from(run.samples.len()).map_err(|_| Full { at: w.position() })?)?;
            data_offset_at = w.position();
            w.u32(0)?;
            if let (true, Some(first)) = (layout.has(trun::FIRST_FLAGS), run.samples.first()) {
                w.u32(sample_flags(*first))?;
            }
            run.samples
                .iter()
                .try_for_each(|sample| layout.write(w, *sample))
        })
    })?;
    Ok(data_offset_at)
}

/// Which fields each sample of a run needs.
struct Layout {
    shared_duration: Option<u32>,
    trun_flags: u32,
}

impl Layout {
    fn of(run: &TrackRun<'_>) -> Self {
        let mut trun_flags = trun::DATA_OFFSET | trun::SIZE;
        let first = run.samples.first().copied().unwrap_or_default();
        let shared = run
            .samples
            .iter()
            .all(|sample| sample.duration == first.duration);
        if !shared {
            trun_flags |= trun::DURATION;
        }
        let usual = |sample: &Sample| sample_flags(*sample) == default_flags(run.track);
        match run.samples.split_first() {
            Some((_, rest)) if !rest.iter().all(usual) => trun_flags |= trun::FLAGS,
            Some((first, _)) if !usual(first) => trun_flags |= trun::FIRST_FLAGS,
            _ => {}
        }
        if run
            .samples
            .iter()
            .any(|sample| sample.composition_offset != 0)
        {
            trun_flags |= trun::COMPOSITION_OFFSET;
        }
        Self {
            shared_duration: shared.then_some(first.duration),
            trun_flags,
        }
    }

    const fn has(&self, field: u32) -> bool {
        self.trun_flags & field != 0
    }

    fn write(&self, w: &mut BoxWriter<'_>, sample: Sample) -> Result<(), Full> {
        if self.has(trun::DURATION) {
            w.u32(sample.duration)?;
        }
        w.u32(sample.size)?;
        if self.has(trun::FLAGS) {
            w.u32(sample_flags(sample))?;
        }
        if self.has(trun::COMPOSITION_OFFSET) {
            w.u32(sample.composition_offset.cast_unsigned())?;
        }
        Ok(())
    }
}

const fn sample_flags(sample: Sample) -> u32 {
    if sample.sync {
        FLAGS_SYNC
    } else {
        FLAGS_DEPENDENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::Boxes;
    use crate::mp4::moof::read_moof;

    fn sample(size: u32, duration: u32, composition_offset: i32, sync: bool) -> Sample {
        Sample {
            size,
            duration,
            composition_offset,
            sync,
        }
    }

    fn run(track: TrackKind, at: u64, samples: &[Sample]) -> TrackRun<'_> {
        TrackRun {
            track,
            base_decode_time: Ticks(at),
            samples,
        }
    }

    #[test]
    fn the_usual_fragment_is_compact() {
        let video = [sample(1000, 3600, 0, true), sample(10, 3600, 0, false)];
        let audio = [sample(300, 2089, 0, true), sample(301, 2090, 0, true)];
        let mut out = [0; 512];
        let len = write_moof(
            &mut out,
            0x0102_0304,
            &[
                run(TrackKind::Video, 1 << 40, &video),
                run(TrackKind::Audio, 7, &audio),
            ],
        )
        .unwrap();
        #[rustfmt::skip]
        let expected = [
            &[0, 0, 0, 184][..], b"moof",
            &[0, 0, 0, 16], b"mfhd", &[0, 0, 0, 0, 1, 2, 3, 4],
            &[0, 0, 0, 80], b"traf",
            &[0, 0, 0, 20], b"tfhd", &[0, 2, 0, 8, 0, 0, 0, 1, 0, 0, 14, 16],
            &[0, 0, 0, 20], b"tfdt", &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            &[0, 0, 0, 32], b"trun", &[1, 0, 2, 5, 0, 0, 0, 2, 0, 0, 0, 192],
            &[2, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 10],
            &[0, 0, 0, 80], b"traf",
            &[0, 0, 0, 16], b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 20], b"tfdt", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 0, 0, 36], b"trun", &[1, 0, 3, 1, 0, 0, 0, 2, 0, 0, 4, 178],
            &[0, 0, 8, 41, 0, 0, 1, 44, 0, 0, 8, 42, 0, 0, 1, 45],
            &[0, 0, 6, 83], b"mdat",
        ]
        .concat();
        assert_eq!(out[..len], expected);
    }

    #[test]
    fn flags_stand_where_they_differ_from_the_tracks() {
        let video = |syncs: &[bool]| -> Vec<Sample> {
            syncs.iter().map(|sync| sample(1, 1, 0, *sync)).collect()
        };
        for (track, syncs, flags) in [
            (
                TrackKind::Video,
                &[true, false, false][..],
                trun::FIRST_FLAGS,
            ),
            (TrackKind::Video, &[true], trun::FIRST_FLAGS),
            (TrackKind::Video, &[false, false], 0),
            (TrackKind::Video, &[false, true], trun::FLAGS),
            (TrackKind::Video, &[true, true], trun::FLAGS),
            (TrackKind::Audio, &[true, true], 0),
            (TrackKind::Audio, &[false, true], trun::FIRST_FLAGS),
        ] {
            let samples = video(syncs);
            let layout = Layout::of(&run(track, 0, &samples));
            let found = layout.trun_flags & (trun::FLAGS | trun::FIRST_FLAGS);
            assert_eq!(found, flags, "{track:?} {syncs:?}");
        }
    }

    #[test]
    fn a_full_fragment_has_just_the_longest_head() {
        let samples: Vec<_> = (0..FRAGMENT_SAMPLES_MAX)
            .map(|i| sample(1, 1 + u32::from(i == 0), 1, i % 2 == 0))
            .collect();
        let runs = [
            run(TrackKind::Video, 0, &samples),
            run(TrackKind::Audio, 0, &samples),
        ];
        let mut out = vec![0; FRAGMENT_HEAD_MAX];
        let len = write_moof(&mut out, 1, &runs).unwrap();
        // Neither a shared duration nor flags of the first sample alone: 8 bytes less a track.
        assert_eq!(len, FRAGMENT_HEAD_MAX - 2 * 8);
        assert_eq!(read_moof(&out).unwrap().runs.len(), 2);
        for short in 0..len {
            let error = write_moof(&mut out[..short], 1, &runs).unwrap_err();
            assert!(matches!(error, FragmentError::Full(_)), "{short}: {error}");
        }
    }

    #[test]
    fn an_empty_run_is_left_out() {
        let audio = [sample(5, 1920, 0, true)];
        let mut out = [0; 256];
        let len = write_moof(
            &mut out,
            1,
            &[
                run(TrackKind::Video, 0, &[]),
                run(TrackKind::Audio, 9, &audio),
            ],
        )
        .unwrap();
        let moof = Boxes::new(&out[..len - 8]).find_box(b"moof").unwrap();
        assert_eq!(moof.children().count(), 2);
        let view = read_moof(&out[..len]).unwrap();
        assert!(view.run(TrackKind::Video).is_none());
        assert_eq!(
            view.run(TrackKind::Audio).unwrap().base_decode_time,
            Ticks(9)
        );
    }

    #[test]
    fn what_is_no_fragment_is_refused() {
        let one = [sample(1, 1, 0, true)];
        let many = [one[0]; FRAGMENT_SAMPLES_MAX + 1];
        let huge = [sample(u32::MAX - 8, 1, 0, true)];
        let large = [sample(i32::MAX.cast_unsigned(), 1, 0, true)];
        let (video, audio) = (TrackKind::Video, TrackKind::Audio);
        let cases: [(&[TrackRun<'_>], FragmentError); 7] = [
            (&[], FragmentError::Empty),
            (&[run(video, 0, &[])], FragmentError::Empty),
            (
                &[run(audio, 0, &one), run(video, 0, &one)],
                FragmentError::Order,
            ),
            (
                &[run(video, 0, &one), run(video, 0, &one)],
                FragmentError::Order,
            ),
            (
                &[run(audio, 0, &many)],
                FragmentError::TooManySamples(audio),
            ),
            (
                &[run(video, 0, &huge), run(audio, 0, &huge)],
                FragmentError::TooLarge,
            ),
            (
                &[run(video, 0, &large), run(audio, 0, &one)],
                FragmentError::TooLarge,
            ),
        ];
        let mut out = vec![0; FRAGMENT_HEAD_MAX];
        for (runs, error) in cases {
            assert_eq!(write_moof(&mut out, 1, runs), Err(error));
        }
    }
}
