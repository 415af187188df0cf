//! The client's side of one RTSP session (RFC 2326 appendix A.1), without a socket or a clock.
//!
//! OPTIONS, DESCRIBE, SETUP for each track, PLAY; one request under way at a time. Then requests
//! that keep it alive. After every call, [`Session::poll_transmit`] and [`Session::poll_event`]
//! are to be drained, and [`Session::poll_timeout`] asked again.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use url::Url;

use super::address::{CameraAddress, base_url, control_url};
use super::auth::Credentials;
use super::error::SessionError;
use super::event::{IgnoreReason, PlayingTrack, SessionEvent};
use super::headers::{RtpInfo, TransportHeader, lists_method, rtp_info};
use super::keep_alive::KeepAlive;
use super::message::{Request, Response};
use super::outgoing::{Outgoing, Pending};
use super::sdp::{MediaTrack, SessionDescription};
use super::selection::Selection;
use super::step::{Step, channels};
use crate::time::Instant;

/// Timeout where SETUP was answered without a Session header.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Redirections followed in one session.
const REDIRECTS_MAX: u8 = 5;

/// What a session needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Where the camera is.
    pub address: CameraAddress,
    /// User name and password, if any.
    pub credentials: Option<Credentials>,
}

/// One session. After an error, or [`Self::teardown`], it is over.
pub struct Session {
    address: CameraAddress,
    state: State,
    outgoing: Outgoing,
    events: VecDeque<SessionEvent>,
    /// The camera says that it knows GET_PARAMETER.
    get_parameter: bool,
    /// Base of the tracks' control URLs.
    base: Url,
    /// The URL of all tracks together.
    aggregate: Url,
    /// Tracks to set up.
    chosen: Vec<MediaTrack>,
    /// Tracks set up, and what the description says of each.
    tracks: Vec<(PlayingTrack, MediaTrack)>,
    redirects: u8,
}

impl Session {
    /// A session that waits for its connection.
    pub fn new(config: SessionConfig) -> Self {
        let url = config.address.url().clone();
        Self {
            address: config.address,
            state: State::Unconnected,
            outgoing: Outgoing::new(config.credentials),
            events: VecDeque::new(),
            get_parameter: false,
            base: url.clone(),
            aggregate: url,
            chosen: Vec::new(),
            tracks: Vec::new(),
            redirects: 0,
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> &CameraAddress {
        &self.address
    }

    /// The connection stands.
    pub fn connected(&mut self, now: Instant) {
        // What is left was meant for the connection before a redirection.
        self.outgoing.clear();
        self.state = State::SettingUp;
        self.send(now, Step::Options);
    }

    /// Takes in an answer. One that fits no request is passed over.
    pub fn handle_response(
        &mut self,
        now: Instant,
        response: &Response,
    ) -> Result<(), SessionError> {
        let Some(pending) = self.outgoing.take_answered(response) else {
            return Ok(());
        };
        let result = match (response.status, pending.step) {
            (_, Step::Teardown) => Ok(()),
            (401, _) => self.challenged(now, response, pending),
            (200..=299, _) => self.granted(now, response, pending.step),
            (300..=399, Step::Options | Step::Describe | Step::Setup(_)) => {
                self.redirect(response.header("Location").unwrap_or_default())
            }
            (status, step) => self.refused(now, status, step),
        };
        result.inspect_err(|_| self.state = State::Over)
    }

    /// Answers a request of the camera.
    pub fn handle_request(&mut self, request: &Request) -> Result<(), SessionError> {
        if matches!(self.state, State::Unconnected) || !self.outgoing.answer(request) {
            return Ok(());
        }
        let method = request.method.to_ascii_uppercase();
        let result = match (method.as_str(), request.header("Location")) {
            ("TEARDOWN", _) => Err(SessionError::Ended),
            ("REDIRECT", Some(location)) => self.redirect(location),
            _ => Ok(()),
        };
        result.inspect_err(|_| self.state = State::Over)
    }

    /// Time has come: a request went unanswered, or the session is to be kept alive.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        match &mut self.state {
            State::SettingUp => {
                if let Some(pending) = self.outgoing.take_expired(now) {
                    self.state = State::Over;
                    return Err(SessionError::Timeout {
                        method: pending.step.method(),
                    });
                }
            }
            State::Playing(keep_alive) if keep_alive.due() <= now => {
                if self.outgoing.pending().is_some() {
                    keep_alive.failed();
                }
                keep_alive.sent(now);
                let step = Step::KeepAlive(keep_alive.method());
                self.send(now, step);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the session; the answer is not waited for. Cameras that are not told go on sending
    /// for a minute, and some then refuse the next session.
    pub fn teardown(&mut self, now: Instant) {
        if self.outgoing.header().is_some() {
            self.send(now, Step::Teardown);
        }
        self.outgoing.drop_header();
        self.state = State::Over;
    }

    /// Bytes to send. They may hold the password: not for the log.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.poll()
    }

    /// What has happened, in order.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::SettingUp => self.outgoing.pending().map(|pending| pending.deadline),
            State::Playing(keep_alive) => Some(keep_alive.due()),
            State::Unconnected | State::Over => None,
        }
    }

