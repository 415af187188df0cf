//! The segmenter: samples to fragments, fragments to segments (DESIGN "Cutting").
//!
//! A segment begins with a sync sample and ends at the first sync sample at which
//! `segmentLength` is reached. An audio frame belongs to the segment in which it begins, so the
//! last fragment of a segment stays open for up to a second after the cut.

use core::time::Duration;

use self::cadence::Cadence;
use self::filling::Filling;
use self::missing::Missing;
use super::builder::{AudioSample, Keep, VideoSample};
use super::fragment::{Fragment, Start};
use super::pool::{ChainTail, Pool};
use crate::gap::Cause;
use crate::limits::SEGMENT_BYTES_MAX;
use crate::media::{AudioDescription, TrackKind, Tracks, VideoDescription};
use crate::mp4::init::write_init;
use crate::rtp::Full;
use crate::segment::{SegmentEnd, SegmentStart};
use crate::time::{Instant, TIMESCALE, Ticks};

mod cadence;
mod filling;
mod missing;
mod outputs;

/// What the configuration says about cutting.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// `segmentLength`.
    pub segment_length: Duration,
    /// Half of `flashSyncInterval`.
    pub fragment_length: Duration,
    /// Size of the ring, bytes.
    pub ring_bytes: u64,
}

/// What goes to the flash thread, in this order.
#[derive(Debug)]
pub enum Output {
    /// The next fragment; the first of a segment brings its start.
    Fragment(Box<Fragment>),
    /// The segment of the last fragment ends.
    End(SegmentEnd),
}

/// One camera's segments.
#[derive(Debug)]
pub struct Segmenter {
    cutting: Cutting,
    video: Option<VideoDescription>,
    audio: Option<AudioDescription>,
    filling: Filling,
    /// The next sync sample begins a segment, whatever its length.
    cut_next: bool,
    missing: Missing,
    /// End of the last video, or of the last audio where there is no video.
    end: Ticks,
    cadence: Cadence,
    /// When audio came last.
    last_audio: Option<Instant>,
    last_audio_at: Option<Ticks>,
}

impl Segmenter {
    /// No segment yet. The time before the first has cause `cause`.
    pub fn new(cutting: Cutting, cause: Cause) -> Self {
        Self {
            cutting,
            video: None,
            audio: None,
            filling: Filling::default(),
            cut_next: false,
            missing: Missing::new(Ticks(0), cause),
            end: Ticks(0),
            cadence: Cadence::new(),
            last_audio: None,
            last_audio_at: None,
        }
    }

    /// Other limits, from the next decision on.
    pub fn set_cutting(&mut self, cutting: Cutting) {
        self.cutting = cutting;
    }

    /// The tracks from the next sync sample on. Other ones end the segment there.
    pub fn set_tracks(&mut self, video: Option<VideoDescription>, audio: Option<AudioDescription>) {
        self.cut_next |=
            self.filling.segment.is_some() && (self.video != video || self.audio != audio);
        (self.video, self.audio) = (video, audio);
    }

    /// End of the video so far; what comes next may not begin before it.
    pub fn end(&self) -> Ticks {
        self.end
    }

    /// Length of a picture, as the last ones tell.
    pub fn picture_length(&self) -> Ticks {
        self.cadence.picture_length
    }

    /// How far the times of the segment may still be moved back: nothing of it was told yet. `None`
    /// once a fragment of it has been sent.
    pub fn movable(&self) -> Option<Ticks> {
        self.filling.movable()
    }

    /// All times of the segment so far were too late by `by`, at most [`Segmenter::movable`].
    pub fn move_back(&mut self, by: Ticks) {
        let Some(floor) = self.filling.move_back(by) else {
            return;
        };
        self.cadence.move_back(by);
        self.end = self.end.since(by).max(floor);
        self.last_audio_at = self.last_audio_at.map(|at| at.since(by));
    }

    /// The buffer of the video access unit in progress. `Full`: the pool is used up.
    pub fn access_unit<'a>(&'a mut self, pool: &'a mut Pool) -> Result<ChainTail<'a>, Full> {
        self.filling.current.tail(pool)
    }

