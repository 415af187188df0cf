//! The engine of one camera: received bytes in, requests and fragments out.
//!
//! Two verbs, no socket, no clock, no disk: [`Recorder::handle_input`] and
//! [`Recorder::poll_output`]. After each input the caller polls until [`Output::Timeout`]; bytes
//! are processed packet by packet while it polls, so that every queue stays short.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::media::Media;
use super::pool::Pool;
use super::segmenter::{self, Cutting, Segmenter};
use super::{Event, Reason, Stats};
use crate::backoff::{Backoff, Random};
use crate::gap::Cause;
use crate::rtsp::{CameraAddress, Frame, Framer, Session, SessionConfig, SessionEvent};
use crate::time::{Instant, Ticks};

/// What the configuration says of one camera.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// Where and as whom.
    pub session: SessionConfig,
    /// When to cut.
    pub cutting: Cutting,
    /// `state` is `Active`.
    pub active: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection asked for by [`Output::Connect`] is there.
    Connected,
    /// It could not be made, or it ended.
    Disconnected(Reason),
    /// Bytes came; at most [`BLOCK_SIZE`](crate::limits::BLOCK_SIZE) at once.
    Received(&'a [u8]),
    /// Time has passed.
    Timeout,
    /// Record no more: end the segment, say goodbye to the camera. For good. With a cause, what
    /// is missing from here on has that cause; without, `cvr` itself ends.
    Stop(Option<Cause>),
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Connect to this host and port.
    Connect(String, u16),
    /// Close the connection.
    Disconnect,
    /// Send these bytes to the camera.
    Send(Vec<u8>),
    /// For the flash thread.
    Segment(segmenter::Output),
    /// Video is missing from here on: the flash thread notes it, should power fail meanwhile.
    Away(Ticks, Cause),
    /// For log, state and events.
    Event(Event),
    /// Nothing more: come back with [`Input::Timeout`] at this time, or earlier with another.
    Timeout(Instant),
}

/// One camera's recorder.
#[derive(Debug)]
pub struct Recorder {
    config: RecorderConfig,
    pool: Rc<RefCell<Pool>>,
    now: Instant,
    state: State,
    framer: Framer,
    segmenter: Segmenter,
    backoff: Backoff,
    random: Random,
    output: VecDeque<Output>,
    /// What the last [`Output::Away`] said, until a picture is recorded again.
    away: Option<Cause>,
    stats: Stats,
}

#[derive(Debug)]
enum State {
    /// Not recording, until the next start.
    Stopped,
    /// Between two attempts.
    Waiting { until: Instant },
    /// [`Output::Connect`] was given.
    Connecting { session: Box<Session> },
    /// The session is being set up, or plays.
    Connected {
        session: Box<Session>,
        /// There once it plays; until then the session's own timeouts hold.
        media: Option<Box<Media>>,
    },
}

/// Nothing to wait for: the caller comes back by itself.
const IDLE: Duration = Duration::from_secs(3600);

impl Recorder {
    /// A recorder that connects at its first input. What is missing before the first picture
    /// has cause `cause`.
    pub fn new(
        config: RecorderConfig,
        pool: Rc<RefCell<Pool>>,
        now: Instant,
        cause: Cause,
        seed: u64,
    ) -> Self {
        let mut segmenter = Segmenter::new(config.cutting, cause);
        let mut output = VecDeque::with_capacity(8);
        let mut state = State::Waiting { until: now };
        if !config.active {
            state = State::Stopped;
            segmenter.lose(now.ticks(), Cause::Inactive);
            output.push_back(Output::Away(now.ticks(), Cause::Inactive));
        }
        Self {
            segmenter,
            config,
            pool,
            now,
            state,
            framer: Framer::new(),
            backoff: Backoff::camera(),
            random: Random::new(seed),
            output,
            away: None,
            stats: Stats::default(),
        }
    }

