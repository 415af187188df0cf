//! From the camera's RTP time to the gateway's timeline.
//!
//! Each track has a line: ticks of the timeline as a function of the track's media time (its RTP
//! time in 90 kHz, from an arbitrary zero). A line is straight pieces whose slopes are within
//! 1,000 ppm of 1. So neither bursts nor jitter of arrival reach the timeline: they only decide,
//! every 10 s, how the line goes on.
//!
//! The *delay* of a sample is its arrival minus its place. The smallest one of a block is that of
//! the fastest packet and tells how far the line is from the gateway's clock; it is steered
//! towards 0. The video's line follows the clock, the audio's follows the video's: by the camera's
//! sender reports, or else by keeping the difference of the smallest delays what it was.

use core::time::Duration;

use self::line::Line;
use self::track::Track;
use crate::media::TrackKind;
use crate::time::{Instant, TIMESCALE, Ticks};

mod line;
mod track;
mod unwrapper;

const SECOND: i64 = TIMESCALE as i64;
const MILLISECOND: i64 = SECOND / 1000;

/// Time between two decisions how to steer.
const BLOCK: Duration = Duration::from_secs(10);
const BLOCK_TICKS: i64 = 10 * SECOND;

/// Errors from which on a line is steered, down to `STEER_TO`. Otherwise it rests, so
/// that the steps of the timeline are exactly those of RTP time.
const STEER_FROM: i64 = 20 * MILLISECOND;
/// The same where arrival is all that is known of audio against video.
const STEER_FROM_BY_ARRIVAL: i64 = 100 * MILLISECOND;

/// No line begins farther ahead of the clock.
const ANCHOR_AHEAD_MAX: i64 = 10 * SECOND;
/// A line so far behind the clock cannot be steered back: the camera left out time.
const BEHIND_MAX: i64 = 10 * SECOND;
/// What a camera says about audio against video is not believed if arrival differs by more.
const HINT_MAX: i64 = 2 * SECOND;

/// Where a sample lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// At this moment. It may lie before `not_before` only for audio from before the first video.
    At(Ticks),
    /// RTP time has jumped. End the run, [`reanchor`](Timeline::reanchor), place it again.
    Jump,
    /// `not_before` lies too far ahead of the clock: drop the sample.
    Ahead,
}

/// The timeline of one RTSP session, for both tracks.
#[derive(Clone, Debug)]
pub struct Timeline {
    not_before: Ticks,
    video: Track,
    audio: Track,
    block_start: Instant,
    /// Difference of the tracks' smallest delays, audio's minus video's, when they are in sync.
    /// None: they are in sync now.
    sync_delay: Option<i64>,
}

impl Timeline {
    /// No sample will be anchored before `not_before`, the end of what is recorded. The clock
    /// rates are the SDP's; None for a track that is not there.
    pub fn new(not_before: Ticks, video_clock: Option<u32>, audio_clock: Option<u32>) -> Self {
        Self {
            not_before,
            video: Track::new(video_clock),
            audio: Track::new(audio_clock),
            block_start: Instant::START,
            sync_delay: None,
        }
    }

    /// Forgets the session so far: the next sample is anchored anew, at its arrival.
    pub fn reanchor(&mut self, not_before: Ticks) {
        *self = Self::new(not_before, Some(self.video.clock), Some(self.audio.clock));
    }

    /// RTP time of the track at the moment at which PLAY begins (RFC 2326 section 12.33).
    pub fn rtp_info(&mut self, track: TrackKind, rtptime: u32) {
        let track = self.track_mut(track);
        track.info = Some(track.media_of(rtptime));
    }

    /// A sender report: `ntp` in 1/2^32 s and `rtp` are the same moment. `ntp` 0 says nothing.
    pub fn sender_report(&mut self, track: TrackKind, ntp: u64, rtp: u32) {
        self.track_mut(track).sender_report(ntp, rtp);
    }

    /// Places the sample with RTP time `rtp` that arrived at `now`.
    pub fn place(&mut self, now: Instant, track: TrackKind, rtp: u32) -> Placed {
        let arrival = signed(now.ticks());
        let unwrapped = self.track(track).unwrapper.unwrap(rtp);
        let media = self.track(track).media(unwrapped);
        let line = match self.track(track).line {
            Some(line) => line,
            None => match self.anchor(now, track, media) {
                Some(at) => Line::new(media, at),
                None => return Placed::Ahead,
            },
        };
        let at = line.at(media);
        let this = self.track_mut(track);
        this.line = Some(line);
        if this.has_jumped(media, arrival, at) {
            return Placed::Jump;
        }
        this.take_in(unwrapped, media, arrival);
        if now.since(self.block_start) >= BLOCK {
            self.block_start = now;
            if self.steer().is_err() {
                return Placed::Jump;
            }
        }
        Placed::At(Ticks(u64::try_from(at).unwrap_or(0)))
    }

