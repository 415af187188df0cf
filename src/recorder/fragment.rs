//! A fragment: filled sample by sample, then handed to the flash thread as it is.

use super::pool::{Block, Chain, ChainTail, Pool};
use crate::limits::{
    ACCESS_UNIT_MAX, AUDIO_CHAIN_BLOCKS, FRAGMENT_BYTES_MAX, FRAGMENT_SAMPLES_MAX,
    VIDEO_CHAIN_BLOCKS,
};
use crate::media::{Sample, TrackKind};
use crate::mp4::fragment::{TrackRun, write_moof};
use crate::rtp::Full;
use crate::segment::{FragmentInfo, SegmentStart};
use crate::time::{Instant, Ticks};

/// The first fragment of a segment brings its start and its init segment.
#[derive(Debug)]
pub struct Start {
    /// What the ring's open record says.
    pub segment: SegmentStart,
    /// The init segment's bytes, from the block's first on.
    pub init: Block,
    /// How many of them.
    pub init_len: usize,
}

/// A fragment on its way to flash.
#[derive(Debug, Default)]
pub struct Fragment {
    /// A segment begins with it.
    pub start: Option<Start>,
    /// `moof` and the `mdat` header, from the block's first byte on.
    pub head: Option<Block>,
    /// Bytes of the head.
    pub head_len: usize,
    /// Video samples, one after the other.
    pub video: Chain<VIDEO_CHAIN_BLOCKS>,
    /// Audio samples, behind the video.
    pub audio: Chain<AUDIO_CHAIN_BLOCKS>,
    /// What the ring's check says.
    pub info: FragmentInfo,
}

impl Fragment {
    /// The fragment's bytes in file order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let head = self
            .head
            .as_ref()
            .and_then(|block| block.get(..self.head_len));
        head.into_iter()
            .chain(self.video.pieces())
            .chain(self.audio.pieces())
    }
}

/// A complete access unit of video: the bytes behind the last sample in the chain.
#[derive(Clone, Copy, Debug)]
pub struct VideoSample {
    /// Presentation time.
    pub pts: Ticks,
    /// Decoding time.
    pub dts: Ticks,
    /// RTP time, for the length of segments.
    pub rtp: u32,
    /// Sync sample.
    pub sync: bool,
}

/// A fragment being filled, and behind its last sample the access unit in progress.
#[derive(Debug, Default)]
pub(super) struct Builder {
    fragment: Option<Box<Fragment>>,
    video: Run,
    audio: Run,
    video_bytes: usize,
    shown: Option<(Ticks, Ticks)>,
    opened: Instant,
    lost_pictures: u32,
    lost: Ticks,
}

/// What of a fragment stays where it is when it is split. Only the next sample tells how long the
/// last one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything: the segment ends here.
    All,
    /// All but the last audio sample, where no other follows it yet.
    AllVideo,
    /// All but the last sample of each track.
    Ended,
}

impl Keep {
    fn held_video(self, run: &Run) -> Option<Sample> {
        let held = run.samples.last().copied();
        held.filter(|_| self == Self::Ended && run.samples.len() > 1)
    }
}

/// Samples of one track, and the decoding times of the first and the last.
#[derive(Debug, Default)]
struct Run {
    samples: heapless::Vec<Sample, FRAGMENT_SAMPLES_MAX>,
    first: Ticks,
    last: Ticks,
}

impl Builder {
    /// The access unit in progress. `None`: the pool has no fragment free.
    pub(super) fn tail<'a>(&'a mut self, pool: &'a mut Pool) -> Option<ChainTail<'a>> {
        if self.fragment.is_none() {
            self.fragment = Some(pool.take_fragment()?);
        }
        let fragment = self.fragment.as_mut()?;
        let start = self.video_bytes;
        Some(ChainTail {
            chain: &mut fragment.video,
            pool,
            start,
            max: ACCESS_UNIT_MAX,
        })
    }

    /// Bytes of the access unit in progress.
    pub(super) fn tail_len(&self) -> usize {
        self.fragment
            .as_ref()
            .map_or(0, |fragment| fragment.video.len() - self.video_bytes)
    }

    /// Drops the access unit in progress.
    pub(super) fn drop_tail(&mut self, pool: &mut Pool) {
        if let Some(fragment) = &mut self.fragment {
            fragment.video.truncate(pool, self.video_bytes);
        }
    }

    /// The access unit in progress is complete, and the fragment's next sample.
    ///
    /// There is room for it: [`Builder::has_room`]. `nominal` is its duration until the next
    /// sample tells the true one.
    pub(super) fn push_video(&mut self, now: Instant, sample: VideoSample, nominal: Ticks) {
        let Some(fragment) = &self.fragment else {
            return;
        };
        if self.is_empty() {
            self.opened = now;
        }
        let size = fragment.video.len() - self.video_bytes;
        self.video_bytes = fragment.video.len();
        self.video.push(
            sample.dts,
            Sample {
                size: u32_of(size as u64),
                duration: u32_of(nominal.0),
                composition_offset: i32_of(sample.pts, sample.dts),
                sync: sample.sync,
            },
        );
        let (first, end) = self.shown.unwrap_or((sample.pts, sample.pts));
        self.shown = Some((first.min(sample.pts), end.max(sample.pts + nominal)));
    }

