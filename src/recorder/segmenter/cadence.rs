//! How pictures follow each other: their distance, and that of sync samples.

use crate::recorder::builder::VideoSample;
use crate::time::{TIMESCALE, Ticks};

/// The cadence of the camera's pictures so far.
#[derive(Debug)]
pub(super) struct Cadence {
    /// Until the next sample tells: as long as the one before.
    pub(super) picture_length: Ticks,
    /// Longest distance of two sync samples.
    pub(super) gop: Ticks,
    last_dts: Option<Ticks>,
    last_sync: Option<Ticks>,
}

impl Cadence {
    /// Believes in 25 pictures a second and in a sync sample each second at least, before the
    /// camera has shown more.
    pub(super) const fn new() -> Self {
        Self {
            picture_length: Ticks(TIMESCALE as u64 / 25),
            gop: Ticks(TIMESCALE as u64),
            last_dts: None,
            last_sync: None,
        }
    }

    /// The next sample.
    pub(super) fn push(&mut self, sample: VideoSample) {
        if let Some(last) = self.last_dts
            && (1..=u64::from(TIMESCALE)).contains(&sample.dts.since(last).0)
        {
            self.picture_length = sample.dts - last;
        }
        if sample.sync {
            if let Some(last) = self.last_sync {
                self.gop = self.gop.max(sample.pts.since(last));
            }
            self.last_sync = Some(sample.pts);
        }
        self.last_dts = Some(sample.dts);
    }

    /// The distance from the last sample to the next tells nothing.
    pub(super) fn interrupt(&mut self) {
        (self.last_dts, self.last_sync) = (None, None);
    }

    /// All times so far were too late by `by`.
    pub(super) fn move_back(&mut self, by: Ticks) {
        for at in [&mut self.last_dts, &mut self.last_sync]
            .into_iter()
            .flatten()
        {
            *at = at.since(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(cadence: &mut Cadence, at: u64, sync: bool) {
        let at = Ticks(at);
        let (pts, dts, rtp) = (at, at, 0);
        cadence.push(VideoSample {
            pts,
            dts,
            rtp,
            sync,
        });
    }

    #[test]
    fn the_longest_gop_and_the_last_picture_count() {
        let mut cadence = Cadence::new();
        for (at, sync, picture_length, gop) in [
            (1_000_000, true, 3600, 90_000),
            (1_003_000, false, 3000, 90_000),
            (1_003_000, false, 3000, 90_000),
            (1_180_000, true, 3000, 180_000),
            (1_190_000, true, 10_000, 180_000),
        ] {
            push(&mut cadence, at, sync);
            let seen = (cadence.picture_length.0, cadence.gop.0);
            assert_eq!(seen, (picture_length, gop), "{at}");
        }
    }

    #[test]
    fn an_interruption_is_neither_picture_nor_gop() {
        let mut cadence = Cadence::new();
        push(&mut cadence, 1_000_000, true);
        cadence.interrupt();
        push(&mut cadence, 1_020_000, true);
        assert_eq!(cadence.picture_length, Ticks(3600));
        cadence.move_back(Ticks(500_000));
        push(&mut cadence, 640_000, true);
        assert_eq!(
            (cadence.picture_length, cadence.gop),
            (Ticks(3600), Ticks(120_000))
        );
    }
}
