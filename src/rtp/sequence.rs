//! Sequence numbers: what is missing, and what came twice (RFC 3550 appendix A.1).

/// A larger step forward is a new numbering, not loss (RFC 3550 appendix A.1).
const DROPOUT_MAX: u16 = 3000;

/// A smaller step back is a late packet, not a new numbering (RFC 3550 appendix A.1).
const MISORDER_MAX: u16 = 100;

/// What a packet's sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is the first, or follows the one before.
    InOrder,
    /// So many packets before it are missing.
    Lost(u16),
    /// Its number is the last one's. Drop it.
    Duplicate,
    /// It should have come earlier, and was counted as lost. Drop it.
    Late,
    /// The camera began another numbering: what is missing before it is unknown.
    Restarted,
}

/// The numbering of one track's packets.
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    state: Option<Numbering>,
    received: u32,
    lost: u32,
    reported: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Numbering {
    ssrc: u32,
    highest: u16,
    /// Times the number wrapped.
    cycles: u16,
    /// What would follow the late packet that came last.
    after_late: Option<u16>,
}

impl SequenceTracker {
    /// Judges the next packet.
    ///
    /// On TCP nothing comes out of order, so two late packets in a row with numbers in a row
    /// are a camera that set its counter back.
    pub fn receive(&mut self, ssrc: u32, sequence: u16) -> Received {
        let first = Numbering {
            ssrc,
            highest: sequence,
            cycles: 0,
            after_late: None,
        };
        let Some(state) = &mut self.state else {
            self.state = Some(first);
            self.received = 1;
            return Received::InOrder;
        };
        let step = sequence.wrapping_sub(state.highest);
        let back = state.highest.wrapping_sub(sequence);
        if state.ssrc == ssrc && step == 0 {
            return Received::Duplicate;
        }
        if state.ssrc == ssrc && back <= MISORDER_MAX && state.after_late != Some(sequence) {
            state.after_late = Some(sequence.wrapping_add(1));
            return Received::Late;
        }
        self.received = self.received.saturating_add(1);
        if state.ssrc != ssrc || step >= DROPOUT_MAX {
            *state = first;
            return Received::Restarted;
        }
        if sequence < state.highest {
            state.cycles = state.cycles.wrapping_add(1);
        }
        state.highest = sequence;
        state.after_late = None;
        self.lost = self.lost.saturating_add(u32::from(step - 1));
        match step {
            1 => Received::InOrder,
            _ => Received::Lost(step - 1),
        }
    }

    /// Packets missing since the start.
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// What a receiver report tells, and begins the next interval (RFC 3550 section 6.4.1).
    pub fn report(&mut self) -> Reception {
        let received = self.received.wrapping_sub(self.reported.0);
        let lost = self.lost.wrapping_sub(self.reported.1);
        self.reported = (self.received, self.lost);
        let expected = u64::from(received) + u64::from(lost);
        let fraction = (u64::from(lost) * 256)
            .checked_div(expected)
            .unwrap_or_default();
        let (cycles, highest) = self.state.map_or((0, 0), |s| (s.cycles, s.highest));
        Reception {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: self.lost,
            highest: u32::from(cycles) << 16 | u32::from(highest),
        }
    }
}

/// How a track was received, for a receiver report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Of the packets since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets since the start.
    pub lost: u32,
    /// Highest sequence number, with the number of wraps above its 16 bits.
    pub highest: u32,
}

#[cfg(test)]
mod tests {
    use super::Received::{Duplicate, InOrder, Late, Lost, Restarted};
    use super::*;

    fn judge(sequences: &[(u32, u16)]) -> Vec<Received> {
        let mut tracker = SequenceTracker::default();
        sequences
            .iter()
            .map(|(ssrc, sequence)| tracker.receive(*ssrc, *sequence))
            .collect()
    }

    #[test]
    fn each_number_is_judged_by_the_one_before() {
        type Case<'a> = (&'a str, &'a [(u32, u16)], &'a [Received]);
        let cases: [Case<'_>; 9] = [
            ("in a row", &[(1, 0), (1, 1)], &[InOrder, InOrder]),
            ("wrap", &[(1, 65_535), (1, 0)], &[InOrder, InOrder]),
            ("loss", &[(1, 5), (1, 9)], &[InOrder, Lost(3)]),
            (
                "loss over a wrap",
                &[(1, 65_534), (1, 1)],
                &[InOrder, Lost(2)],
            ),
            (
                "Geovision",
                &[(1, 5), (1, 5), (1, 6)],
                &[InOrder, Duplicate, InOrder],
            ),
            (
                "late",
                &[(1, 5), (1, 7), (1, 6), (1, 8)],
                &[InOrder, Lost(1), Late, InOrder],
            ),
            (
                "set back",
                &[(1, 50), (1, 0), (1, 1), (1, 2)],
                &[InOrder, Late, Restarted, InOrder],
            ),
            (
                "far away",
                &[(1, 50), (1, 30_000), (1, 30_001)],
                &[InOrder, Restarted, InOrder],
            ),
            (
                "other source",
                &[(1, 50), (2, 51), (2, 52)],
                &[InOrder, Restarted, InOrder],
            ),
        ];
        for (name, sequences, expected) in cases {
            assert_eq!(judge(sequences), expected, "{name}");
        }
    }

    #[test]
    fn a_report_covers_what_came_since_the_last() {
        let mut tracker = SequenceTracker::default();
        assert_eq!(tracker.report(), Reception::default());
        for sequence in [65_534, 65_535, 2, 3] {
            tracker.receive(1, sequence);
        }
        let expected = Reception {
            fraction_lost: 85,
            lost: 2,
            highest: 0x1_0003,
        };
        assert_eq!(tracker.report(), expected);
        tracker.receive(1, 4);
        let expected = Reception {
            fraction_lost: 0,
            lost: 2,
            highest: 0x1_0004,
        };
        assert_eq!(tracker.report(), expected);
        assert_eq!(tracker.lost(), 2);
    }
}
