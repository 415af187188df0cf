//! One track: what is known of its times, and its line.

use super::line::{Line, MILLION};
use super::unwrapper::Unwrapper;
use super::{BLOCK_TICKS, HINT_MAX, MILLISECOND, SECOND};
use crate::time::TIMESCALE;

/// Steering never changes the rate by more, in parts per million.
pub(super) const STEER_MAX: i64 = 1000;
/// A line is steered until the error is down to this.
const STEER_TO: i64 = 5 * MILLISECOND;

/// RTP time that goes on by so much more than the clock, and ahead of it, is a jump.
const FORWARD_MAX: i64 = 3 * SECOND;
/// RTP time that goes back by more is a jump: no camera reorders pictures over more.
pub(super) const BACKWARD_MAX: i64 = SECOND;
/// A line so far ahead of the clock cannot be steered back: the camera's rate is wrong.
pub(super) const AHEAD_MAX: i64 = 30 * SECOND;

/// A sender report is used for so long.
const REPORT_AGE_MAX: i64 = 60 * SECOND;

/// One track of the session.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// RTP ticks a second.
    pub(super) clock: u32,
    pub(super) unwrapper: Unwrapper,
    /// None until the first sample is placed.
    pub(super) line: Option<Line>,
    /// Largest media time placed, and arrival of the last sample.
    newest: Option<(i64, i64)>,
    /// Smallest arrival minus media time, in this block and in the one before.
    lead: Option<i64>,
    lead_before: Option<i64>,
    /// An error is being taken back.
    steering: bool,
    /// Media time at which PLAY begins.
    pub(super) info: Option<i64>,
    /// The last sender report.
    report: Option<Report>,
}

/// The same moment on the camera's clock and in media time.
#[derive(Clone, Copy, Debug)]
struct Report {
    ntp: u64,
    media: i64,
}

impl Track {
    /// Without a clock rate the track is not there.
    pub(super) fn new(clock: Option<u32>) -> Self {
        Self {
            clock: clock.unwrap_or(TIMESCALE).max(1),
            unwrapper: Unwrapper::default(),
            line: None,
            newest: None,
            lead: None,
            lead_before: None,
            steering: false,
            info: None,
            report: None,
        }
    }

    /// Media time of an RTP time.
    pub(super) fn media(&self, unwrapped: i64) -> i64 {
        unwrapped
            .saturating_mul(SECOND)
            .div_euclid(i64::from(self.clock))
    }

    /// The same moment on the camera's clock, `ntp` in 1/2^32 s, and at RTP time `rtp`. `ntp` 0
    /// says nothing.
    pub(super) fn sender_report(&mut self, ntp: u64, rtp: u32) {
        let media = self.media_of(rtp);
        self.report = (ntp != 0).then_some(Report { ntp, media });
    }

    /// Media time of an RTP time told beside the packets.
    pub(super) fn media_of(&mut self, rtp: u32) -> i64 {
        let unwrapped = self.unwrapper.unwrap(rtp);
        if self.newest.is_none() {
            self.unwrapper.advance(unwrapped);
        }
        self.media(unwrapped)
    }

    /// Whether RTP time has jumped to `media`, which lies at `at`.
    pub(super) fn has_jumped(&self, media: i64, arrival: i64, at: i64) -> bool {
        let ahead = at - arrival;
        let Some((newest, last_arrival)) = self.newest else {
            return false;
        };
        let step = media.saturating_sub(newest);
        step < -BACKWARD_MAX
            || step - (arrival - last_arrival) > FORWARD_MAX && ahead > FORWARD_MAX
            || ahead > AHEAD_MAX
    }

    /// A sample was placed.
    pub(super) fn take_in(&mut self, unwrapped: i64, media: i64, arrival: i64) {
        self.unwrapper.advance(unwrapped);
        let newest = self.newest.map_or(media, |(newest, _)| newest.max(media));
        self.newest = Some((newest, arrival));
        let lead = arrival.saturating_sub(media);
        self.lead = Some(self.lead.map_or(lead, |smallest| smallest.min(lead)));
    }

    /// The smallest delay of late, with the line as it is now.
    pub(super) fn delay(&self) -> Option<i64> {
        let lead = match (self.lead, self.lead_before) {
            (Some(now), Some(before)) => now.min(before),
            (now, before) => now.or(before)?,
        };
        self.delay_of(lead)
    }

    fn delay_of(&self, lead: i64) -> Option<i64> {
        let (newest, _) = self.newest?;
        Some(lead.saturating_add(newest) - self.line?.at(newest))
    }

    /// The smallest delay of the block that ends.
    pub(super) fn end_block(&mut self) -> Option<i64> {
        let lead = self.lead.take();
        self.lead_before = lead.or(self.lead_before);
        self.delay_of(lead?)
    }

    /// Media time of `other` at this track's media time `media`, by both tracks' sender reports.
    pub(super) fn moment_in(&self, other: &Self, media: i64) -> Option<i64> {
        let (here, there) = (self.report?, other.report?);
        let age = media.saturating_sub(here.media);
        let between = i128::from(here.ntp.wrapping_sub(there.ntp).cast_signed());
        let between = i64::try_from((between * i128::from(TIMESCALE)) >> 32).ok()?;
        let since = between.saturating_add(age);
        let fresh = age.abs() <= REPORT_AGE_MAX && since.abs() <= REPORT_AGE_MAX;
        fresh.then(|| there.media.saturating_add(since))
    }

    /// How much higher this line should lie, by the sender reports.
    pub(super) fn error_against(&self, leader: &Self) -> Option<i64> {
        let (newest, _) = self.newest?;
        let moment = self.moment_in(leader, newest)?;
        let error = leader.line?.at(moment) - self.line?.at(newest);
        (error.abs() <= HINT_MAX).then_some(error)
    }

    /// Goes on with the slope that takes `error` back within a block, beside `ppm`.
    pub(super) fn bend(&mut self, error: i64, steer_from: i64, ppm: i64) {
        let bound = if self.steering { STEER_TO } else { steer_from };
        self.steering = error.abs() > bound;
        let own = if self.steering {
            error * MILLION / BLOCK_TICKS
        } else {
            0
        };
        if let (Some(line), Some((newest, _))) = (&mut self.line, self.newest) {
            line.bend(newest, (ppm + own).clamp(-STEER_MAX, STEER_MAX));
        }
    }

    /// How much faster than media time its line goes now, in parts per million.
    pub(super) fn ppm(&self) -> i64 {
        self.line.map_or(0, |line| line.ppm())
    }
}
