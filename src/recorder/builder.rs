//! A fragment being filled, sample by sample.

use super::fragment::Fragment;
use super::pool::{ChainTail, Pool};
use super::run::{Run, u32_of};
use crate::limits::{ACCESS_UNIT_MAX, FRAGMENT_BYTES_MAX};
use crate::media::{Sample, TrackKind};
use crate::mp4::fragment::{TrackRun, write_moof};
use crate::rtp::Full;
use crate::segment::FragmentInfo;
use crate::time::{Instant, Ticks};

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

/// An access unit of audio.
#[derive(Clone, Copy, Debug)]
pub struct AudioSample<'a> {
    /// Decoding and presentation time.
    pub at: Ticks,
    /// Until the next one, if none is missing.
    pub length: Ticks,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A fragment being filled, and behind its last sample the access unit in progress.
#[derive(Debug, Default)]
pub(super) struct Builder {
    fragment: Option<Box<Fragment>>,
    video: Run,
    audio: Run,
    /// Bytes of the complete video samples.
    video_bytes: usize,
    /// Earliest presentation time of a video sample, and the latest end of one.
    shown: Option<(Ticks, Ticks)>,
    /// Its age counts from here.
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

impl Builder {
    /// The access unit in progress. `Full`: the pool has no fragment free.
    pub(super) fn tail<'a>(&'a mut self, pool: &'a mut Pool) -> Result<ChainTail<'a>, Full> {
        let start = self.video_bytes;
        let fragment = taken(&mut self.fragment, pool)?;
        Ok(ChainTail {
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
        sample: AudioSample<'_>,
    ) -> Result<(), Full> {
        let fragment = taken(&mut self.fragment, pool)?;
        if self.audio.is_full() {
            return Err(Full);
        }
        fragment.audio.append(pool, sample.data)?;
        if self.is_empty() {
            self.opened = now;
        }
        self.audio.push(
            sample.at,
            Sample {
                size: u32_of(sample.data.len() as u64),
                duration: u32_of(sample.length.0),
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
        self.video.is_empty() && self.audio.is_empty()
    }

    /// It has a sample of video.
    pub(super) fn has_video(&self) -> bool {
        !self.video.is_empty()
    }

    /// Its age counts anew.
    pub(super) fn wait_from(&mut self, now: Instant) {
        self.opened = now;
    }

    /// When its first sample came, or when it was told to wait.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// From the first sample of `track` to `at`.
    pub(super) fn length_to(&self, track: TrackKind, at: Ticks) -> Ticks {
        let run = match track {
            TrackKind::Video => &self.video,
            TrackKind::Audio => &self.audio,
        };
        if run.is_empty() {
            Ticks(0)
        } else {
            at.since(run.first())
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
        !self.video.is_full()
            && (self.video_bytes == 0 || self.video_bytes + self.tail_len() <= FRAGMENT_BYTES_MAX)
    }

    /// The next video sample begins at `dts`: so long was the last.
    pub(super) fn end_last_video(&mut self, dts: Ticks) {
        self.video.end_last(dts);
    }

    /// The next audio sample begins at `at`, in the next segment: so long was the last, if it is
    /// the one before.
    pub(super) fn end_last_audio(&mut self, at: Ticks) {
        self.audio.end_last_if_next(at);
    }

    /// It has a sample that another one of its track follows.
    pub(super) fn can_be_finished(&self) -> bool {
        let leader = if self.has_video() {
            &self.video
        } else {
            &self.audio
        };
        leader.samples().len() > 1
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
        let held = self.video.samples().last().copied();
        let held = held.filter(|_| keep == Keep::Ended && self.video.samples().len() > 1);
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
            next.video = self.video.split_off(self.video.samples().len() - 1);
            next.video_bytes = self.video_bytes - video_bytes;
            next.shown = next.video.first_shown();
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
            .filter(|(_, run)| !run.is_empty())
            .map(|(track, run)| TrackRun {
                track,
                base_decode_time: run.first(),
                samples: run.samples(),
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
        let runs = runs.filter(|run| !run.is_empty());
        runs.map(Run::first).min().unwrap_or_default()
    }

    /// All times so far were too late by so much.
    pub(super) fn move_back(&mut self, by: Ticks) {
        for run in [&mut self.video, &mut self.audio] {
            run.move_back(by);
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
        let heard = (self.audio.first(), self.audio.end().unwrap_or_default());
        let (start, end) = self.shown.unwrap_or(heard);
        FragmentInfo {
            start,
            end,
            video_samples: u32_of(self.video.samples().len() as u64),
            audio_samples: u32_of(self.audio.samples().len() as u64),
            begins_with_sync: self
                .video
                .samples()
                .first()
                .is_none_or(|sample| sample.sync),
            lost_pictures: self.lost_pictures,
            lost: self.lost,
        }
    }
}

/// The fragment, from the pool if there is none yet. `Full`: the pool has none free.
fn taken<'a>(
    fragment: &'a mut Option<Box<Fragment>>,
    pool: &mut Pool,
) -> Result<&'a mut Fragment, Full> {
    if fragment.is_none() {
        *fragment = pool.take_fragment();
    }
    fragment.as_deref_mut().ok_or(Full)
}

fn i32_of(pts: Ticks, dts: Ticks) -> i32 {
    let offset = i128::from(pts.0) - i128::from(dts.0);
    i32::try_from(offset).unwrap_or_default()
}