    /// Drops the video access unit in progress.
    pub fn drop_access_unit(&mut self, pool: &mut Pool) {
        self.filling.current.drop_tail(pool);
    }

    /// Video is missing from the end of the last sample, or from `at` if that is later, on.
    pub fn lose(&mut self, at: Ticks, cause: Cause) {
        self.cadence.interrupt();
        self.missing.lose(self.end, at, cause);
    }

    /// The access unit in progress is complete. `Full`: it was dropped; all until the next sync
    /// sample is to be dropped too.
    pub fn video(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        let result = self.place_video(now, pool, sample);
        if result.is_err() {
            self.filling.current.drop_tail(pool);
        }
        result
    }

    /// An audio access unit. `Full`: it was dropped.
    pub fn audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: AudioSample<'_>,
    ) -> Result<(), Full> {
        // An RTP packet may hold thousands of (empty) frames.
        if !self.filling.outputs.have_room() {
            return Err(Full);
        }
        self.last_audio = Some(now);
        // A camera whose sound goes back in time: no decoder takes that.
        if self.last_audio_at.is_some_and(|last| sample.at <= last) {
            return Ok(());
        }
        self.last_audio_at = Some(sample.at);
        if self.filling.push_late_audio(now, pool, sample)? {
            return Ok(());
        }
        if self.video.is_none() {
            self.cut_audio_only(now, pool, sample.at)?;
        }
        if self.filling.push_audio(now, pool, sample)? && self.video.is_none() {
            self.end = sample.at + sample.length;
        }
        Ok(())
    }

    /// Ends the segment where its video ends: the camera is gone, or recording stops.
    pub fn finish(&mut self, pool: &mut Pool) {
        self.filling.current.drop_tail(pool);
        self.filling.end_segment(pool, self.end);
        self.filling.current.clear(pool);
        self.cadence.interrupt();
        self.last_audio = None;
    }

    /// Finishes what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
        // Audio ahead of the video goes on in the next fragment.
        let audio_bound = self.video.as_ref().map_or(Ticks(u64::MAX), |_| self.end);
        let length = self.cutting.fragment_length;
        self.filling.handle_timeout(now, pool, length, audio_bound);
    }

    /// When [`Segmenter::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.filling.poll_timeout(self.cutting.fragment_length)
    }

    /// The next thing for the flash thread.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.filling.outputs.pop()
    }

    fn place_video(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        if !sample.sync && (self.filling.segment.is_none() || self.missing.is_some()) {
            self.filling.current.drop_tail(pool);
            return Ok(());
        }
        if self.filling.segment.is_none() {
            self.begin(pool, sample)?;
        } else if self.missing.is_some() {
            self.resume_after_hole(now, pool, sample)?;
        } else {
            self.filling.current.end_last_video(sample.dts);
            self.cut(now, pool, sample)?;
        }
        self.add_video(now, sample);
        Ok(())
    }

    /// Ends segment or fragment before `sample` where it is time.
    fn cut(&mut self, now: Instant, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let current = &self.filling.current;
        let Some(segment) = &self.filling.segment else {
            return Ok(());
        };
        let ring = self.cutting.ring_bytes;
        let bytes = segment.bytes + current.bytes();
        let length = u64::from(sample.rtp.wrapping_sub(segment.start_rtp));
        let full = bytes >= (ring / 4).min(SEGMENT_BYTES_MAX) || segment.is_full();
        let due = self.cut_next
            || length >= Ticks::from_duration(self.cutting.segment_length).0
            || bytes >= ring / 8;
        if full || (sample.sync && due) {
            return self.next_segment(now, pool, sample);
        }
        let long = current.length_to(TrackKind::Video, sample.dts)
            >= Ticks::from_duration(self.cutting.fragment_length);
        // A card that is behind gets what there is: only what is synced frees the pool.
        let scarce = pool.free() < pool.blocks() / 4;
        let ends = sample.sync || long || scarce || !current.has_room();
        if current.has_video() && ends {
            self.filling.next_fragment(now, pool, sample.pts)?;
        }
        Ok(())
    }

    /// `sample` begins the next segment where this one ends.
    fn next_segment(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        self.filling.finish_closing(pool);
        let start = self.start(pool, sample.pts, !sample.sync)?;
        self.filling.next_segment(now, pool, start, sample)?;
        if !self.audio_flows(now) {
            self.filling.finish_closing(pool);
        }
        self.cut_next = false;
        Ok(())
    }

    /// The first sync sample after missing video. A hole of up to one GOP stays inside the segment.
    fn resume_after_hole(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        let length = sample.pts.since(self.end);
        if length > self.cadence.gop || self.missing.has_several_causes() {
            let next = self
                .filling
                .current
                .split(now, pool, sample.pts, Keep::All)?;
            self.filling.end_segment(pool, self.end);
            self.filling.current = next;
            return self.begin(pool, sample);
        }
        // The last picture before the hole stands until the next: no player stalls.
        self.filling.current.end_last_video(sample.dts);
        self.missing.clear();
        self.cut(now, pool, sample)?;
        let pictures = length.0 / self.cadence.picture_length.0.max(1);
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX);
        self.filling.current.add_loss(pictures, length);
        Ok(())
    }

    /// `sample` begins the first segment, or the first after a hole.
    fn begin(&mut self, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let start = self.start(pool, sample.pts, false)?;
        self.filling.begin(start, sample.rtp, self.end);
        self.cut_next = false;
        Ok(())
    }

    /// What begins at `at`, with its init segment. On success the holes are told.
    fn start(&mut self, pool: &mut Pool, at: Ticks, continues: bool) -> Result<Start, Full> {
        let mut init = pool.take().ok_or(Full)?;
        let written = write_init(&mut init, self.video.as_ref(), self.audio.as_ref());
        let Ok(init_len) = written else {
            pool.give(init);
            return Err(Full);
        };
        let tracks = Tracks {
            video: self.video.is_some(),
            audio: self.audio.is_some(),
        };
        let segment = SegmentStart {
            start: at,
            holes: self.missing.take(at),
            continues,
            tracks,
        };
        Ok(Start {
            segment,
            init,
            init_len,
        })
    }

    fn add_video(&mut self, now: Instant, sample: VideoSample) {
        self.cadence.push(sample);
        let nominal = self.cadence.picture_length;
        self.filling.push_video(now, sample, nominal);
        self.end = self.end.max(sample.pts + nominal);
    }

    /// A camera without video: every audio frame is a sync sample.
    fn cut_audio_only(&mut self, now: Instant, pool: &mut Pool, at: Ticks) -> Result<(), Full> {
        if self.audio.is_none() {
            return Ok(());
        }
        let as_sample = VideoSample {
            pts: at,
            dts: at,
            rtp: rtp_of(at),
            sync: true,
        };
        if self.filling.segment.is_some() && at.since(self.end) > Ticks(u64::from(TIMESCALE)) {
            self.finish(pool);
            self.lose(at, Cause::MediaLost);
        }
        let Some(segment) = &self.filling.segment else {
            return self.begin(pool, as_sample);
        };
        let length = at.since(segment.start);
        if self.cut_next || length >= Ticks::from_duration(self.cutting.segment_length) {
            self.next_segment(now, pool, as_sample)?;
            self.filling.finish_closing(pool);
        } else if self.filling.current.length_to(TrackKind::Audio, at)
            >= Ticks::from_duration(self.cutting.fragment_length)
        {
            self.filling.next_fragment(now, pool, at)?;
        }
        Ok(())
    }

    fn audio_flows(&self, now: Instant) -> bool {
        self.last_audio
            .is_some_and(|last| now.since(last) < 2 * filling::LATE_AUDIO)
    }
}

/// The RTP time of a camera without video: its timeline's.
fn rtp_of(at: Ticks) -> u32 {
    u32::try_from(at.0 & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