    /// Appends an audio access unit. `Full`: neither has changed.
    pub(super) fn push_audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        at: Ticks,
        nominal: Ticks,
        data: &[u8],
    ) -> Result<(), Full> {
        if self.fragment.is_none() {
            self.fragment = Some(pool.take_fragment().ok_or(Full)?);
        }
        let Some(fragment) = &mut self.fragment else {
            return Err(Full);
        };
        if self.audio.samples.is_full() {
            return Err(Full);
        }
        fragment.audio.append(pool, data)?;
        if self.is_empty() {
            self.opened = now;
        }
        self.audio.push(
            at,
            Sample {
                size: u32_of(data.len() as u64),
                duration: u32_of(nominal.0),
                composition_offset: 0,
                sync: true,
            },
        );
        Ok(())
    }

    /// Pictures are missing before the next sample.
    pub(super) fn add_loss(&mut self, pictures: u32, length: Ticks) {
        self.lost_pictures = self.lost_pictures.saturating_add(pictures);
        self.lost = self.lost + length;
    }

    /// No sample yet.
    pub(super) fn is_empty(&self) -> bool {
        self.video.samples.is_empty() && self.audio.samples.is_empty()
    }

    /// It has a sample of video.
    pub(super) fn has_video(&self) -> bool {
        !self.video.samples.is_empty()
    }

    /// Its age counts anew.
    pub(super) fn wait_from(&mut self, now: Instant) {
        self.opened = now;
    }

    /// When its first sample came.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// From the first sample of `track` to `at`.
    pub(super) fn length_to(&self, track: TrackKind, at: Ticks) -> Ticks {
        let run = match track {
            TrackKind::Video => &self.video,
            TrackKind::Audio => &self.audio,
        };
        if run.samples.is_empty() {
            Ticks(0)
        } else {
            at.since(run.first)
        }
    }

    /// Bytes of the complete samples.
    pub(super) fn bytes(&self) -> u64 {
        let audio = self
            .fragment
            .as_ref()
            .map_or(0, |fragment| fragment.audio.len());
        (self.video_bytes + audio) as u64
    }

    /// The access unit in progress fits behind the others.
    pub(super) fn has_room(&self) -> bool {
        !self.video.samples.is_full()
            && (self.video_bytes == 0 || self.video_bytes + self.tail_len() <= FRAGMENT_BYTES_MAX)
    }

    /// The next video sample begins at `dts`: so long was the last.
    pub(super) fn end_last_video(&mut self, dts: Ticks) {
        self.video.end_last(dts);
    }

    /// The next audio sample begins at `at`, in the next segment: so long was the last, if it is
    /// the one before.
    pub(super) fn end_last_audio(&mut self, at: Ticks) {
        let last = self
            .audio
            .samples
            .last()
            .map(|last| u64::from(last.duration));
        let distance = at.since(self.audio.last).0;
        if last.is_some_and(|last| (1..last * 3 / 2).contains(&distance)) {
            self.audio.end_last(at);
        }
    }

    /// It has a sample that another one of its track follows.
    pub(super) fn can_be_finished(&self) -> bool {
        self.video.samples.len() > 1
            || self.video.samples.is_empty() && self.audio.samples.len() > 1
    }

    /// Moves the access unit in progress, and the audio from `at` on, to a fragment of its own.
    ///
    /// `Full`: the pool has no room for that, and nothing has changed.
    pub(super) fn split(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        at: Ticks,
        keep: Keep,
    ) -> Result<Self, Full> {
        let Some(fragment) = &mut self.fragment else {
            return Ok(Self::default());
        };
        let mut next = pool.take_fragment().ok_or(Full)?;
        let held = keep.held_video(&self.video);
        let video_bytes = self.video_bytes - held.map_or(0, |sample| sample.size as usize);
        match fragment.video.split_off(pool, video_bytes) {
            Ok(tail) => next.video = tail,
            Err(full) => {
                pool.give_fragment(next);
                return Err(full);
            }
        }
        let (stay, bytes) = self.audio.before(at, keep != Keep::All);
        let mut later = Run::default();
        // Without a block for its audio the frames stay behind: heard, if a moment early.
        if let Ok(audio) = fragment.audio.split_off(pool, bytes) {
            next.audio = audio;
            later = self.audio.split_off(stay);
        }
        let mut next = Self {
            fragment: Some(next),
            audio: later,
            opened: now,
            ..Self::default()
        };
        if held.is_some() {
            next.video = self.video.split_off(self.video.samples.len() - 1);
            next.video_bytes = self.video_bytes - video_bytes;
            next.shown = next.video.shown();
            self.shown = self
                .shown
                .zip(next.shown)
                .map(|((start, _), (end, _))| (start, end));
            self.video_bytes = video_bytes;
        }
        Ok(next)
    }

    /// Writes the head. `None`: there was no sample, and nothing to send.
    pub(super) fn finish(&mut self, pool: &mut Pool, sequence: u32) -> Option<Box<Fragment>> {
        let mut fragment = self.fragment.take()?;
        fragment.video.truncate(pool, self.video_bytes);
        if self.is_empty() {
            pool.give_fragment(fragment);
            return None;
        }
        let runs = [
            (TrackKind::Video, &self.video),
            (TrackKind::Audio, &self.audio),
        ];
        let runs: heapless::Vec<TrackRun<'_>, 2> = runs
            .into_iter()
            .filter(|(_, run)| !run.samples.is_empty())
            .map(|(track, run)| TrackRun {
                track,
                base_decode_time: run.first,
                samples: &run.samples,
            })
            .collect();
        let head = fragment.head.as_deref_mut().unwrap_or_default();
        fragment.head_len = write_moof(head, sequence, &runs).expect("a block holds every head");
        drop(runs);
        fragment.info = self.info();
        *self = Self::default();
        Some(fragment)
    }

    /// The earliest decoding time in it; it cannot be moved back by more.
    pub(super) fn earliest(&self) -> Ticks {
        let runs = [&self.video, &self.audio].into_iter();
        let first = runs
            .filter(|run| !run.samples.is_empty())
            .map(|run| run.first)
            .min();
        first.unwrap_or_default()
    }

    /// All times so far were too late by so much.
    pub(super) fn move_back(&mut self, by: Ticks) {
        for run in [&mut self.video, &mut self.audio] {
            (run.first, run.last) = (run.first.since(by), run.last.since(by));
        }
        self.shown = self
            .shown
            .map(|(start, end)| (start.since(by), end.since(by)));
    }

    /// Drops everything in it.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        if let Some(fragment) = self.fragment.take() {
            pool.give_fragment(fragment);
        }
        *self = Self::default();
    }

    fn info(&self) -> FragmentInfo {
        let audio_end = self
            .audio
            .samples
            .last()
            .map(|s| self.audio.last + Ticks(s.duration.into()));
        let (start, end) = self
            .shown
            .unwrap_or((self.audio.first, audio_end.unwrap_or_default()));
        FragmentInfo {
            start,
            end,
            video_samples: u32_of(self.video.samples.len() as u64),
            audio_samples: u32_of(self.audio.samples.len() as u64),
            begins_with_sync: self.video.samples.first().is_none_or(|sample| sample.sync),
            lost_pictures: self.lost_pictures,
            lost: self.lost,
        }
    }
}

