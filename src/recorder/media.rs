//! The media of one RTSP session: its tracks' packets, and how they lie on one timeline.

use core::time::Duration;

use super::Event;
use super::audio::Audio;
use super::channels::Channels;
use super::pool::Pool;
use super::segmenter::Segmenter;
use super::video::Video;
use crate::media::TrackKind;
use crate::rtp::rtcp::{self, Report};
use crate::rtp::timeline::Timeline;
use crate::rtsp::{PlayingTrack, TrackCodec};
use crate::time::{Instant, Ticks};

/// What came of one interleaved packet.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Packets missing before it.
    pub lost: u16,
    /// A sample was recorded.
    pub recorded: bool,
    /// For log and state.
    pub event: Option<Event>,
}

/// The tracks of a playing session.
#[derive(Debug)]
pub struct Media {
    timeline: Timeline,
    video: Option<Video>,
    audio: Option<Audio>,
    /// When receiver reports were sent last.
    reported: Instant,
    /// When media came last.
    heard: Instant,
}

/// Where the samples of both tracks go, and what came of it.
pub(super) struct Sink<'a> {
    pub(super) now: Instant,
    pub(super) timeline: &'a mut Timeline,
    pub(super) segmenter: &'a mut Segmenter,
    pub(super) pool: &'a mut Pool,
    pub(super) outcome: Outcome,
}

/// Cameras that time out a session without receiver reports want one at least so often.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A playing camera that sends nothing for so long is reconnected. Only video counts, where
/// there is video: it may stall while sound goes on.
const SILENCE: Duration = Duration::from_secs(10);

impl Media {
    /// The tracks that play from now on. No sample is placed before `not_before`.
    pub fn new(now: Instant, tracks: &[PlayingTrack], not_before: Ticks) -> Self {
        let clock = |kind| {
            let mut tracks = tracks.iter();
            let track = tracks.find(|track| track.kind == kind);
            track.map(|track| track.clock_rate)
        };
        let mut media = Self {
            timeline: Timeline::new(not_before, clock(TrackKind::Video), clock(TrackKind::Audio)),
            video: None,
            audio: None,
            reported: now,
            heard: now,
        };
        for track in tracks {
            if let Some(rtptime) = track.rtp_info.rtptime {
                media.timeline.rtp_info(track.kind, rtptime);
            }
            match track.codec {
                TrackCodec::H264 { .. } => media.video = Video::new(track),
                TrackCodec::Aac { .. } => media.audio = Audio::new(track),
                TrackCodec::Unsupported { .. } => {}
            }
        }
        media
    }

    /// Takes one interleaved packet in.
    pub fn packet(
        &mut self,
        now: Instant,
        channel: u8,
        data: &[u8],
        segmenter: &mut Segmenter,
        pool: &mut Pool,
    ) -> Outcome {
        let mut sink = Sink {
            now,
            timeline: &mut self.timeline,
            segmenter,
            pool,
            outcome: Outcome::default(),
        };
        let heard = match (&mut self.video, &mut self.audio) {
            (Some(video), _) if video.channels.rtcp == channel => {
                sender_reports(sink.timeline, TrackKind::Video, data);
                false
            }
            (_, Some(audio)) if audio.channels.rtcp == channel => {
                sender_reports(sink.timeline, TrackKind::Audio, data);
                false
            }
            (Some(video), audio) if video.channels.rtp == channel => {
                let audio = audio.as_ref().map(|audio| &audio.description);
                video.packet(data, audio, &mut sink)
            }
            (video, Some(audio)) if audio.channels.rtp == channel => {
                audio.packet(data, video.as_ref(), &mut sink) && video.is_none()
            }
            _ => false,
        };
        if heard {
            self.heard = now;
        }
        sink.outcome
    }

    /// The session ends: the access unit in progress is complete, if it is whole.
    pub fn finish(&mut self, now: Instant, segmenter: &mut Segmenter, pool: &mut Pool) {
        let mut sink = Sink {
            now,
            timeline: &mut self.timeline,
            segmenter,
            pool,
            outcome: Outcome::default(),
        };
        let audio = self.audio.as_ref().map(|audio| &audio.description);
        if let Some(video) = &mut self.video {
            video.complete_picture(audio, &mut sink);
        }
    }

    /// Nothing came for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.since(self.heard) >= SILENCE
    }

    /// When [`Media::poll_reports`] is due, or the session is silent.
    pub fn poll_timeout(&self) -> Instant {
        (self.reported + REPORT_INTERVAL).min(self.heard + SILENCE)
    }

    /// A receiver report for each track that came, when they are due: interleaved packets to be
    /// sent.
    pub fn poll_reports(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.reported + REPORT_INTERVAL {
            return None;
        }
        self.reported = now;
        let video = self.video.as_mut().map(|video| &mut video.channels);
        let audio = self.audio.as_mut().map(|audio| &mut audio.channels);
        let packets: Vec<u8> = [video, audio]
            .into_iter()
            .flatten()
            .filter_map(Channels::report)
            .flatten()
            .collect();
        (!packets.is_empty()).then_some(packets)
    }
}

fn sender_reports(timeline: &mut Timeline, track: TrackKind, data: &[u8]) {
    for report in rtcp::reports(data) {
        if let Report::Sender(report) = report {
            timeline.sender_report(track, report.ntp, report.rtp);
        }
    }
}
