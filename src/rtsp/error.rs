//! Why a session ended, in words that say what to do about it.

use core::fmt;

use super::address::AddressError;
use super::auth::AuthError;
use super::sdp::SdpError;

/// Why a session could not begin, or ended. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// A 401 answer that is final.
    Auth(AuthError),
    /// A request was refused.
    Status {
        /// Its method.
        method: &'static str,
        /// The status code of the answer.
        status: u16,
    },
    /// A request was not answered in time.
    Timeout {
        /// Its method.
        method: &'static str,
    },
    /// The answer to DESCRIBE is of no use.
    Sdp(SdpError),
    /// There is video, but no H.264.
    VideoUnsupported {
        /// The codec's name in SDP.
        codec: String,
    },
    /// There is neither video nor AAC audio.
    NoTrack,
    /// The camera wants to send over UDP although TCP was asked for.
    TransportRefused,
    /// The camera sends both tracks on one channel.
    ChannelsCollide,
    /// More redirections than are followed.
    TooManyRedirects,
    /// A redirection to nowhere.
    Redirect(AddressError),
    /// A redirection from `rtsps://` to `rtsp://`.
    RedirectInsecure,
    /// The camera ended the session.
    Ended,
}

impl SessionError {
    /// The RTSP status code behind it.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Auth(_) => Some(401),
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(error) => error.fmt(f),
            Self::Status { method, status } => {
                let what = match status {
                    403 => {
                        "forbids this stream to this user (403): check the user's rights in \
                            the camera's settings"
                    }
                    404 => "has no stream at this address (404): check the path in rtspUrl",
                    453 | 503 => {
                        "has no room for another viewer: end other connections to it, \
                                  or lower the bit rate"
                    }
                    454 => "does not know the session any more (454): it may have restarted",
                    461 => "does not offer RTP over TCP (461): allow it in the camera's settings",
                    _ => return write!(f, "the camera answers {method} with status {status}"),
                };
                write!(f, "the camera {what}")
            }
            Self::Timeout { method } => write!(
                f,
                "the camera does not answer {method}: check the port in rtspUrl, or restart the \
                 camera"
            ),
            Self::Sdp(error) => error.fmt(f),
            Self::VideoUnsupported { codec } => write!(
                f,
                "the camera sends {codec} video: choose H.264 in the camera's settings"
            ),
            Self::NoTrack => f.write_str(
                "the camera offers neither video nor AAC audio: check the path in rtspUrl",
            ),
            Self::TransportRefused => f.write_str(
                "the camera insists on RTP over UDP: allow RTP over TCP in the camera's settings",
            ),
            Self::ChannelsCollide => {
                f.write_str("the camera puts video and audio on one channel: switch its audio off")
            }
            Self::TooManyRedirects => {
                f.write_str("the camera redirects in a circle: check rtspUrl")
            }
            Self::Redirect(error) => write!(f, "the camera redirects to what {error}"),
            Self::RedirectInsecure => {
                f.write_str("the camera redirects from rtsps:// to rtsp://: check rtspUrl")
            }
            Self::Ended => f.write_str("the camera ended the session"),
        }
    }
}

impl core::error::Error for SessionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let status = |status| SessionError::Status {
            method: "SETUP",
            status,
        };
        for (error, code, remedy) in [
            (
                SessionError::Auth(AuthError::Refused),
                Some(401),
                "check rtspUserName",
            ),
            (
                SessionError::Auth(AuthError::CredentialsMissing),
                Some(401),
                "set rtspUserName",
            ),
            (status(403), Some(403), "rights"),
            (status(404), Some(404), "path in rtspUrl"),
            (status(453), Some(453), "end other connections"),
            (status(454), Some(454), "(454)"),
            (status(461), Some(461), "RTP over TCP"),
            (status(400), Some(400), "answers SETUP with status 400"),
            (
                SessionError::Timeout { method: "PLAY" },
                None,
                "does not answer PLAY",
            ),
            (
                SessionError::Sdp(SdpError::NoMedia),
                None,
                "path in rtspUrl",
            ),
            (SessionError::NoTrack, None, "path in rtspUrl"),
            (SessionError::TransportRefused, None, "allow RTP over TCP"),
            (SessionError::ChannelsCollide, None, "switch its audio off"),
            (
                SessionError::Redirect(AddressError::Host),
                None,
                "has no host",
            ),
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with("the camera") && text.contains(remedy),
                "{text}"
            );
            assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
            assert_eq!(error.status(), code, "{text}");
        }
    }
}
