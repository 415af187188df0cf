//! The segmenter: samples to fragments, fragments to segments (DESIGN "Cutting").
//!
//! A segment begins with a sync sample and ends at the first sync sample at which
//! `segmentLength` is reached. An audio frame belongs to the segment in which it begins, so the
//! last fragment of a segment stays open for up to a second after the cut.

use core::time::Duration;

use self::cadence::Cadence;
use self::missing::Missing;
use self::segment::{Closing, Outputs, Segment};
use super::builder::{Builder, Keep, VideoSample};
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
mod missing;
mod segment;

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
    /// The segment that `current` belongs to.
    segment: Option<Segment>,
    current: Builder,
    closing: Option<Closing>,
    /// The next sync sample begins a segment, whatever its length.
    cut_next: bool,
    missing: Missing,
    /// End of the last video, or of the last audio where there is no video.
    end: Ticks,
    cadence: Cadence,
    /// When audio came last.
    last_audio: Option<Instant>,
    last_audio_at: Option<Ticks>,
    outputs: Outputs,
}

/// How long a segment waits for audio that belongs to it.
const LATE_AUDIO: Duration = Duration::from_secs(1);

/// A fragment whose next sample does not come is finished this long after its time.
const STALL: Duration = Duration::from_millis(100);

impl Segmenter {
    /// No segment yet. The time before the first has cause `cause`.
    pub fn new(cutting: Cutting, cause: Cause) -> Self {
        Self {
            cutting,
            video: None,
            audio: None,
            segment: None,
            current: Builder::default(),
            closing: None,
            cut_next: false,
            missing: Missing::new(Ticks(0), cause),
            end: Ticks(0),
            cadence: Cadence::new(),
            last_audio: None,
            last_audio_at: None,
            outputs: Outputs::default(),
        }
    }

    /// Other limits, from the next decision on.
    pub fn set_cutting(&mut self, cutting: Cutting) {
        self.cutting = cutting;
    }

    /// The tracks from the next sync sample on. Other ones end the segment there.
    pub fn set_tracks(&mut self, video: Option<VideoDescription>, audio: Option<AudioDescription>) {
        self.cut_next |= self.segment.is_some() && (self.video != video || self.audio != audio);
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
        let Some(segment) = &self.segment else {
            return Some(Ticks(0));
        };
        let at_most = segment.start.since(segment.floor);
        (!segment.is_told()).then(|| at_most.min(self.current.earliest()))
    }

    /// All times of the segment so far were too late by `by`, at most [`Segmenter::movable`].
    pub fn move_back(&mut self, by: Ticks) {
        let Some(segment) = self.segment.as_mut().filter(|segment| !segment.is_told()) else {
            return;
        };
        segment.move_back(by);
        self.current.move_back(by);
        self.cadence.move_back(by);
        self.end = self.end.since(by).max(segment.floor);
        self.last_audio_at = self.last_audio_at.map(|at| at.since(by));
    }

    /// The buffer of the video access unit in progress. `Full`: the pool is used up.
    pub fn access_unit<'a>(&'a mut self, pool: &'a mut Pool) -> Result<ChainTail<'a>, Full> {
        self.current.tail(pool)
    }

