//! The requests of a session, in their order.

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Options,
    Describe,
    /// Of the chosen track with this index.
    Setup(usize),
    Play,
    KeepAlive(&'static str),
    Teardown,
}

impl Step {
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Setup(_) => "SETUP",
            Self::Play => "PLAY",
            Self::KeepAlive(method) => method,
            Self::Teardown => "TEARDOWN",
        }
    }

    pub(super) fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Describe => Some(("Accept", "application/sdp")),
            Self::Play => Some(("Range", "npt=0.000-")),
            _ => None,
        }
    }

    pub(super) fn transport(self) -> Option<String> {
        let Self::Setup(i) = self else {
            return None;
        };
        let (rtp, rtcp) = channels(i);
        Some(format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}"))
    }
}

/// The channels that are asked for; there are two tracks at most.
pub(super) fn channels(track: usize) -> (u8, u8) {
    if track == 0 { (0, 1) } else { (2, 3) }
}
