//! A segment being filled, and how it leaves for the flash thread.

use super::Output;
use super::missing::shorten;
use crate::limits::SEGMENT_SAMPLES_MAX;
use crate::recorder::builder::Builder;
use crate::recorder::fragment::Start;
use crate::recorder::pool::Pool;
use crate::segment::SegmentEnd;
use crate::time::{Instant, Ticks};

/// What is known of a segment beside the fragment being filled.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) start: Ticks,
    /// End of what was recorded before.
    pub(super) floor: Ticks,
    pub(super) start_rtp: u32,
    /// Bytes of the fragments sent.
    pub(super) bytes: u64,
    pub(super) video_samples: usize,
    pub(super) audio_samples: usize,
    /// Goes with the first fragment.
    unsent: Option<Start>,
}

/// The segment before the current one: its last fragment waits for late audio.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) segment: Segment,
    pub(super) fragment: Builder,
    pub(super) end: Ticks,
    pub(super) deadline: Instant,
}

/// Outputs until they are polled. Drained after each input.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: heapless::Deque<Output, 8>,
    /// Fragments so far (`mfhd`).
    sequence: u32,
}

/// One access unit ends at most two segments, each with its last fragment.
const OUTPUTS_AT_ONCE: usize = 4;

impl Segment {
    pub(super) fn new(start: Start, start_rtp: u32, floor: Ticks) -> Self {
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
    pub(super) fn is_told(&self) -> bool {
        self.unsent.is_none()
    }

    /// It nears the most samples of a track; a fragment more always fits.
    pub(super) fn is_full(&self) -> bool {
        self.video_samples.max(self.audio_samples) >= SEGMENT_SAMPLES_MAX - 512
    }

    /// It began earlier by `by`. No fragment of it has been sent.
    pub(super) fn move_back(&mut self, by: Ticks) {
        self.start = self.start.since(by);
        if let Some(start) = &mut self.unsent {
            start.segment.start = self.start;
            shorten(&mut start.segment.holes, self.start);
        }
    }
}

impl Outputs {
    /// There is room for all that one access unit may end.
    pub(super) fn have_room(&self) -> bool {
        self.queue.len() + OUTPUTS_AT_ONCE <= self.queue.capacity()
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// Sends a fragment of `segment`, unless it is empty.
    pub(super) fn send(&mut self, pool: &mut Pool, segment: &mut Segment, fragment: &mut Builder) {
        segment.bytes += fragment.bytes();
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(mut fragment) = fragment.finish(pool, self.sequence) {
            fragment.start = segment.unsent.take();
            self.push(Output::Fragment(fragment));
        }
    }

    /// Sends the last fragment of `segment`, which ends at `end`.
    pub(super) fn end(
        &mut self,
        pool: &mut Pool,
        mut segment: Segment,
        mut last: Builder,
        end: Ticks,
    ) {
        self.send(pool, &mut segment, &mut last);
        // A segment that never had a fragment is not begun on flash either.
        match segment.unsent {
            Some(start) => pool.give(start.init),
            None => self.push(Output::End(SegmentEnd { end })),
        }
    }

    fn push(&mut self, output: Output) {
        assert!(
            self.queue.push_back(output).is_ok(),
            "outputs are drained after each input"
        );
    }
}