    /// Moves the whole session back to the smallest delay seen, by at most `at_most`, and returns
    /// by how much. What was placed moves with it: for as long as nobody was told.
    ///
    /// The first sample often comes late, or is the oldest of a burst.
    pub fn settle(&mut self, at_most: Ticks) -> Ticks {
        let leader = if self.video.line.is_some() {
            &self.video
        } else {
            &self.audio
        };
        let ahead = leader
            .delay()
            .map_or(0, |delay| delay.saturating_neg().max(0));
        let by = ahead.min(signed(at_most));
        for line in [&mut self.video.line, &mut self.audio.line]
            .into_iter()
            .flatten()
        {
            line.move_back(by);
        }
        Ticks(by.unsigned_abs())
    }

    /// Where on the timeline a track's first sample lies. None: too far ahead.
    fn anchor(&mut self, now: Instant, kind: TrackKind, media: i64) -> Option<i64> {
        let arrival = signed(now.ticks());
        let (this, other) = match kind {
            TrackKind::Video => (&self.video, &self.audio),
            TrackKind::Audio => (&self.audio, &self.video),
        };
        let Some(line) = other.line else {
            self.block_start = now;
            let at = arrival.max(signed(self.not_before));
            return (at - arrival <= ANCHOR_AHEAD_MAX).then_some(at);
        };
        let by_arrival = arrival - other.delay().unwrap_or(0);
        let believable = |at: &i64| at.abs_diff(by_arrival) <= HINT_MAX.unsigned_abs();
        let by_report = this.moment_in(other, media).map(|moment| line.at(moment));
        let by_info = this.info.zip(other.info);
        let by_info = by_info.map(|(here, there)| line.at(there.saturating_add(media - here)));
        let hint = by_report.filter(believable).or(by_info.filter(believable));
        self.sync_delay = hint.is_none().then_some(0);
        Some(hint.unwrap_or(by_arrival))
    }

    /// Decides on the slopes for the next block.
    fn steer(&mut self) -> Result<(), OutOfReach> {
        let (leader, follower) = match self.video.line {
            Some(_) => (&mut self.video, &mut self.audio),
            None => (&mut self.audio, &mut self.video),
        };
        let delay = leader.end_block();
        if let Some(delay) = delay {
            if delay > BEHIND_MAX {
                return Err(OutOfReach);
            }
            leader.bend(delay, STEER_FROM, 0);
        }
        let between = follower.end_block().zip(delay).map(|(f, l)| f - l);
        let by_report = follower.error_against(leader);
        let (error, steer_from) = match (by_report, between, self.sync_delay) {
            (Some(error), ..) => (error, STEER_FROM),
            (None, Some(between), Some(sync)) => (between - sync, STEER_FROM_BY_ARRIVAL),
            _ => (0, STEER_FROM),
        };
        if error.abs() > BEHIND_MAX {
            return Err(OutOfReach);
        }
        if let Some(between) = between {
            self.sync_delay = Some(between - error);
        }
        follower.bend(error, steer_from, leader.ppm());
        Ok(())
    }

    const fn track(&self, kind: TrackKind) -> &Track {
        match kind {
            TrackKind::Video => &self.video,
            TrackKind::Audio => &self.audio,
        }
    }

    const fn track_mut(&mut self, kind: TrackKind) -> &mut Track {
        match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        }
    }
}

/// An error that steering cannot take back.
struct OutOfReach;

