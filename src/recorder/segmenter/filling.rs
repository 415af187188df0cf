//! The segment being filled, and the one before it that waits for late audio.

use core::time::Duration;

use super::missing::shorten;
use super::outputs::Outputs;
use crate::limits::{FRAGMENT_SAMPLES_MAX, SEGMENT_SAMPLES_MAX};
use crate::recorder::builder::{AudioSample, Builder, Keep, VideoSample};
use crate::recorder::fragment::Start;
use crate::recorder::pool::Pool;
use crate::rtp::Full;
use crate::time::{Instant, Ticks};

/// The open segments of one camera, and what has left them.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// The segment that `current` belongs to.
    pub(super) segment: Option<Segment>,
    /// Its fragment in progress; there from the first byte of an access unit on, before its segment.
    pub(super) current: Builder,
    closing: Option<Closing>,
    pub(super) outputs: Outputs,
}

/// What is known of a segment beside the fragment being filled.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) start: Ticks,
    /// End of what was recorded before.
    floor: Ticks,
    pub(super) start_rtp: u32,
    /// Bytes of the fragments sent.
    pub(super) bytes: u64,
    video_samples: usize,
    audio_samples: usize,
    /// Goes with the first fragment.
    pub(super) unsent: Option<Start>,
}

/// The segment before the current one: its last fragment waits for late audio.
#[derive(Debug)]
struct Closing {
    segment: Segment,
    fragment: Builder,
    end: Ticks,
    deadline: Instant,
}

/// How long a segment waits for audio that belongs to it.
pub(super) const LATE_AUDIO: Duration = Duration::from_secs(1);

/// A fragment whose next sample does not come is finished this long after its time.
const STALL: Duration = Duration::from_millis(100);

impl Filling {
    /// A segment begins; what was recorded before ends at `floor`.
    pub(super) fn begin(&mut self, start: Start, rtp: u32, floor: Ticks) {
        self.segment = Some(Segment::new(start, rtp, floor));
    }

    /// `sample` begins the next segment, where this one ends. `Full`: nothing has changed.
    pub(super) fn next_segment(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        start: Start,
        sample: VideoSample,
    ) -> Result<(), Full> {
        let next = match self.current.split(now, pool, sample.pts, Keep::All) {
            Ok(next) => next,
            Err(full) => {
                pool.give(start.init);
                return Err(full);
            }
        };
        let fragment = core::mem::replace(&mut self.current, next);
        let segment = Segment::new(start, sample.rtp, sample.pts);
        self.closing = self.segment.replace(segment).map(|segment| Closing {
            segment,
            fragment,
            end: sample.pts,
            deadline: now + LATE_AUDIO,
        });
        Ok(())
    }

    /// The sample at `at` begins the next fragment. `Full`: nothing has changed.
    pub(super) fn next_fragment(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        at: Ticks,
    ) -> Result<(), Full> {
        let next = self.current.split(now, pool, at, Keep::AllVideo)?;
        self.finish_fragment(pool, next);
        Ok(())
    }

    /// The access unit in progress is complete: see [`Builder::push_video`].
    pub(super) fn push_video(&mut self, now: Instant, sample: VideoSample, nominal: Ticks) {
        self.current.push_video(now, sample, nominal);
        if let Some(segment) = &mut self.segment {
            segment.video_samples += 1;
        }
    }

