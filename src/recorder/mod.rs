//! The recorder: one engine per camera, from received bytes to fragments. Pure.
//!
//! [`engine`] is the run loop's contract; it leads the bytes through [`media`] (the tracks of one
//! session: `video`, `audio`) to the [`segmenter`]. That one has a [`builder`] fill each
//! [`fragment`] in [`pool`] blocks.

use core::fmt;
use core::time::Duration;
use std::io;

use crate::rtsp::{FramerError, IgnoreReason, PlayingTrack, SessionError};

mod audio;
pub mod builder;
mod channels;
pub mod decode_time;
pub mod engine;
pub mod fragment;
pub mod media;
pub mod pool;
mod run;
pub mod segmenter;
pub mod testing;
mod video;

/// What log, state and events are told.
#[derive(Debug)]
pub enum Event {
    /// The camera took the connection.
    Connected,
    /// The camera described itself.
    Described {
        /// Its SDP.
        sdp: String,
    },
    /// A track that cannot be recorded is left out.
    TrackIgnored {
        /// Its codec.
        codec: String,
        /// Why.
        reason: IgnoreReason,
    },
    /// The session plays.
    Playing {
        /// The tracks to be recorded.
        tracks: Vec<PlayingTrack>,
    },
    /// The first picture of a session, or the first after a change, is being recorded.
    Recording {
        /// Luma samples in a row and rows.
        size: (u16, u16),
    },
    /// Media was lost: a hole begins.
    MediaLost(Loss),
    /// The session broke.
    Lost {
        /// Why.
        reason: Reason,
        /// When it is tried again.
        wait: Duration,
    },
    /// The camera is not recorded from now on.
    Inactive,
}

/// Why a picture, and those that refer to it, could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Packets were missing, or made no sense.
    Packets,
    /// The pool was full: the card is too slow.
    Overload,
    /// Parameter sets that say nothing usable.
    Parameters,
    /// Pictures came in an order not announced.
    Order,
    /// The camera's RTP time jumped.
    Jump,
}

/// Why a camera's session broke.
#[derive(Debug)]
pub enum Reason {
    /// The name in `rtspUrl` has no address.
    UnknownHost,
    /// The connection failed.
    Io(io::ErrorKind),
    /// The camera closed the connection.
    Closed,
    /// Nothing came for too long.
    Silent,
    /// What came is no RTSP.
    Framer(FramerError),
    /// The camera refused, or answered what makes no sense.
    Session(SessionError),
}

/// Counters of one camera since `cvr` started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes received.
    pub bytes: u64,
    /// Interleaved packets received.
    pub packets: u64,
    /// RTP packets missing by their sequence numbers.
    pub lost_packets: u64,
    /// Playing sessions that broke.
    pub reconnects: u64,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost => f.write_str(
                "the host name in rtspUrl has no address: check it and the gateway's DNS",
            ),
            Self::Io(kind) => write!(f, "the connection to the camera failed: {kind}"),
            Self::Closed => f.write_str("the camera closed the connection"),
            Self::Silent => f.write_str("the camera sent nothing for 10 s"),
            Self::Framer(error) => write!(f, "the camera sent what is no RTSP: {error}"),
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packets => "media was lost on the way from the camera",
            Self::Overload => "the card is too slow: media memory is full",
            Self::Parameters => "the camera's parameter sets cannot be used",
            Self::Order => "the camera reorders pictures more than it announced",
            Self::Jump => "the camera's media time jumped",
        })
    }
}
