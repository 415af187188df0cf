//! What a session has found.

use super::codec::TrackCodec;
use super::headers::RtpInfo;
use crate::media::TrackKind;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The camera has described its tracks.
    Described {
        /// The description as it came, bytes that are not UTF-8 replaced.
        sdp: String,
    },
    /// A track is not recorded.
    TrackIgnored {
        /// Video or audio.
        kind: TrackKind,
        /// Its codec's name in SDP.
        codec: String,
        /// Why.
        reason: IgnoreReason,
    },
    /// The camera sends. Packets may have come before.
    Playing {
        /// What it sends: video first, then audio.
        tracks: Vec<PlayingTrack>,
    },
    /// The camera is elsewhere: close the connection, open one to
    /// [`Session::address`](super::Session::address), then
    /// call [`Session::connected`](super::Session::connected).
    Redirected,
}

/// Why a track is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// Neither H.264 nor AAC.
    Codec,
    /// One of its kind is recorded already.
    Further,
    /// The camera refused SETUP with this status code.
    Refused(u16),
}

/// A track that the camera sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayingTrack {
    /// Video or audio.
    pub kind: TrackKind,
    /// H.264 or AAC.
    pub codec: TrackCodec,
    /// Interleaved channel of RTP.
    pub rtp_channel: u8,
    /// Interleaved channel of RTCP.
    pub rtcp_channel: u8,
    /// RTP payload type.
    pub payload_type: u8,
    /// RTP ticks a second.
    pub clock_rate: u32,
    /// Synchronization source, where the camera names it. Some name a wrong one.
    pub ssrc: Option<u32>,
    /// Where playing begins, where the camera says so.
    pub rtp_info: RtpInfo,
}
