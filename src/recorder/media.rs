//! The media of one RTSP session: packets through depacketizers and timeline to the segmenter.

use core::time::Duration;

use super::builder::VideoSample;
use super::channels::Channels;
use super::decode_time::DecodeTime;
use super::pool::Pool;
use super::segmenter::Segmenter;
use super::{Event, Loss};
use crate::gap::Cause;
use crate::media::{AudioDescription, TrackKind, VideoDescription};
use crate::rtp::aac::{self, AacError, AacFormat};
use crate::rtp::frame_clock::FrameClock;
use crate::rtp::h264::{self, AccessUnit, DepacketizeError};
use crate::rtp::rtcp::{self, Report};
use crate::rtp::timeline::{Placed, Timeline};
use crate::rtp::{AccessUnitBuffer, Full, sps};
use crate::rtsp::{PlayingTrack, TrackCodec};
use crate::time::{Instant, TIMESCALE, Ticks};

/// What came of one interleaved packet.
#[derive(Debug, Default)]
pub struct Outcome {
    /// It was media of a track that is recorded.
    pub media: bool,
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
    /// The session's first fragment is on its way: its times are told.
    settled: bool,
    video: Option<Video>,
    audio: Option<Audio>,
    reported: Instant,
}

#[derive(Debug)]
struct Video {
    channels: Channels,
    depacketizer: h264::Depacketizer,
    decode_time: DecodeTime,
    description: Option<VideoDescription>,
    /// Other parameter sets came, and no sync sample since.
    new_parameters: bool,
    /// Pictures are dropped until the next sync sample.
    broken: bool,
    /// When the first packet of the access unit in progress came: only the next one completes it.
    arrived: Option<Instant>,
    /// Why the access unit in progress cannot be whole.
    trouble: Option<Loss>,
}

#[derive(Debug)]
struct Audio {
    channels: Channels,
    depacketizer: aac::Depacketizer,
    frame_clock: FrameClock,
    description: AudioDescription,
}

/// Cameras that time out a session without receiver reports want one at least so often.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Pictures farther apart over a jump of RTP time have a hole between them.
const PAUSE_MAX: Ticks = Ticks(TIMESCALE as u64);