impl Run {
    fn push(&mut self, at: Ticks, sample: Sample) {
        if self.samples.is_empty() {
            self.first = at;
        }
        self.end_last(at);
        self.last = at;
        assert!(
            self.samples.push(sample).is_ok(),
            "the caller asked for room"
        );
    }

    fn end_last(&mut self, at: Ticks) {
        if let Some(last) = self.samples.last_mut() {
            last.duration = u32_of(at.since(self.last).0);
        }
    }

    /// Presentation time of its only sample, and the end of it.
    fn shown(&self) -> Option<(Ticks, Ticks)> {
        let sample = self.samples.first()?;
        let pts = Ticks(
            self.first
                .0
                .saturating_add_signed(sample.composition_offset.into()),
        );
        Some((pts, pts + Ticks(sample.duration.into())))
    }

    /// How many samples begin before `at`, and their bytes; with `followed`, only those that
    /// another follows.
    fn before(&self, at: Ticks, followed: bool) -> (usize, usize) {
        let (mut time, mut count, mut bytes) = (self.first, 0, 0);
        for sample in self.samples.iter().take_while(|sample| {
            let before = time < at;
            time = time + Ticks(sample.duration.into());
            before
        }) {
            count += 1;
            bytes += sample.size as usize;
        }
        match self
            .samples
            .last()
            .filter(|_| followed && count == self.samples.len())
        {
            Some(last) => (count - 1, bytes - last.size as usize),
            None => (count, bytes),
        }
    }

    /// Cuts behind the first `stay` samples.
    fn split_off(&mut self, stay: usize) -> Self {
        let (kept, moved) = self
            .samples
            .split_at_checked(stay)
            .unwrap_or((&self.samples, &[]));
        let kept_length: u64 = kept.iter().map(|sample| u64::from(sample.duration)).sum();
        let last_kept = kept.last().map_or(0, |sample| u64::from(sample.duration));
        let later = Self {
            samples: moved.iter().copied().collect(),
            first: self.first + Ticks(kept_length),
            last: self.last,
        };
        if !later.samples.is_empty() {
            self.last = self.first + Ticks(kept_length - last_kept);
        }
        self.samples.truncate(stay);
        later
    }
}

/// Sizes and durations of one fragment are far below 2^32; a longer one is a hole, told elsewhere.
fn u32_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn i32_of(pts: Ticks, dts: Ticks) -> i32 {
    let offset = i128::from(pts.0) - i128::from(dts.0);
    i32::try_from(offset).unwrap_or_default()
}
