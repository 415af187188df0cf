//! A session's video track: packets to pictures, pictures to samples or losses.

use super::builder::VideoSample;
use super::channels::Channels;
use super::decode_time::{DecodeTime, OutOfOrder};
use super::media::Sink;
use super::{Event, Loss};
use crate::gap::Cause;
use crate::media::{AudioDescription, TrackKind};
use crate::rtp::h264::{AccessUnit, DepacketizeError, Depacketizer};
use crate::rtp::timeline::Placed;
use crate::rtp::{AccessUnitBuffer, Full, sps};
use crate::rtsp::{PlayingTrack, TrackCodec};
use crate::time::{Instant, TIMESCALE, Ticks};

/// An H.264 track that plays.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) channels: Channels,
    depacketizer: Depacketizer,
    decode_time: DecodeTime,
    /// Luma samples in a row and rows. None until there are parameter sets and a sync sample.
    size: Option<(u16, u16)>,
    /// Other parameter sets came, and no sync sample since.
    new_parameters: bool,
    /// Pictures are dropped until the next sync sample.
    broken: bool,
    /// The session's first fragment is on its way: its times are told.
    settled: bool,
    /// When the first packet of the access unit in progress came: only the next one completes it.
    arrived: Option<Instant>,
    /// Why the access unit in progress cannot be whole.
    trouble: Option<Loss>,
}

/// Pictures farther apart over a jump of RTP time have a hole between them.
const PAUSE_MAX: Ticks = Ticks(TIMESCALE as u64);

impl Video {
    /// None: no H.264.
    pub(super) fn new(track: &PlayingTrack) -> Option<Self> {
        let TrackCodec::H264 { sets, .. } = &track.codec else {
            return None;
        };
        Some(Self {
            channels: Channels::new(track),
            depacketizer: Depacketizer::new(sets),
            decode_time: DecodeTime::new(0),
            size: None,
            new_parameters: true,
            broken: false,
            settled: false,
            arrived: None,
            trouble: None,
        })
    }

    /// The first picture's parameters are known.
    pub(super) fn has_begun(&self) -> bool {
        self.size.is_some()
    }

    /// Takes one RTP packet in; `audio` plays beside. False: it is none of this track.
    pub(super) fn packet(
        &mut self,
        data: &[u8],
        audio: Option<&AudioDescription>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some((packet, lost)) = self.channels.receive(data) else {
            return false;
        };
        if let Some(lost) = lost {
            sink.outcome.lost = lost;
            self.depacketizer.packets_lost();
        }
        if self.depacketizer.starts_access_unit(&packet) {
            self.complete_picture(audio, sink);
        }
        self.arrived.get_or_insert(sink.now);
        let pushed = match sink.segmenter.access_unit(sink.pool) {
            Ok(mut buffer) => self.depacketizer.push(&packet, &mut buffer),
            Err(Full) => self.depacketizer.push(&packet, &mut Nowhere),
        };
        match pushed {
            Ok(()) => {}
            Err(DepacketizeError::Full) => self.trouble = Some(Loss::Overload),
            Err(_) => self.trouble = Some(Loss::Packets),
        }
        true
    }

    /// The access unit in progress, if there is one, becomes a sample or a loss.
    pub(super) fn complete_picture(
        &mut self,
        audio: Option<&AudioDescription>,
        sink: &mut Sink<'_>,
    ) {
        let unit = match sink.segmenter.access_unit(sink.pool) {
            Ok(mut buffer) => self.depacketizer.take(&mut buffer),
            Err(Full) => self.depacketizer.take(&mut Nowhere),
        };
        let arrival = self.arrived.take().unwrap_or(sink.now);
        let Some(unit) = unit else { return };
        let trouble = self.trouble.take();
        self.new_parameters |= unit.new_parameters;
        let result = if unit.damaged || (unit.preceded_by_loss && !unit.sync) {
            Err(trouble.unwrap_or(Loss::Packets))
        } else {
            self.record_picture(arrival, unit, audio, sink)
        };
        if let Err(loss) = result {
            self.lose_picture(loss, sink);
        }
    }