impl Media {
    /// The tracks that play from now on. No sample is placed before `not_before`.
    pub fn new(now: Instant, tracks: &[PlayingTrack], not_before: Ticks) -> Self {
        let mut media = Self {
            timeline: Timeline::new(
                not_before,
                clock(tracks, TrackKind::Video),
                clock(tracks, TrackKind::Audio),
            ),
            settled: false,
            video: None,
            audio: None,
            reported: now,
        };
        for track in tracks {
            if let Some(rtptime) = track.rtp_info.rtptime {
                media.timeline.rtp_info(track.kind, rtptime);
            }
            let channels = Channels::new(track);
            match &track.codec {
                TrackCodec::H264 { sets, .. } => media.video = Some(Video::new(channels, sets)),
                TrackCodec::Aac {
                    description,
                    size_length,
                    index_length,
                    index_delta_length,
                } => {
                    let format = AacFormat {
                        size_length: *size_length,
                        index_length: *index_length,
                        index_delta_length: *index_delta_length,
                        frame_length: rtp_length(description, track.clock_rate),
                    };
                    // Audio of which nothing can be read must not cost the video.
                    let clock = FrameClock::new(format.frame_length.into(), track.clock_rate);
                    media.audio = Audio::new(channels, format, clock, description).ok();
                }
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
        let video = self.video.as_ref().map(|video| &video.channels);
        let audio = self.audio.as_ref().map(|audio| &audio.channels);
        match (video, audio) {
            (Some(video), _) if video.rtcp == channel => self.reports(TrackKind::Video, data),
            (_, Some(audio)) if audio.rtcp == channel => self.reports(TrackKind::Audio, data),
            (Some(video), _) if video.rtp == channel => {
                return self.video_packet(now, data, segmenter, pool);
            }
            (_, Some(audio)) if audio.rtp == channel => {
                return self.audio_packet(now, data, segmenter, pool);
            }
            _ => {}
        }
        Outcome::default()
    }

    /// The session ends: the access unit in progress is complete, if it is whole.
    pub fn finish(&mut self, now: Instant, segmenter: &mut Segmenter, pool: &mut Pool) {
        self.complete_picture(now, segmenter, pool, &mut Outcome::default());
    }

    /// When [`Media::poll_reports`] is due.
    pub fn report_due(&self) -> Instant {
        self.reported + REPORT_INTERVAL
    }

    /// A receiver report for each track that came, when they are due: interleaved packets to be
    /// sent.
    pub fn poll_reports(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.report_due() {
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

    fn reports(&mut self, track: TrackKind, data: &[u8]) {
        for report in rtcp::reports(data) {
            if let Report::Sender(report) = report {
                self.timeline.sender_report(track, report.ntp, report.rtp);
            }
        }
    }

    fn video_packet(
        &mut self,
        now: Instant,
        data: &[u8],
        segmenter: &mut Segmenter,
        pool: &mut Pool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(video) = &mut self.video else {
            return outcome;
        };
        let Some((packet, lost)) = video.channels.receive(data) else {
            return outcome;
        };
        outcome.media = true;
        if let Some(lost) = lost {
            outcome.lost = lost;
            video.depacketizer.packets_lost();
        }
        if video.depacketizer.starts_access_unit(&packet) {
            self.complete_picture(now, segmenter, pool, &mut outcome);
        }
        let Some(video) = &mut self.video else {
            return outcome;
        };
        video.arrived.get_or_insert(now);
        let pushed = match segmenter.access_unit(pool) {
            Ok(mut buffer) => video.depacketizer.push(&packet, &mut buffer),
            Err(Full) => video.depacketizer.push(&packet, &mut Nowhere),
        };
        match pushed {
            Ok(()) => {}
            Err(DepacketizeError::Full) => video.trouble = Some(Loss::Overload),
            Err(_) => video.trouble = Some(Loss::Packets),
        }
        outcome
    }

    /// The access unit in progress, if there is one, becomes a sample or a loss.
    fn complete_picture(
        &mut self,
        now: Instant,
        segmenter: &mut Segmenter,
        pool: &mut Pool,
        outcome: &mut Outcome,
    ) {
        let Some(video) = &mut self.video else { return };
        let unit = match segmenter.access_unit(pool) {
            Ok(mut buffer) => video.depacketizer.take(&mut buffer),
            Err(Full) => video.depacketizer.take(&mut Nowhere),
        };
        let arrival = video.arrived.take().unwrap_or(now);
        let Some(unit) = unit else { return };
        let trouble = video.trouble.take();
        video.new_parameters |= unit.new_parameters;
        let result = if unit.damaged || (unit.preceded_by_loss && !unit.sync) {
            Err(trouble.unwrap_or(Loss::Packets))
        } else {
            self.record_picture((now, arrival), segmenter, pool, unit, outcome)
        };
        if let Err(loss) = result {
            self.lose_picture(now, segmenter, pool, loss, outcome);
        }
    }

    fn record_picture(
        &mut self,
        (now, arrival): (Instant, Instant),
        segmenter: &mut Segmenter,
        pool: &mut Pool,
        unit: AccessUnit,
        outcome: &mut Outcome,
    ) -> Result<(), Loss> {
        let audio = self.audio.as_ref().map(|audio| &audio.description);
        let Some(video) = &mut self.video else {
            return Ok(());
        };
        // Later pictures refer to the lost one; what nobody refers to could be kept, but would
        // be shown at a wrong distance from its neighbours.
        if (video.broken || video.description.is_none()) && !unit.sync {
            segmenter.drop_access_unit(pool);
            return Ok(());
        }
        if video.new_parameters && unit.sync {
            let sets = video.depacketizer.parameters().ok_or(Loss::Parameters)?;
            let description = sps::describe(sets).map_err(|_| Loss::Parameters)?;
            video.decode_time.deepen(description.reorder_depth);
            segmenter.set_tracks(Some(description.clone()), audio.cloned());
            video.description = Some(description);
        }
        if !self.settled {
            match segmenter.movable() {
                Some(at_most) => {
                    let by = self.timeline.settle(at_most);
                    segmenter.move_back(by);
                    video.decode_time.move_back(by);
                }
                None => self.settled = true,
            }
        }
        let pts = match self
            .timeline
            .place(arrival, TrackKind::Video, unit.timestamp)
        {
            Placed::At(pts) => pts,
            Placed::Ahead => return Err(Loss::Jump),
            Placed::Jump => after_jump(&mut self.timeline, arrival, segmenter, unit, outcome)?,
        };
        if video.broken {
            video.decode_time.restart();
            video.broken = false;
        }
        let dts = match video.decode_time.place(pts, segmenter.picture_length()) {
            Ok(dts) => dts,
            Err(_) => {
                video.decode_time.deepen(video.decode_time.depth() + 1);
                return Err(Loss::Order);
            }
        };
        let sample = VideoSample {
            pts,
            dts,
            rtp: unit.timestamp,
            sync: unit.sync,
        };
        segmenter
            .video(now, pool, sample)
            .map_err(|Full| Loss::Overload)?;
        outcome.recorded = true;
        if unit.sync
            && core::mem::take(&mut video.new_parameters)
            && let Some(description) = &video.description
        {
            outcome.event = Some(Event::Recording {
                size: (description.width, description.height),
            });
        }
        Ok(())
    }

    fn lose_picture(
        &mut self,
        now: Instant,
        segmenter: &mut Segmenter,
        pool: &mut Pool,
        loss: Loss,
        outcome: &mut Outcome,
    ) {
        segmenter.drop_access_unit(pool);
        let Some(video) = &mut self.video else { return };
        if !video.broken {
            video.broken = true;
            outcome.event = Some(Event::MediaLost(loss));
            segmenter.lose(now.ticks(), loss.cause());
        }
    }

    fn audio_packet(
        &mut self,
        now: Instant,
        data: &[u8],
        segmenter: &mut Segmenter,
        pool: &mut Pool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(audio) = &mut self.audio else {
            return outcome;
        };
        let Some((packet, lost)) = audio.channels.receive(data) else {
            return outcome;
        };
        outcome.lost = lost.unwrap_or_default();
        outcome.media = self.video.is_none();
        if self.video.is_none() {
            segmenter.set_tracks(None, Some(audio.description.clone()));
        }
        let length = u64::from(audio.description.frame_length) * u64::from(TIMESCALE);
        let length = Ticks(length / u64::from(audio.description.sample_rate.max(1)));
        // Sound from before the first picture belongs to no segment.
        let wanted = (self.video.as_ref()).is_none_or(|video| video.description.is_some());
        let (timeline, frame_clock) = (&mut self.timeline, &mut audio.frame_clock);
        if lost.is_some() {
            audio.depacketizer.packets_lost();
        }
        let mut recorded = false;
        let mut place = |frame: aac::AudioFrame<'_>| match timeline.place(
            now,
            TrackKind::Audio,
            frame_clock.even(frame.timestamp),
        ) {
            Placed::At(_) if !wanted => {}
            Placed::At(at) => {
                recorded |= segmenter.audio(now, pool, at, length, frame.data).is_ok();
            }
            Placed::Ahead => {}
            Placed::Jump => timeline.reanchor(segmenter.end()),
        };
        // A frame that makes no sense is left out; the next has its own place on the timeline.
        let _damaged = audio.depacketizer.push(&packet, &mut place).is_err();
        outcome.recorded = recorded && self.video.is_none();
        outcome
    }
}

impl Video {
    fn new(channels: Channels, sets: &crate::media::ParameterSets) -> Self {
        Self {
            channels,
            depacketizer: h264::Depacketizer::new(sets),
            decode_time: DecodeTime::new(0),
            description: None,
            new_parameters: true,
            broken: false,
            arrived: None,
            trouble: None,
        }
    }
}

impl Audio {
    fn new(
        channels: Channels,
        format: AacFormat,
        frame_clock: FrameClock,
        description: &AudioDescription,
    ) -> Result<Self, AacError> {
        let depacketizer = aac::Depacketizer::new(format)?;
        Ok(Self {
            channels,
            depacketizer,
            frame_clock,
            description: description.clone(),
        })
    }
}

/// The buffer while the pool is full: takes nothing.
struct Nowhere;

impl AccessUnitBuffer for Nowhere {
    fn len(&self) -> usize {
        0
    }

    fn append(&mut self, _: &[u8]) -> Result<(), Full> {
        Err(Full)
    }

    fn overwrite(&mut self, _: usize, _: &[u8]) {}

    fn truncate(&mut self, _: usize) {}
}

impl Loss {
    /// Its cause in a gap.
    const fn cause(self) -> Cause {
        match self {
            Self::Packets | Self::Order | Self::Jump => Cause::MediaLost,
            Self::Overload => Cause::Overload,
            Self::Parameters => Cause::FormatChanged,
        }
    }
}

/// The place of a picture at which the camera's RTP time jumped (Intelbras DVR: single pictures
/// stamped hours away; others when their clock is set).
///
/// By the sequence numbers nothing is missing, so recording goes on at the arrival. Only after a
/// pause of [`PAUSE_MAX`] is there a hole, and what follows has to wait for a sync sample.
fn after_jump(
    timeline: &mut Timeline,
    arrival: Instant,
    segmenter: &mut Segmenter,
    unit: AccessUnit,
    outcome: &mut Outcome,
) -> Result<Ticks, Loss> {
    timeline.reanchor(segmenter.end());
    let Placed::At(pts) = timeline.place(arrival, TrackKind::Video, unit.timestamp) else {
        return Err(Loss::Jump);
    };
    if pts.since(segmenter.end()) <= PAUSE_MAX {
        return Ok(pts);
    }
    if !unit.sync {
        return Err(Loss::Jump);
    }
    segmenter.lose(arrival.ticks(), Loss::Jump.cause());
    outcome.event = Some(Event::MediaLost(Loss::Jump));
    Ok(pts)
}

/// RTP ticks of an audio frame: with explicit SBR the RTP clock may run at twice the core's rate.
fn rtp_length(description: &AudioDescription, clock_rate: u32) -> u16 {
    let length = u64::from(description.frame_length) * u64::from(clock_rate);
    u16::try_from(length / u64::from(description.sample_rate.max(1))).unwrap_or(u16::MAX)
}

fn clock(tracks: &[PlayingTrack], kind: TrackKind) -> Option<u32> {
    tracks
        .iter()
        .find(|track| track.kind == kind)
        .map(|track| track.clock_rate)
}