    /// Appends an audio access unit to the segment before. False: it begins later, and that
    /// segment is complete.
    pub(super) fn push_late_audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: AudioSample<'_>,
    ) -> Result<bool, Full> {
        let Some(closing) = &mut self.closing else {
            return Ok(false);
        };
        if sample.at < closing.end {
            closing.segment.audio_samples += 1;
            let fragment = &mut closing.fragment;
            return fragment.push_audio(now, pool, sample).map(|()| true);
        }
        closing.fragment.end_last_audio(sample.at);
        self.finish_closing(pool);
        Ok(false)
    }

    /// Appends an audio access unit to the segment. False: it begins before that, or there is none.
    pub(super) fn push_audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: AudioSample<'_>,
    ) -> Result<bool, Full> {
        let Some(segment) = self
            .segment
            .as_mut()
            .filter(|segment| sample.at >= segment.start)
        else {
            return Ok(false);
        };
        segment.audio_samples += 1;
        self.current.push_audio(now, pool, sample).map(|()| true)
    }

    /// How far the segment's times may be moved back. None: some are told.
    pub(super) fn movable(&self) -> Option<Ticks> {
        let Some(segment) = &self.segment else {
            return Some(Ticks(0));
        };
        let at_most = segment.start.since(segment.floor);
        (!segment.is_told()).then(|| at_most.min(self.current.earliest()))
    }

    /// All times of the segment were too late by `by`. The end of what was recorded before; None:
    /// nothing can be moved.
    pub(super) fn move_back(&mut self, by: Ticks) -> Option<Ticks> {
        let segment = self.segment.as_mut().filter(|segment| !segment.is_told())?;
        segment.move_back(by);
        self.current.move_back(by);
        Some(segment.floor)
    }

    /// The segment ends at `end`, if there is one, and so does the one before.
    pub(super) fn end_segment(&mut self, pool: &mut Pool, end: Ticks) {
        self.finish_closing(pool);
        if let Some(segment) = self.segment.take() {
            let last = core::mem::take(&mut self.current);
            self.outputs.end(pool, segment, last, end);
        }
    }

    /// The segment before waits for audio no longer, if there is one.
    pub(super) fn finish_closing(&mut self, pool: &mut Pool) {
        if let Some(closing) = self.closing.take() {
            let (segment, last) = (closing.segment, closing.fragment);
            self.outputs.end(pool, segment, last, closing.end);
        }
    }

    /// Finishes what has waited long enough: the segment before, and a fragment of about
    /// `fragment_length`, of whose audio what begins before `audio_bound` stays in it.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        fragment_length: Duration,
        audio_bound: Ticks,
    ) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.closing_deadline()) {
            self.finish_closing(pool);
        }
        if is_due(self.fragment_deadline(fragment_length)) {
            // The access unit in progress goes on in the next fragment.
            match self.current.split(now, pool, audio_bound, Keep::Ended) {
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

    /// When [`Filling::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self, fragment_length: Duration) -> Option<Instant> {
        let deadlines = [
            self.closing_deadline(),
            self.fragment_deadline(fragment_length),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn closing_deadline(&self) -> Option<Instant> {
        self.closing.as_ref().map(|closing| closing.deadline)
    }

    fn fragment_deadline(&self, fragment_length: Duration) -> Option<Instant> {
        let open = self.segment.is_some() && self.current.can_be_finished();
        open.then(|| self.current.opened() + fragment_length + STALL)
    }

    /// The current fragment is complete; `next` takes its place.
    fn finish_fragment(&mut self, pool: &mut Pool, next: Builder) {
        self.finish_closing(pool);
        let mut done = core::mem::replace(&mut self.current, next);
        if let Some(segment) = &mut self.segment {
            self.outputs.send(pool, segment, &mut done);
        }
    }
}

impl Segment {
    fn new(start: Start, start_rtp: u32, floor: Ticks) -> Self {
        Self {
            start: start.segment.start,
            floor,
            start_rtp,
            bytes: 0,
            video_samples: 0,
            audio_samples: 0,
            unsent: Some(start),
        }
    }

    /// A fragment of it has been sent: its times are told.
    fn is_told(&self) -> bool {
        self.unsent.is_none()
    }

    /// It nears the most samples of a track; a fragment more always fits.
    pub(super) fn is_full(&self) -> bool {
        self.video_samples.max(self.audio_samples) >= SEGMENT_SAMPLES_MAX - FRAGMENT_SAMPLES_MAX
    }

    /// It began earlier by `by`. No fragment of it has been sent.
    fn move_back(&mut self, by: Ticks) {
        self.start = self.start.since(by);
        if let Some(start) = &mut self.unsent {
            start.segment.start = self.start;
            shorten(&mut start.segment.holes, self.start);
        }
    }
}