    fn record_picture(
        &mut self,
        arrival: Instant,
        unit: AccessUnit,
        audio: Option<&AudioDescription>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Loss> {
        // Later pictures refer to the lost one; what nobody refers to could be kept, but would
        // be shown at a wrong distance from its neighbours.
        if (self.broken || !self.has_begun()) && !unit.sync {
            sink.segmenter.drop_access_unit(sink.pool);
            return Ok(());
        }
        if self.new_parameters && unit.sync {
            self.describe(audio, sink)?;
        }
        self.settle(sink);
        let pts = place(arrival, unit, sink)?;
        if core::mem::take(&mut self.broken) {
            self.decode_time.restart();
        }
        let picture_length = sink.segmenter.picture_length();
        let dts = self.decode_time.place(pts, picture_length);
        let dts = dts.map_err(|OutOfOrder| {
            self.decode_time.deepen(self.decode_time.depth() + 1);
            Loss::Order
        })?;
        let sample = VideoSample {
            pts,
            dts,
            rtp: unit.timestamp,
            sync: unit.sync,
        };
        let recorded = sink.segmenter.video(sink.now, sink.pool, sample);
        recorded.map_err(|Full| Loss::Overload)?;
        sink.outcome.recorded = true;
        if unit.sync
            && core::mem::take(&mut self.new_parameters)
            && let Some(size) = self.size
        {
            sink.outcome.event = Some(Event::Recording { size });
        }
        Ok(())
    }

    /// The parameter sets in use hold from this sync sample on.
    fn describe(
        &mut self,
        audio: Option<&AudioDescription>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Loss> {
        let sets = self.depacketizer.parameters().ok_or(Loss::Parameters)?;
        let description = sps::describe(sets).map_err(|_| Loss::Parameters)?;
        self.decode_time.deepen(description.reorder_depth);
        self.size = Some((description.width, description.height));
        sink.segmenter.set_tracks(Some(description), audio.cloned());
        Ok(())
    }

    /// Takes back the delay of the session's first samples, for as long as nobody was told their
    /// times.
    fn settle(&mut self, sink: &mut Sink<'_>) {
        if self.settled {
            return;
        }
        let Some(at_most) = sink.segmenter.movable() else {
            self.settled = true;
            return;
        };
        let by = sink.timeline.settle(at_most);
        sink.segmenter.move_back(by);
        self.decode_time.move_back(by);
    }

    fn lose_picture(&mut self, loss: Loss, sink: &mut Sink<'_>) {
        sink.segmenter.drop_access_unit(sink.pool);
        if !core::mem::replace(&mut self.broken, true) {
            sink.outcome.event = Some(Event::MediaLost(loss));
            sink.segmenter.lose(sink.now.ticks(), loss.cause());
        }
    }
}

/// The place of a picture on the timeline.
fn place(arrival: Instant, unit: AccessUnit, sink: &mut Sink<'_>) -> Result<Ticks, Loss> {
    let kind = TrackKind::Video;
    match sink.timeline.place(arrival, kind, unit.timestamp) {
        Placed::At(pts) => Ok(pts),
        Placed::Ahead => Err(Loss::Jump),
        Placed::Jump => place_after_jump(arrival, unit, sink),
    }
}

/// The place of a picture at which the camera's RTP time jumped (Intelbras DVR: single pictures
/// stamped hours away; others when their clock is set).
///
/// By the sequence numbers nothing is missing, so recording goes on at the arrival. Only after a
/// pause of [`PAUSE_MAX`] is there a hole, and what follows has to wait for a sync sample.
fn place_after_jump(
    arrival: Instant,
    unit: AccessUnit,
    sink: &mut Sink<'_>,
) -> Result<Ticks, Loss> {
    let end = sink.segmenter.end();
    sink.timeline.reanchor(end);
    let kind = TrackKind::Video;
    let Placed::At(pts) = sink.timeline.place(arrival, kind, unit.timestamp) else {
        return Err(Loss::Jump);
    };
    if pts.since(end) <= PAUSE_MAX {
        return Ok(pts);
    }
    if !unit.sync {
        return Err(Loss::Jump);
    }
    sink.segmenter.lose(arrival.ticks(), Loss::Jump.cause());
    sink.outcome.event = Some(Event::MediaLost(Loss::Jump));
    Ok(pts)
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
