//! What a session sends: its requests, one under way at a time, and answers to the camera's.

use core::time::Duration;
use std::collections::VecDeque;

use url::Url;

use super::auth::{Attempt, AuthError, Authenticator, Credentials};
use super::headers::SessionHeader;
use super::message::{self, Request, Response};
use super::step::Step;
use crate::time::Instant;

/// Time for the answer to a request before playing.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers to the camera's requests that may wait to be sent; further requests are passed over.
pub(super) const ANSWERS_MAX: usize = 16;

/// Some cameras refuse requests without it (go2rtc#235).
pub(super) const USER_AGENT: &str = concat!("cvr/", env!("CARGO_PKG_VERSION"));

/// The camera's requests that are answered with 200.
const ANSWERED: [&str; 6] = [
    "OPTIONS",
    "GET_PARAMETER",
    "SET_PARAMETER",
    "ANNOUNCE",
    "REDIRECT",
    "TEARDOWN",
];

/// The sending side of one session.
pub(super) struct Outgoing {
    authenticator: Authenticator,
    cseq: u32,
    pending: Option<Pending>,
    header: Option<SessionHeader>,
    waiting: VecDeque<Vec<u8>>,
}

/// The request under way.
pub(super) struct Pending {
    pub(super) step: Step,
    pub(super) deadline: Instant,
    cseq: u32,
    url: Url,
    attempt: Attempt,
}

impl Outgoing {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self {
            authenticator: Authenticator::new(credentials),
            cseq: 0,
            pending: None,
            header: None,
            waiting: VecDeque::new(),
        }
    }

    /// Drops what waits: it was meant for another connection.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Begins a new session elsewhere, with `same_server` or with one that must not learn the
    /// credentials.
    pub(super) fn restart(&mut self, same_server: bool) {
        if !same_server {
            self.authenticator.forget();
        }
        self.pending = None;
        self.header = None;
    }

    /// The oldest bytes that wait.
    pub(super) fn poll(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    pub(super) fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The Session header of the camera, kept from its first answer on.
    pub(super) fn header(&self) -> Option<&SessionHeader> {
        self.header.as_ref()
    }

    /// Takes the Session header of an answer. "H264DVR 1.0" names another session in each: the
    /// first one is meant.
    pub(super) fn keep_header(&mut self, response: &Response) {
        if self.header.is_none() {
            self.header = response.header("Session").and_then(SessionHeader::parse);
        }
    }

    /// The session is over.
    pub(super) fn drop_header(&mut self) {
        self.header = None;
    }

    pub(super) fn send(&mut self, now: Instant, step: Step, url: Url) {
        self.send_as(now, step, url, self.authenticator.first_attempt());
    }

    /// Sends the request again that a 401 with this WWW-Authenticate header answered.
    pub(super) fn send_again(
        &mut self,
        now: Instant,
        refused: Pending,
        challenge: Option<&str>,
    ) -> Result<(), AuthError> {
        self.authenticator.challenge(challenge, refused.attempt)?;
        self.send_as(now, refused.step, refused.url, refused.attempt.next());
        Ok(())
    }

    /// The request that `response` answers; it is no longer under way.
    pub(super) fn take_answered(&mut self, response: &Response) -> Option<Pending> {
        self.pending.take_if(|pending| {
            // An answer without CSeq can only be meant for this request.
            response.status >= 200 && response.cseq().is_none_or(|cseq| cseq == pending.cseq)
        })
    }

    /// The request that was not answered in time; it is no longer under way.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Pending> {
        self.pending.take_if(|pending| pending.deadline <= now)
    }

    /// Answers a request of the camera; false if too many answers wait.
    pub(super) fn answer(&mut self, request: &Request) -> bool {
        if self.waiting.len() >= ANSWERS_MAX {
            return false;
        }
        let known = |method: &&str| method.eq_ignore_ascii_case(&request.method);
        let method = ANSWERED.iter().copied().find(known);
        let status = if method.is_some() { 200 } else { 501 };
        let public = (method == Some("OPTIONS")).then(|| ANSWERED.join(", "));
        let bytes = message::response(request, status, public.as_deref());
        self.waiting.push_back(bytes);
        true
    }

    fn send_as(&mut self, now: Instant, step: Step, url: Url, attempt: Attempt) {
        self.cseq += 1;
        let authorization = self
            .authenticator
            .authorization(step.method(), url.as_str());
        let transport = step.transport();
        let mut headers = vec![("User-Agent", USER_AGENT)];
        headers.extend(authorization.as_deref().map(|it| ("Authorization", it)));
        headers.extend(self.header.as_ref().map(|it| ("Session", it.id.as_str())));
        headers.extend(transport.as_deref().map(|it| ("Transport", it)));
        headers.extend(step.header());
        let bytes = message::request(step.method(), &url, self.cseq, &headers);
        self.waiting.push_back(bytes);
        self.pending = Some(Pending {
            step,
            deadline: now + REQUEST_TIMEOUT,
            cseq: self.cseq,
            url,
            attempt,
        });
    }
}
