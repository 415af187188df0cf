//! Errors of the H.264 depacketizer.

use core::fmt;

use crate::rtp::Full;
use crate::rtp::sps::SpsError;

/// Why a packet could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepacketizeError {
    /// A packet of another packetization mode, or of none.
    Unsupported {
        /// The NAL unit type at byte 0 of the payload.
        kind: u8,
    },
    /// The payload ends early.
    Truncated {
        /// Byte of the payload at which more was expected.
        at: usize,
    },
    /// A fragment whose first one never came, though no packet is missing.
    NoStart,
    /// A parameter set of no use.
    Set(SpsError),
    /// No room for the access unit.
    Full,
}

impl From<Full> for DepacketizeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl fmt::Display for DepacketizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { kind } => {
                let name = match kind {
                    25 => "STAP-B",
                    26 => "MTAP16",
                    27 => "MTAP24",
                    29 => "FU-B",
                    _ => "reserved",
                };
                write!(f, "H.264 packet of type {kind} ({name}) is not supported")
            }
            Self::Truncated { at } => write!(f, "H.264 packet ends early, at byte {at}"),
            Self::NoStart => write!(f, "H.264 fragment without a start"),
            Self::Set(error) => error.fmt(f),
            Self::Full => write!(f, "no room for the access unit"),
        }
    }
}

impl core::error::Error for DepacketizeError {}