    fn send(&mut self, now: Instant, step: Step) {
        let url = match step {
            Step::Options | Step::Describe => self.address.url().clone(),
            Step::Setup(i) => match self.chosen.get(i) {
                Some(track) => control_url(&self.base, &track.control),
                None => return,
            },
            Step::Play | Step::KeepAlive(_) | Step::Teardown => self.aggregate.clone(),
        };
        self.outgoing.send(now, step, url);
    }

    fn challenged(
        &mut self,
        now: Instant,
        response: &Response,
        pending: Pending,
    ) -> Result<(), SessionError> {
        let header = response.header("WWW-Authenticate");
        let step = pending.step;
        match self.outgoing.send_again(now, pending, header) {
            Ok(()) => {}
            // Hikvision stops sending after refused requests: another kind may be let through.
            Err(_) if matches!(step, Step::KeepAlive(_)) => self.keep_alive_failed(),
            Err(error) => return Err(SessionError::Auth(error)),
        }
        Ok(())
    }

    fn granted(
        &mut self,
        now: Instant,
        response: &Response,
        step: Step,
    ) -> Result<(), SessionError> {
        match step {
            Step::Options => {
                let public = response.header("Public").unwrap_or_default();
                self.get_parameter = lists_method(public, "GET_PARAMETER");
                self.send(now, Step::Describe);
                Ok(())
            }
            Step::Describe => self.described(now, response),
            Step::Setup(i) => self.set_up(now, response, i),
            Step::Play => {
                self.playing(now, response);
                Ok(())
            }
            Step::KeepAlive(_) | Step::Teardown => Ok(()),
        }
    }

    fn refused(&mut self, now: Instant, status: u16, step: Step) -> Result<(), SessionError> {
        match step {
            // Hikvision DS-2CD2732F-IS: 551. Nothing hangs on it.
            Step::Options => self.send(now, Step::Describe),
            Step::KeepAlive(_) => self.keep_alive_failed(),
            // Sound that cannot be had does not cost the pictures.
            Step::Setup(i) if i > 0 => {
                if let Some(track) = self.chosen.get(i) {
                    self.events.push_back(SessionEvent::TrackIgnored {
                        kind: track.kind,
                        codec: track.codec.name().to_owned(),
                        reason: IgnoreReason::Refused(status),
                    });
                }
                self.set_up_next(now, i);
            }
            Step::Describe | Step::Setup(_) | Step::Play | Step::Teardown => {
                return Err(SessionError::Status {
                    method: step.method(),
                    status,
                });
            }
        }
        Ok(())
    }

