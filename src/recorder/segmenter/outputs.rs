//! What goes to the flash thread, until it is polled.

use super::Output;
use super::filling::Segment;
use crate::recorder::builder::Builder;
use crate::recorder::pool::Pool;
use crate::segment::SegmentEnd;
use crate::time::Ticks;

/// Outputs until they are polled. Drained after each input.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: heapless::Deque<Output, 8>,
    /// Fragments so far (`mfhd`).
    sequence: u32,
}

/// One access unit ends at most two segments, each with its last fragment.
const OUTPUTS_AT_ONCE: usize = 4;

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
