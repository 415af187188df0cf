//! A session's audio track: packets to samples.

use super::builder::AudioSample;
use super::channels::Channels;
use super::media::Sink;
use super::video::Video;
use crate::media::{AudioDescription, TrackKind};
use crate::rtp::aac::{self, AacFormat};
use crate::rtp::frame_clock::FrameClock;
use crate::rtp::timeline::Placed;
use crate::rtsp::{PlayingTrack, TrackCodec};
use crate::time::{TIMESCALE, Ticks};

/// An AAC track that plays.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) channels: Channels,
    pub(super) description: AudioDescription,
    depacketizer: aac::Depacketizer,
    frame_clock: FrameClock,
}

impl Audio {
    /// None: no AAC, or of a form of which nothing can be read; that must not cost the video.
    pub(super) fn new(track: &PlayingTrack) -> Option<Self> {
        let TrackCodec::Aac {
            description,
            size_length,
            index_length,
            index_delta_length,
        } = &track.codec
        else {
            return None;
        };
        let format = AacFormat {
            size_length: *size_length,
            index_length: *index_length,
            index_delta_length: *index_delta_length,
            frame_length: rtp_length(description, track.clock_rate),
        };
        Some(Self {
            channels: Channels::new(track),
            description: description.clone(),
            depacketizer: aac::Depacketizer::new(format).ok()?,
            frame_clock: FrameClock::new(format.frame_length.into(), track.clock_rate),
        })
    }

    /// Takes one RTP packet in. False: it is none of this track.
    pub(super) fn packet(
        &mut self,
        data: &[u8],
        video: Option<&Video>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some((packet, lost)) = self.channels.receive(data) else {
            return false;
        };
        if let Some(lost) = lost {
            sink.outcome.lost = lost;
            self.depacketizer.packets_lost();
        }
        if video.is_none() {
            let description = self.description.clone();
            sink.segmenter.set_tracks(None, Some(description));
        }
        let length = frame_length(&self.description);
        // Sound from before the first picture belongs to no segment.
        let wanted = video.is_none_or(Video::has_begun);
        let mut recorded = false;
        let mut place = |frame: aac::AudioFrame<'_>| {
            let timestamp = self.frame_clock.even(frame.timestamp);
            match sink.timeline.place(sink.now, TrackKind::Audio, timestamp) {
                Placed::At(at) if wanted => {
                    let (now, pool) = (sink.now, &mut *sink.pool);
                    let data = frame.data;
                    let sample = AudioSample { at, length, data };
                    recorded |= sink.segmenter.audio(now, pool, sample).is_ok();
                }
                Placed::At(_) | Placed::Ahead => {}
                Placed::Jump => sink.timeline.reanchor(sink.segmenter.end()),
            }
        };
        // A frame that makes no sense is left out; the next has its own place on the timeline.
        let _damaged = self.depacketizer.push(&packet, &mut place).is_err();
        sink.outcome.recorded = recorded && video.is_none();
        true
    }
}

/// Time of an access unit.
fn frame_length(description: &AudioDescription) -> Ticks {
    let length = u64::from(description.frame_length) * u64::from(TIMESCALE);
    Ticks(length / u64::from(description.sample_rate.max(1)))
}

/// The same in RTP ticks: with explicit SBR the RTP clock may run at twice the core's rate.
fn rtp_length(description: &AudioDescription, clock_rate: u32) -> u16 {
    let length = u64::from(description.frame_length) * u64::from(clock_rate);
    u16::try_from(length / u64::from(description.sample_rate.max(1))).unwrap_or(u16::MAX)
}
