//! The samples of one track in a fragment (ISO/IEC 14496-12 section 8.8.8, `trun`).

use crate::limits::FRAGMENT_SAMPLES_MAX;
use crate::media::Sample;
use crate::time::Ticks;

/// Samples one after the other, and the decoding times of the first and the last.
#[derive(Debug, Default)]
pub(super) struct Run {
    samples: heapless::Vec<Sample, FRAGMENT_SAMPLES_MAX>,
    first: Ticks,
    last: Ticks,
}

impl Run {
    /// The samples in decoding order.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Decoding time of the first sample.
    pub(super) fn first(&self) -> Ticks {
        self.first
    }

    /// No sample yet.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// No room for another sample.
    pub(super) fn is_full(&self) -> bool {
        self.samples.is_full()
    }

    /// A sample begins at `at`, where the last one ends. The caller has asked for room.
    pub(super) fn push(&mut self, at: Ticks, sample: Sample) {
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

    /// The next sample begins at `at`: so long was the last.
    pub(super) fn end_last(&mut self, at: Ticks) {
        if let Some(last) = self.samples.last_mut() {
            last.duration = u32_of(at.since(self.last).0);
        }
    }

    /// The same where samples may be missing between: only if the last one was about that long.
    pub(super) fn end_last_if_next(&mut self, at: Ticks) {
        let distance = at.since(self.last).0;
        let last = self.samples.last().map(|last| u64::from(last.duration));
        if last.is_some_and(|last| (1..last * 3 / 2).contains(&distance)) {
            self.end_last(at);
        }
    }

    /// Decoding time at which the last sample ends.
    pub(super) fn end(&self) -> Option<Ticks> {
        let last = self.samples.last()?;
        Some(self.last + Ticks(last.duration.into()))
    }

    /// Presentation time of the first sample, and the end of it.
    pub(super) fn first_shown(&self) -> Option<(Ticks, Ticks)> {
        let sample = self.samples.first()?;
        let offset = sample.composition_offset.into();
        let pts = Ticks(self.first.0.saturating_add_signed(offset));
        Some((pts, pts + Ticks(sample.duration.into())))
    }

    /// How many samples begin before `at`, and their bytes; with `followed`, only those that
    /// another follows.
    pub(super) fn before(&self, at: Ticks, followed: bool) -> (usize, usize) {
        let (mut time, mut count, mut bytes) = (self.first, 0, 0);
        for sample in self.samples.iter().take_while(|sample| {
            let before = time < at;
            time = time + Ticks(sample.duration.into());
            before
        }) {
            count += 1;
            bytes += sample.size as usize;
        }
        match self.samples.last() {
            Some(last) if followed && count == self.samples.len() => {
                (count - 1, bytes - last.size as usize)
            }
            _ => (count, bytes),
        }
    }

    /// Cuts behind the first `stay` samples.
    pub(super) fn split_off(&mut self, stay: usize) -> Self {
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

    /// All times so far were too late by `by`.
    pub(super) fn move_back(&mut self, by: Ticks) {
        (self.first, self.last) = (self.first.since(by), self.last.since(by));
    }
}

/// Sizes and durations of one fragment are far below 2^32; a longer one is a hole, told elsewhere.
pub(super) fn u32_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples that begin at `times`, of 10, 11, ... bytes; the last is said to last 100.
    fn run(times: &[u64]) -> Run {
        let mut run = Run::default();
        for (size, at) in (10..).zip(times) {
            let sample = Sample {
                size,
                duration: 100,
                ..Sample::default()
            };
            run.push(Ticks(*at), sample);
        }
        run
    }

    fn durations(run: &Run) -> Vec<u32> {
        run.samples().iter().map(|sample| sample.duration).collect()
    }

    #[test]
    fn each_sample_ends_where_the_next_begins() {
        let mut run = run(&[1000, 1090, 1200]);
        assert_eq!(durations(&run), [90, 110, 100]);
        assert_eq!((run.first(), run.end()), (Ticks(1000), Some(Ticks(1300))));
        run.end_last(Ticks(1350));
        assert_eq!(run.end(), Some(Ticks(1350)));
    }

    #[test]
    fn the_last_sample_does_not_fill_a_hole() {
        for (next, end) in [(1149, 1149), (1150, 1100), (1000, 1100), (999, 1100)] {
            let mut run = run(&[1000]);
            run.end_last_if_next(Ticks(next));
            assert_eq!(run.end(), Some(Ticks(end)), "{next}");
        }
    }

    #[test]
    fn samples_before_a_time_are_counted() {
        let run = run(&[1000, 1100, 1200]);
        for (at, all, followed) in [
            (1000, (0, 0), (0, 0)),
            (1001, (1, 10), (1, 10)),
            (1200, (2, 21), (2, 21)),
            (1201, (3, 33), (2, 21)),
        ] {
            assert_eq!(run.before(Ticks(at), false), all, "{at}");
            assert_eq!(run.before(Ticks(at), true), followed, "{at}");
        }
        assert_eq!(Run::default().before(Ticks(1), true), (0, 0));
    }

    #[test]
    fn both_parts_of_a_split_run_go_on_where_they_end() {
        for (stay, ends, starts) in [
            (0, None, 1000),
            (1, Some(1090), 1090),
            (2, Some(1200), 1200),
        ] {
            let mut kept = run(&[1000, 1090, 1200]);
            let mut later = kept.split_off(stay);
            assert_eq!((kept.samples().len(), kept.end()), (stay, ends.map(Ticks)));
            assert_eq!(
                (later.first(), later.samples().len()),
                (Ticks(starts), 3 - stay)
            );
            later.push(Ticks(1310), Sample::default());
            assert_eq!(durations(&later)[2 - stay], 110);
        }
        let mut kept = run(&[1000, 1090]);
        assert!(kept.split_off(2).is_empty());
        assert_eq!(kept.end(), Some(Ticks(1190)));
    }

    #[test]
    fn a_sample_is_shown_at_its_composition_time() {
        let mut run = Run::default();
        assert_eq!(run.first_shown(), None);
        let sample = Sample {
            duration: 40,
            composition_offset: -30,
            ..Sample::default()
        };
        run.push(Ticks(1000), sample);
        assert_eq!(run.first_shown(), Some((Ticks(970), Ticks(1010))));
        run.move_back(Ticks(70));
        assert_eq!(run.first_shown(), Some((Ticks(900), Ticks(940))));
    }
}