    /// Drops the video access unit in progress.
    pub fn drop_access_unit(&mut self, pool: &mut Pool) {
        self.current.drop_tail(pool);
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
            self.current.drop_tail(pool);
        }
        result
    }

    /// An audio access unit that begins at `at` and lasts `length`. `Full`: it was dropped.
    pub fn audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        at: Ticks,
        length: Ticks,
        data: &[u8],
    ) -> Result<(), Full> {
        // An RTP packet may hold thousands of (empty) frames.
        if !self.outputs.have_room() {
            return Err(Full);
        }
        self.last_audio = Some(now);
        // A camera whose sound goes back in time: no decoder takes that.
        if self.last_audio_at.is_some_and(|last| at <= last) {
            return Ok(());
        }
        self.last_audio_at = Some(at);
        if let Some(closing) = &mut self.closing {
            if at < closing.end {
                closing.segment.audio_samples += 1;
                return closing.fragment.push_audio(now, pool, at, length, data);
            }
            closing.fragment.end_last_audio(at);
            self.finish_closing(pool);
        }
        if self.video.is_none() {
            self.cut_audio_only(now, pool, at)?;
        }
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        if at < segment.start {
            return Ok(());
        }
        segment.audio_samples += 1;
        self.current.push_audio(now, pool, at, length, data)?;
        if self.video.is_none() {
            self.end = at + length;
        }
        Ok(())
    }

    /// Ends the segment where its video ends: the camera is gone, or recording stops.
    pub fn finish(&mut self, pool: &mut Pool) {
        self.current.drop_tail(pool);
        self.finish_closing(pool);
        self.end_segment(pool);
        self.current.clear(pool);
        self.cadence.interrupt();
        self.last_audio = None;
    }

    /// Finishes what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
        if self
            .closing
            .as_ref()
            .is_some_and(|closing| closing.deadline <= now)
        {
            self.finish_closing(pool);
        }
        if self
            .fragment_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            // The access unit in progress, and audio ahead of the video, go on in the next.
            match self
                .current
                .split(now, pool, self.audio_bound(), Keep::Ended)
            {
                Ok(next) => self.finish_fragment(pool, next),
                // No block is free for the rest, and there is none: as it is. Otherwise all
                // blocks could come to wait in fragments that nobody can end.
                Err(Full) if self.current.tail_len() == 0 => {
                    self.finish_fragment(pool, Builder::default());
                }
                Err(Full) => self.current.wait_from(now),
            }
        }
    }

    /// When [`Segmenter::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        [closing, self.fragment_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing for the flash thread.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    fn place_video(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        if !sample.sync && (self.segment.is_none() || self.missing.is_some()) {
            self.current.drop_tail(pool);
            return Ok(());
        }
        if self.segment.is_none() {
            self.begin(pool, sample)?;
        } else if self.missing.is_some() {
            self.resume_after_hole(now, pool, sample)?;
        } else {
            self.current.end_last_video(sample.dts);
            self.cut(now, pool, sample)?;
        }
        self.add_video(now, sample);
        Ok(())
    }

    /// Ends segment or fragment before `sample` where it is time.
    fn cut(&mut self, now: Instant, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let Some(segment) = &self.segment else {
            return Ok(());
        };
        let ring = self.cutting.ring_bytes;
        let bytes = segment.bytes + self.current.bytes();
        let length = u64::from(sample.rtp.wrapping_sub(segment.start_rtp));
        let full = bytes >= (ring / 4).min(SEGMENT_BYTES_MAX) || segment.is_full();
        let due = self.cut_next
            || length >= Ticks::from_duration(self.cutting.segment_length).0
            || bytes >= ring / 8;
        if full || (sample.sync && due) {
            return self.next_segment(now, pool, sample);
        }
        let long = self.current.length_to(TrackKind::Video, sample.dts)
            >= Ticks::from_duration(self.cutting.fragment_length);
        // A card that is behind gets what there is: only what is synced frees the pool.
        let scarce = pool.free() < pool.blocks() / 4;
        let ends = sample.sync || long || scarce || !self.current.has_room();
        if self.current.has_video() && ends {
            let next = self.current.split(now, pool, sample.pts, Keep::AllVideo)?;
            self.finish_fragment(pool, next);
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
        self.finish_closing(pool);
        let start = self.start(pool, sample.pts, !sample.sync)?;
        let next = match self.current.split(now, pool, sample.pts, Keep::All) {
            Ok(next) => next,
            Err(full) => {
                pool.give(start.init);
                return Err(full);
            }
        };
        let fragment = core::mem::replace(&mut self.current, next);
        if let Some(segment) = self
            .segment
            .replace(Segment::new(start, sample.rtp, sample.pts))
        {
            let deadline = now + LATE_AUDIO;
            self.closing = Some(Closing {
                segment,
                fragment,
                end: sample.pts,
                deadline,
            });
        }
        if !self.audio_flows(now) {
            self.finish_closing(pool);
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
            let next = self.current.split(now, pool, sample.pts, Keep::All)?;
            self.finish_closing(pool);
            self.end_segment(pool);
            self.current = next;
            return self.begin(pool, sample);
        }
        // The last picture before the hole stands until the next: no player stalls.
        self.current.end_last_video(sample.dts);
        self.missing.clear();
        self.cut(now, pool, sample)?;
        let pictures = length.0 / self.cadence.picture_length.0.max(1);
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX);
        self.current.add_loss(pictures, length);
        Ok(())
    }

    /// `sample` begins the first segment, or the first after a hole.
    fn begin(&mut self, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let start = self.start(pool, sample.pts, false)?;
        self.segment = Some(Segment::new(start, sample.rtp, self.end));
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
        self.current.push_video(now, sample, nominal);
        self.end = self.end.max(sample.pts + nominal);
        if let Some(segment) = &mut self.segment {
            segment.video_samples += 1;
        }
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
        if self.segment.is_some() && at.since(self.end) > Ticks(u64::from(TIMESCALE)) {
            self.finish(pool);
            self.lose(at, Cause::MediaLost);
        }
        if self.segment.is_none() {
            return self.begin(pool, as_sample);
        }
        let length = self
            .segment
            .as_ref()
            .map_or(Ticks(0), |segment| at.since(segment.start));
        if self.cut_next || length >= Ticks::from_duration(self.cutting.segment_length) {
            self.next_segment(now, pool, as_sample)?;
            self.finish_closing(pool);
        } else if self.current.length_to(TrackKind::Audio, at)
            >= Ticks::from_duration(self.cutting.fragment_length)
        {
            let next = self.current.split(now, pool, at, Keep::AllVideo)?;
            self.finish_fragment(pool, next);
        }
        Ok(())
    }

    /// The current fragment is complete; `next` takes its place.
    fn finish_fragment(&mut self, pool: &mut Pool, next: Builder) {
        self.finish_closing(pool);
        let mut done = core::mem::replace(&mut self.current, next);
        if let Some(segment) = &mut self.segment {
            self.outputs.send(pool, segment, &mut done);
        }
    }

    /// The segment ends here, if there is one.
    fn end_segment(&mut self, pool: &mut Pool) {
        if let Some(segment) = self.segment.take() {
            let last = core::mem::take(&mut self.current);
            self.outputs.end(pool, segment, last, self.end);
        }
    }

    /// The segment before waits for audio no longer, if there is one.
    fn finish_closing(&mut self, pool: &mut Pool) {
        if let Some(closing) = self.closing.take() {
            let (segment, last) = (closing.segment, closing.fragment);
            self.outputs.end(pool, segment, last, closing.end);
        }
    }

    fn fragment_deadline(&self) -> Option<Instant> {
        let open = self.segment.is_some() && self.current.can_be_finished();
        open.then(|| self.current.opened() + self.cutting.fragment_length + STALL)
    }

    /// Audio up to here goes with the current fragment when it is finished for its age.
    fn audio_bound(&self) -> Ticks {
        if self.video.is_some() {
            self.end
        } else {
            Ticks(u64::MAX)
        }
    }

    fn audio_flows(&self, now: Instant) -> bool {
        self.last_audio
            .is_some_and(|last| now.since(last) < 2 * LATE_AUDIO)
    }
}

/// The RTP time of a camera without video: its timeline's.
fn rtp_of(at: Ticks) -> u32 {
    u32::try_from(at.0 & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