fn signed(ticks: Ticks) -> i64 {
    i64::try_from(ticks.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::line::MILLION;
    use super::track::{AHEAD_MAX, STEER_MAX};
    use super::*;
    use TrackKind::{Audio, Video};

    #[test]
    fn a_session_settles_on_the_smallest_delay_of_its_beginning() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(48_000));
        // A burst of 2 s at 10 s, then one picture every 40 ms.
        for i in 0..50 {
            timeline.place(Instant::from_millis(10_000), Video, i * 3600);
        }
        timeline.place(Instant::from_millis(10_000), Audio, 1_000);
        let Placed::At(before) = timeline.place(Instant::from_millis(10_000), Audio, 1_000) else {
            panic!("no place");
        };
        assert_eq!(
            timeline.settle(Ticks(90_000)),
            Ticks(90_000),
            "no more than allowed"
        );
        assert_eq!(timeline.settle(Ticks(900_000)), Ticks(49 * 3600 - 90_000));
        assert_eq!(timeline.settle(Ticks(900_000)), Ticks(0));
        let now = Instant::from_millis(10_040);
        assert_eq!(
            timeline.place(now, Video, 50 * 3600),
            Placed::At(now.ticks())
        );
        let after = timeline.place(now, Audio, 1_000);
        assert_eq!(after, Placed::At(before - Ticks(49 * 3600)));
    }

    const FPS: u64 = 25;

    /// A camera on its own clock, seen through a network.
    struct Camera {
        /// How much faster its clock is.
        ppm: i64,
        /// Video RTP time at which it begins.
        start: u32,
        seed: u64,
    }

    impl Camera {
        fn new(ppm: i64) -> Self {
            Self {
                ppm,
                start: 12_345,
                seed: 1,
            }
        }

        /// RTP time of the picture taken at `micros` of the gateway's clock.
        fn rtp(&self, micros: u64, clock: u64) -> u32 {
            let own = i128::from(micros) * i128::from(MILLION + self.ppm) / i128::from(MILLION);
            let ticks = own * i128::from(clock) / 1_000_000;
            let modulo = u32::try_from(ticks & 0xffff_ffff).unwrap();
            self.start.wrapping_add(modulo)
        }

        /// Microseconds below `max`, another each time (xorshift).
        fn jitter(&mut self, max: u64) -> u64 {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            if max == 0 { 0 } else { self.seed % max }
        }
    }

    fn at(placed: Placed) -> i64 {
        match placed {
            Placed::At(ticks) => signed(ticks),
            other => panic!("{other:?}"),
        }
    }

    /// Checks each step against RTP time.
    #[derive(Default)]
    struct Steps {
        last: Option<(u32, i64)>,
        exact: u32,
        all: u32,
    }

    impl Steps {
        fn check(&mut self, rtp: u32, clock: i64, at: i64) {
            if let Some((last_rtp, last_at)) = self.last.replace((rtp, at)) {
                let due = i64::from(rtp.wrapping_sub(last_rtp).cast_signed()) * SECOND / clock;
                let off = (at - last_at - due).abs();
                let allowed = due.abs() * STEER_MAX / MILLION + 2;
                assert!(off <= allowed, "step {} for {due}", at - last_at);
                assert_eq!((at - last_at).signum(), due.signum());
                self.all += 1;
                self.exact += u32::from(off == 0);
            }
        }
    }

    /// Runs pictures and returns how far the timeline was from the moment at which each was
    /// taken, in ticks, over the second half, and the share of exact steps in percent.
    fn run(mut camera: Camera, hours: u64, jitter_micros: u64) -> (i64, i64, u32) {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        let mut steps = Steps::default();
        let pictures = hours * 3600 * FPS;
        let mut arrived = 0;
        for i in 0..pictures {
            let taken = 1_000_000 + i * 1_000_000 / FPS;
            arrived = (taken + camera.jitter(jitter_micros)).max(arrived);
            let rtp = camera.rtp(taken, 90_000);
            let at = at(timeline.place(Instant::from_micros(arrived), Video, rtp));
            steps.check(rtp, SECOND, at);
            if i > pictures / 2 {
                let off = at - signed(Instant::from_micros(taken).ticks());
                (low, high) = (low.min(off), high.max(off));
            }
        }
        (low, high, steps.exact * 100 / steps.all)
    }

    #[test]
    fn a_camera_without_drift_has_only_exact_steps() {
        let (low, high, exact) = run(Camera::new(0), 2, 0);
        assert_eq!((low, high, exact), (0, 0, 100));
        let (low, high, exact) = run(Camera::new(0), 2, 15_000);
        assert!(low >= 0 && high <= 15 * MILLISECOND && exact == 100);
    }

    #[test]
    fn drift_is_steered_away_and_jitter_left_out() {
        for ppm in [-1000, -200, -50, 50, 200, 1000] {
            for jitter in [0, 30_000, 500_000] {
                let (low, high, exact) = run(Camera::new(ppm), 6, jitter);
                // At the limit the last of 1,001 ppm, as the camera sees it, is not made up for.
                let left = if ppm == -STEER_MAX { 22 } else { 0 };
                let bound = STEER_FROM + (25 + left) * MILLISECOND;
                let late = i64::try_from(jitter * 9 / 100).unwrap();
                let case = format!("{ppm} ppm, {jitter} us: {low} to {high}, {exact} % exact");
                assert!(low >= -bound && high <= bound + late, "{case}");
                assert!(ppm.abs() > 200 || jitter > 30_000 || exact >= 70, "{case}");
            }
        }
    }

    #[test]
    fn rtp_time_wraps_without_a_trace() {
        let mut camera = Camera::new(0);
        camera.start = u32::MAX - 90_000 * 60;
        assert_eq!(run(camera, 1, 0), (0, 0, 100));
    }

    #[test]
    fn a_gop_sent_at_once_on_connecting_is_spread_and_taken_back() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let mut steps = Steps::default();
        let connected = 10_000_000;
        let mut last = 0;
        for i in 0..3600 * FPS {
            let taken = connected - 2_000_000 + i * 1_000_000 / FPS;
            let rtp = Camera::new(0).rtp(taken, 90_000);
            let now = Instant::from_micros(taken.max(connected));
            let at = at(timeline.place(now, Video, rtp));
            steps.check(rtp, SECOND, at);
            last = at - signed(Instant::from_micros(taken).ticks());
        }
        assert!(last.abs() <= STEER_FROM, "{last}");
    }

    #[test]
    fn pictures_out_of_order_keep_their_distances() {
        let camera = Camera::new(400);
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let mut placed = Vec::new();
        for gop in 0..2000 {
            for (sent, i) in (0..).zip([3, 1, 2, 6, 4, 5]) {
                let taken = 1_000_000 + (gop * 6 + i) * 40_000;
                let now = Instant::from_micros(1_120_000 + (gop * 6 + sent) * 40_000);
                let rtp = camera.rtp(taken, 90_000);
                placed.push((rtp, at(timeline.place(now, Video, rtp))));
            }
        }
        placed.sort_unstable();
        let mut steps = Steps::default();
        for (rtp, at) in placed {
            steps.check(rtp, SECOND, at);
        }
        assert!(steps.exact < steps.all, "it was steered");
    }

    #[test]
    fn a_jump_of_rtp_time_is_told_and_anchored_anew() {
        let second = Instant::from_millis(1000);
        for (jump, expected) in [
            (5 * 90_000, true),
            (-2 * 90_000, true),
            (i32::MAX, true),
            (i32::MIN, true),
            (-45_000, false),
            (90_000, false),
        ] {
            let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
            assert_eq!(timeline.place(second, Video, 7), Placed::At(second.ticks()));
            let rtp = 7_u32.wrapping_add_signed(jump);
            let now = Instant::from_millis(1040);
            let placed = timeline.place(now, Video, rtp);
            assert_eq!(placed == Placed::Jump, expected, "{jump}");
            if expected {
                assert_eq!(timeline.place(now, Video, rtp), Placed::Jump);
                timeline.reanchor(Ticks(100_000));
                let again = timeline.place(now, Video, rtp);
                assert_eq!(again, Placed::At(Ticks(100_000)));
            }
        }
    }

    #[test]
    fn a_stalled_line_that_catches_up_is_no_jump() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let mut steps = Steps::default();
        // The camera drops six seconds of what it could not send.
        for i in (0..600).chain(750..100 * FPS) {
            let taken = 1_000_000 + i * 40_000;
            let stalled = (20_000_000..45_000_000).contains(&taken);
            let arrived = if stalled { 45_000_000 + i * 100 } else { taken };
            let rtp = Camera::new(0).rtp(taken, 90_000);
            let at = at(timeline.place(Instant::from_micros(arrived), Video, rtp));
            steps.check(rtp, SECOND, at);
            assert_eq!(at, signed(Instant::from_micros(taken).ticks()));
        }
    }

    #[test]
    fn a_camera_that_leaves_out_time_is_anchored_anew() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let mut jumped_at = None;
        for i in 0..60 * FPS {
            let taken = i * 40_000;
            let pause = if taken >= 10_000_000 { 15_000_000 } else { 0 };
            let now = Instant::from_micros(taken + pause);
            let rtp = Camera::new(0).rtp(taken, 90_000);
            if timeline.place(now, Video, rtp) == Placed::Jump {
                jumped_at.get_or_insert(taken / 1_000_000);
                timeline.reanchor(Ticks(0));
                assert_eq!(timeline.place(now, Video, rtp), Placed::At(now.ticks()));
            }
        }
        assert_eq!(jumped_at, Some(20));
    }

    #[test]
    fn a_clock_of_double_speed_never_runs_away() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), None);
        let (mut end, mut dropped, mut jumps) = (Ticks(0), 0, 0);
        for i in 0..600 * FPS {
            let now = Instant::from_micros(i * 40_000);
            let rtp = u32::try_from(i * 7200).unwrap();
            let mut placed = timeline.place(now, Video, rtp);
            if placed == Placed::Jump {
                jumps += 1;
                timeline.reanchor(end);
                placed = timeline.place(now, Video, rtp);
            }
            match placed {
                Placed::At(at) => {
                    assert!(at >= end && signed(at) - signed(now.ticks()) <= AHEAD_MAX);
                    end = at + Ticks(7000);
                }
                Placed::Ahead => dropped += 1,
                Placed::Jump => panic!("a jump right after an anchor"),
            }
        }
        assert!(jumps > 2 && dropped > 1000, "{jumps} {dropped}");
    }

    /// How audio is told apart from video.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Hint {
        None,
        RtpInfo,
        Reports,
        WrongReports,
    }

    const NTP_SECOND: u64 = 1 << 32;

    /// Video that arrives 300 ms after it was taken, audio at once, from a crystal of its own.
    /// Returns the lip-sync error in ticks, at the start and at the end of half an hour.
    fn lip_sync(hint: Hint, audio_ppm: i64) -> (i64, i64) {
        let (video, audio) = (Camera::new(100), Camera::new(audio_ppm));
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(48_000));
        if hint == Hint::RtpInfo {
            timeline.rtp_info(Video, video.rtp(0, 90_000));
            timeline.rtp_info(Audio, audio.rtp(0, 48_000));
        }
        let report = |timeline: &mut Timeline, taken: u64| {
            let base = 3_900_000_000 * NTP_SECOND;
            let ntp = base + taken * NTP_SECOND / 1_000_000;
            let wrong = if hint == Hint::WrongReports {
                3600 * NTP_SECOND
            } else {
                0
            };
            timeline.sender_report(Video, ntp, video.rtp(taken, 90_000));
            timeline.sender_report(Audio, ntp + wrong, audio.rtp(taken, 48_000));
        };
        let (mut video_steps, mut audio_steps) = (Steps::default(), Steps::default());
        let mut errors = Vec::new();
        let mut video_off = 0;
        for i in 0..1800 * FPS {
            let now = 1_000_000 + i * 40_000;
            if i % (5 * FPS) == 0 && matches!(hint, Hint::Reports | Hint::WrongReports) {
                report(&mut timeline, now);
            }
            for (track, taken) in [(Video, now - 300_000), (Audio, now)] {
                let (camera, clock, steps) = match track {
                    Video => (&video, 90_000, &mut video_steps),
                    Audio => (&audio, 48_000, &mut audio_steps),
                };
                let rtp = camera.rtp(taken, clock);
                let at = at(timeline.place(Instant::from_micros(now), track, rtp));
                steps.check(rtp, i64::try_from(clock).unwrap(), at);
                let off = at - signed(Instant::from_micros(taken).ticks());
                match track {
                    Video => video_off = off,
                    Audio => errors.push(off - video_off),
                }
            }
        }
        (errors[0], *errors.last().unwrap())
    }

    #[test]
    fn audio_follows_video_by_what_is_known() {
        for (audio_ppm, share) in [(100, 50), (0, 1), (200, 1), (-300, 1)] {
            let late = -300 * MILLISECOND;
            for (hint, expected, bound) in [
                (Hint::Reports, 0, 30 * MILLISECOND),
                (Hint::RtpInfo, 0, 150 * MILLISECOND),
                (Hint::None, late, 150 * MILLISECOND),
                (Hint::WrongReports, late, 150 * MILLISECOND),
            ] {
                let (start, end) = lip_sync(hint, audio_ppm);
                assert!(
                    (start - expected).abs() <= MILLISECOND,
                    "{hint:?} {audio_ppm}: {start}"
                );
                assert!(
                    (end - expected).abs() <= bound / share,
                    "{hint:?} {audio_ppm}: {end}"
                );
            }
        }
    }

    #[test]
    fn reports_that_come_late_pull_audio_in_place() {
        let camera = Camera::new(0);
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(8000));
        let mut errors = Vec::new();
        let mut steps = Steps::default();
        for i in 0..1200 * FPS {
            let now = 1_000_000 + i * 40_000;
            if i % (5 * FPS) == 50 {
                let ntp = NTP_SECOND * 1000 + now * NTP_SECOND / 1_000_000;
                timeline.sender_report(Video, ntp, camera.rtp(now, 90_000));
                timeline.sender_report(Audio, ntp, camera.rtp(now, 8000));
            }
            let video = camera.rtp(now - 400_000, 90_000);
            let video = at(timeline.place(Instant::from_micros(now), Video, video));
            let rtp = camera.rtp(now, 8000);
            let audio = at(timeline.place(Instant::from_micros(now), Audio, rtp));
            steps.check(rtp, 8000, audio);
            errors.push(audio - video - 400 * MILLISECOND);
        }
        assert_eq!(errors[0], -400 * MILLISECOND);
        assert!(errors.last().unwrap().abs() <= STEER_FROM);
    }

    #[test]
    fn audio_first_and_audio_alone_are_anchored_at_arrival() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(16_000));
        let place = |timeline: &mut Timeline, ms, track, rtp| {
            timeline.place(Instant::from_millis(ms), track, rtp)
        };
        assert_eq!(place(&mut timeline, 100, Audio, 5), Placed::At(Ticks(9000)));
        assert_eq!(
            place(&mut timeline, 164, Audio, 1029),
            Placed::At(Ticks(14_760))
        );
        assert_eq!(
            place(&mut timeline, 200, Video, 77),
            Placed::At(Ticks(18_000))
        );
        assert_eq!(
            place(&mut timeline, 240, Video, 3677),
            Placed::At(Ticks(21_600))
        );
    }

    #[test]
    fn nothing_is_anchored_before_what_is_recorded() {
        let mut timeline = Timeline::new(Ticks(90_000), Some(90_000), None);
        let placed = timeline.place(Instant::START, Video, 0);
        assert_eq!(placed, Placed::At(Ticks(90_000)));
        timeline.reanchor(Ticks(11 * 90_000));
        assert_eq!(timeline.place(Instant::START, Video, 0), Placed::Ahead);
        let later = Instant::from_millis(1000);
        assert_eq!(timeline.place(later, Video, 0), Placed::At(Ticks(990_000)));
    }

    #[test]
    fn noise_never_panics_and_never_runs_away() {
        for (seed, clock) in (1..300).zip([1, 8000, 44_100, 90_000, u32::MAX].into_iter().cycle()) {
            let mut random = Camera::new(0);
            random.seed = seed;
            let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(clock));
            let mut now = Instant::START;
            for _ in 0..1000 {
                now = now + Duration::from_micros(random.jitter(3_000_000));
                let track = if random.jitter(2) == 0 { Video } else { Audio };
                let rtp = u32::try_from(random.jitter(1 << 32)).unwrap();
                match random.jitter(10) {
                    0 => timeline.sender_report(track, random.jitter(u64::MAX), rtp),
                    1 => timeline.rtp_info(track, rtp),
                    _ => {
                        let rtp = if random.jitter(2) == 0 {
                            rtp
                        } else {
                            rtp % 90_000
                        };
                        match timeline.place(now, track, rtp) {
                            Placed::At(at) => {
                                let ahead = signed(at) - signed(now.ticks());
                                assert!(ahead <= AHEAD_MAX + HINT_MAX, "seed {seed}: {ahead}");
                            }
                            Placed::Jump | Placed::Ahead => timeline.reanchor(now.ticks()),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn audio_that_begins_between_two_blocks_is_placed_beside_the_video() {
        let mut timeline = Timeline::new(Ticks(0), Some(90_000), Some(48_000));
        for second in 0..=12 {
            // The first two seconds come at once.
            let now = Instant::from_millis(u64::from(second.max(2)) * 1000);
            let placed = timeline.place(now, Video, second * 90_000);
            let due = u64::from(second + 2) * 90_000;
            assert_eq!(placed, Placed::At(Ticks(due)));
        }
        let now = Instant::from_millis(12_000);
        let placed = timeline.place(now, Audio, 0);
        assert_eq!(placed, Placed::At(Ticks(14 * 90_000)));
    }
}
