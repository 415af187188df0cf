//! RTSP 1.0 client (RFC 2326): framer, session, authentication, SDP. Pure.
//!
//! Bytes of the connection go into a [`Framer`]; its responses and requests go into a
//! [`Session`], its interleaved packets to the depacketizers. What the session has to send comes
//! out of [`Session::poll_transmit`], what it has found out of [`Session::poll_event`].

mod address;
mod auth;
mod codec;
mod error;
mod event;
mod framer;
mod headers;
mod keep_alive;
mod message;
mod outgoing;
mod sdp;
mod selection;
mod session;
mod start;
mod step;

pub use address::{AddressError, CameraAddress};
pub use auth::{AuthError, Credentials};
pub use codec::TrackCodec;
pub use error::SessionError;
pub use event::{IgnoreReason, PlayingTrack, SessionEvent};
pub use framer::{Frame, Framer, FramerError, FramerErrorKind};
pub use headers::RtpInfo;
pub use message::{Request, Response};
pub use sdp::{MediaTrack, SdpError, SessionDescription};
pub use session::{Session, SessionConfig};
