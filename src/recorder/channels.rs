//! One track's interleaved channels: its packets in order, and receiver reports on them.

use crate::rtp::packet::Packet;
use crate::rtp::rtcp::{RECEIVER_REPORT_LEN, write_receiver_report};
use crate::rtp::sequence::{Received, SequenceTracker};
use crate::rtsp::PlayingTrack;

/// One track's packets.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) rtp: u8,
    pub(super) rtcp: u8,
    payload_type: u8,
    /// None before the first packet.
    ssrc: Option<u32>,
    sequence: SequenceTracker,
}

/// Our own source in receiver reports.
const OWN_SSRC: u32 = 0x4356_5231;

impl Channels {
    pub(super) fn new(track: &PlayingTrack) -> Self {
        Self {
            rtp: track.rtp_channel,
            rtcp: track.rtcp_channel,
            payload_type: track.payload_type,
            ssrc: None,
            sequence: SequenceTracker::default(),
        }
    }

    /// The packet, if it is this track's, and how many are missing before it, if any.
    pub(super) fn receive<'a>(&mut self, data: &'a [u8]) -> Option<(Packet<'a>, Option<u16>)> {
        let packet = Packet::parse(data).ok()?;
        if packet.payload_type != self.payload_type {
            return None;
        }
        self.ssrc = Some(packet.ssrc);
        match self.sequence.receive(packet.ssrc, packet.sequence) {
            Received::InOrder => Some((packet, None)),
            Received::Lost(lost) => Some((packet, Some(lost))),
            Received::Restarted => Some((packet, Some(0))),
            Received::Duplicate | Received::Late => None,
        }
    }

    /// An interleaved receiver report on this track; none before its first packet.
    pub(super) fn report(&mut self) -> Option<Vec<u8>> {
        let ssrc = self.ssrc?;
        let mut report = [0; RECEIVER_REPORT_LEN];
        let reception = self.sequence.report();
        let len = write_receiver_report(&mut report, OWN_SSRC, ssrc, reception);
        let size = u16::try_from(len).unwrap_or_default().to_be_bytes();
        let mut packet = vec![b'$', self.rtcp, size[0], size[1]];
        packet.extend_from_slice(&report);
        Some(packet)
    }
}