    /// Takes one input in. Poll all outputs before the next.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Connected => self.connected(),
            Input::Disconnected(reason) => self.disconnected(reason),
            Input::Received(data) => self.received(data),
            Input::Timeout => self.timeout(),
            Input::Stop(cause) => self.leave(cause),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.segmenter.poll_output() {
                return Output::Segment(output);
            }
            if let Some(output) = self.output.pop_front() {
                return output;
            }
            if !self.advance() {
                return Output::Timeout(self.deadline());
            }
        }
    }

    /// Applies a changed configuration. One that changes where the camera is found reconnects.
    pub fn reconfigure(&mut self, now: Instant, config: RecorderConfig) {
        self.now = now;
        self.segmenter.set_cutting(config.cutting);
        let moved = self.config.session != config.session;
        let (was, is) = (self.config.active, config.active);
        self.config = config;
        match (was, is) {
            (true, false) => {
                self.leave(Some(Cause::Inactive));
                self.tell(Event::Inactive);
            }
            (false, true) => {
                self.backoff.reset();
                self.state = State::Waiting { until: now };
            }
            (true, true) if moved => {
                self.leave(Some(Cause::Restarted));
                self.backoff.reset();
                self.state = State::Waiting { until: now };
            }
            _ => {}
        }
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// One step: a transmission, an event, or one packet. False: nothing was left to do.
    fn advance(&mut self) -> bool {
        let State::Connected { session, media } = &mut self.state else {
            return false;
        };
        if let Some(bytes) = session.poll_transmit() {
            self.output.push_back(Output::Send(bytes));
            return true;
        }
        if let Some(event) = session.poll_event() {
            self.session_event(event);
            return true;
        }
        let result = match self.framer.next() {
            Ok(None) => return false,
            Ok(Some(Frame::Interleaved { channel, data })) => {
                self.stats.packets += 1;
                if let Some(media) = media {
                    let pool = &mut self.pool.borrow_mut();
                    let outcome = media.packet(self.now, channel, data, &mut self.segmenter, pool);
                    self.stats.lost_packets += u64::from(outcome.lost);
                    if outcome.recorded {
                        self.backoff.reset();
                        self.away = None;
                    }
                    self.output.extend(outcome.event.map(Output::Event));
                }
                return true;
            }
            Ok(Some(Frame::Response(response))) => session.handle_response(self.now, &response),
            Ok(Some(Frame::Request(request))) => session.handle_request(&request),
            Err(error) => {
                self.lose(Reason::Framer(error));
                return true;
            }
        };
        if let Err(error) = result {
            self.lose(Reason::Session(error));
        }
        true
    }

    fn connected(&mut self) {
        self.framer.reset();
        let State::Connecting { mut session } = core::mem::replace(&mut self.state, State::Stopped)
        else {
            return;
        };
        session.connected(self.now);
        self.state = State::Connected {
            session,
            media: None,
        };
        self.tell(Event::Connected);
    }

    fn disconnected(&mut self, reason: Reason) {
        if !matches!(self.state, State::Stopped | State::Waiting { .. }) {
            self.lose(reason);
        }
    }

    fn received(&mut self, data: &[u8]) {
        self.stats.bytes += data.len() as u64;
        if let State::Connected { .. } = &self.state {
            let taken = self.framer.feed(data);
            assert!(
                taken == data.len(),
                "the framer is drained before it is fed"
            );
        }
    }

    fn timeout(&mut self) {
        match &mut self.state {
            State::Waiting { until } if *until <= self.now => {
                let session = Box::new(Session::new(self.config.session.clone()));
                self.output.push_back(connect_to(session.address()));
                self.state = State::Connecting { session };
            }
            State::Connected {
                media: Some(media), ..
            } if media.is_silent(self.now) => self.lose(Reason::Silent),
            State::Connected { session, media } => {
                if let Err(error) = session.handle_timeout(self.now) {
                    self.lose(Reason::Session(error));
                } else if let Some(media) = media {
                    let reports = media.poll_reports(self.now);
                    self.output.extend(reports.map(Output::Send));
                }
            }
            _ => {}
        }
        let pool = &mut self.pool.borrow_mut();
        self.segmenter.handle_timeout(self.now, pool);
    }

    /// Records no more: ends the session, if there is one, by our own will.
    fn leave(&mut self, cause: Option<Cause>) {
        self.finish_media();
        match core::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped | State::Waiting { .. } => {}
            State::Connecting { .. } => self.output.push_back(Output::Disconnect),
            State::Connected { mut session, .. } => {
                session.teardown(self.now);
                while let Some(bytes) = session.poll_transmit() {
                    self.output.push_back(Output::Send(bytes));
                }
                self.output.push_back(Output::Disconnect);
            }
        }
        match cause {
            Some(cause) => self.away(cause),
            None => self.segmenter.finish(&mut self.pool.borrow_mut()),
        }
    }

    /// The session broke: seal what is there, try again later.
    fn lose(&mut self, reason: Reason) {
        self.stats.reconnects += u64::from(self.finish_media());
        self.output.push_back(Output::Disconnect);
        self.away(Cause::CameraDisconnected);
        let wait = self.backoff.failed(&mut self.random);
        let until = self.now + wait;
        self.state = State::Waiting { until };
        self.tell(Event::Lost { reason, wait });
    }

    /// The session's last access unit is complete. False: it did not play.
    fn finish_media(&mut self) -> bool {
        let State::Connected {
            media: Some(media), ..
        } = &mut self.state
        else {
            return false;
        };
        let pool = &mut self.pool.borrow_mut();
        media.finish(self.now, &mut self.segmenter, pool);
        true
    }

    /// No video from here on.
    fn away(&mut self, cause: Cause) {
        self.segmenter.finish(&mut self.pool.borrow_mut());
        let at = self.now.ticks();
        self.segmenter.lose(at, cause);
        // Each one costs a write to flash: a camera that stays away is told once.
        if self.away.replace(cause) != Some(cause) {
            self.output.push_back(Output::Away(at, cause));
        }
    }

    fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Described { sdp } => self.tell(Event::Described { sdp }),
            SessionEvent::TrackIgnored { codec, reason, .. } => {
                self.tell(Event::TrackIgnored { codec, reason });
            }
            SessionEvent::Redirected => self.redirected(),
            SessionEvent::Playing { tracks } => {
                if let State::Connected { media, .. } = &mut self.state {
                    let channels = tracks.iter().flat_map(|t| [t.rtp_channel, t.rtcp_channel]);
                    self.framer.set_channels(channels);
                    let new = Media::new(self.now, &tracks, self.segmenter.end());
                    *media = Some(Box::new(new));
                    self.tell(Event::Playing { tracks });
                }
            }
        }
    }

    /// The same session goes on at another address.
    fn redirected(&mut self) {
        if self.finish_media() {
            self.away(Cause::CameraDisconnected);
        }
        if let State::Connected { session, .. } =
            core::mem::replace(&mut self.state, State::Stopped)
        {
            self.output.push_back(Output::Disconnect);
            self.output.push_back(connect_to(session.address()));
            self.state = State::Connecting { session };
        }
    }

    fn tell(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    fn deadline(&self) -> Instant {
        let own = match &self.state {
            State::Stopped | State::Connecting { .. } => self.now + IDLE,
            State::Waiting { until } => *until,
            State::Connected { session, media } => {
                let playing = media.as_ref().map(|media| media.poll_timeout());
                let both = [session.poll_timeout(), playing].into_iter().flatten();
                both.min().unwrap_or(self.now + IDLE)
            }
        };
        self.segmenter.poll_timeout().map_or(own, |at| at.min(own))
    }
}

fn connect_to(address: &CameraAddress) -> Output {
    Output::Connect(address.host().to_owned(), address.port())
}

#[cfg(test)]
mod tests;