    fn described(&mut self, now: Instant, response: &Response) -> Result<(), SessionError> {
        self.events.push_back(SessionEvent::Described {
            sdp: String::from_utf8_lossy(&response.body).into_owned(),
        });
        let description = SessionDescription::parse(&response.body).map_err(SessionError::Sdp)?;
        self.base = base_url(
            response.header("Content-Base"),
            response.header("Content-Location"),
            self.address.url(),
        );
        self.aggregate = control_url(&self.base, &description.control);
        let selection = Selection::of(description.tracks)?;
        self.events.extend(selection.ignored);
        self.chosen = selection.tracks;
        self.send(now, Step::Setup(0));
        Ok(())
    }

    /// SETUP of track `i` was granted.
    fn set_up(&mut self, now: Instant, response: &Response, i: usize) -> Result<(), SessionError> {
        self.outgoing.keep_header(response);
        let transport = TransportHeader::parse(response.header("Transport").unwrap_or_default());
        if transport.udp && transport.channels.is_none() {
            return Err(SessionError::TransportRefused);
        }
        let (rtp_channel, rtcp_channel) = transport.channels.unwrap_or(channels(i));
        let taken = |channel| {
            self.tracks
                .iter()
                .any(|(track, _)| channel == track.rtp_channel || channel == track.rtcp_channel)
        };
        if taken(rtp_channel) || taken(rtcp_channel) {
            return Err(SessionError::ChannelsCollide);
        }
        if let Some(track) = self.chosen.get(i) {
            let playing = PlayingTrack {
                kind: track.kind,
                codec: track.codec.clone(),
                rtp_channel,
                rtcp_channel,
                payload_type: track.payload_type,
                clock_rate: track.clock_rate,
                ssrc: transport.ssrc,
                rtp_info: RtpInfo::default(),
            };
            self.tracks.push((playing, track.clone()));
        }
        self.set_up_next(now, i);
        Ok(())
    }

    fn set_up_next(&mut self, now: Instant, i: usize) {
        let next = if i + 1 < self.chosen.len() {
            Step::Setup(i + 1)
        } else {
            Step::Play
        };
        self.send(now, next);
    }

    fn playing(&mut self, now: Instant, response: &Response) {
        let header = response.header("RTP-Info").unwrap_or_default();
        let count = self.tracks.len();
        for (playing, track) in &mut self.tracks {
            let url = control_url(&self.base, &track.control);
            playing.rtp_info = rtp_info(header, url.as_str(), &track.control, count);
        }
        let timeout = self
            .outgoing
            .header()
            .map_or(TIMEOUT_DEFAULT, |header| header.timeout);
        self.state = State::Playing(KeepAlive::new(now, timeout, self.get_parameter));
        self.events.push_back(SessionEvent::Playing {
            tracks: self.tracks.iter().map(|(track, _)| track.clone()).collect(),
        });
    }

    fn keep_alive_failed(&mut self) {
        if let State::Playing(keep_alive) = &mut self.state {
            keep_alive.failed();
        }
    }

    /// Begins anew elsewhere. Credentials go to no other server, and nothing from `rtsps://` to
    /// `rtsp://`.
    fn redirect(&mut self, location: &str) -> Result<(), SessionError> {
        let address = self
            .address
            .redirected(location)
            .map_err(SessionError::Redirect)?;
        if self.address.is_tls() && !address.is_tls() {
            return Err(SessionError::RedirectInsecure);
        }
        if self.redirects >= REDIRECTS_MAX {
            return Err(SessionError::TooManyRedirects);
        }
        let same_server = self.address.is_same_server(&address);
        self.outgoing.restart(same_server);
        self.redirects += 1;
        self.base = address.url().clone();
        self.aggregate = address.url().clone();
        self.address = address;
        self.state = State::Unconnected;
        self.get_parameter = false;
        self.chosen.clear();
        self.tracks.clear();
        self.events.push_back(SessionEvent::Redirected);
        Ok(())
    }
}

/// Neither URLs nor credentials.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("address", &self.address)
            .field("state", &self.state)
            .field("pending", &self.outgoing.pending().map(|it| it.step))
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum State {
    /// No connection yet, or none any more.
    Unconnected,
    /// A request is under way.
    SettingUp,
    /// PLAY was granted.
    Playing(KeepAlive),
    /// Ended.
    Over,
}

#[cfg(test)]
mod tests;
