//! The time from the container's host, where nobody sets the system's clock: many networks block
//! NTP, and without the time no certificate can be judged and no video sent.
//!
//! One TLS request, for nothing and without the SAS, to the host alone. Its certificates are
//! judged at the time of the answer's own `Date`: who answers holds the key of a certificate for
//! the host that is good at that time, which lies neither before this version of `cvr` nor before
//! what the rings know.

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::clock::{Clock, EARLIEST};
use super::https::{CertificatesError, Client, Timeouts, Tls, TrustedCertificates};
use super::shared::Shared;
use crate::blob::sas::ContainerUrl;
use crate::blob::verdict::Answer;
use crate::host_time::{has_drifted, parse_date};
use crate::time::{ClockQuality, Instant, Ticks, UtcMillis, UtcOffset};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Host {
    /// The container on it.
    pub container: ContainerUrl,
    /// Whom to trust.
    pub trusted: TrustedCertificates,
}

/// The thread that asks.
pub struct HostTime {
    clock: Clock,
    shared: Arc<Shared>,
    host: Host,
    changes: Receiver<Host>,
    /// When to ask; none while the clock needs no asking.
    ask_at: Option<Instant>,
}

/// NTP has so long to set the clock, and the network to come up.
const FIRST: Duration = if cfg!(feature = "short-segments") {
    Duration::from_secs(6)
} else {
    Duration::from_secs(180)
};

/// After a failure.
const AGAIN: Duration = if cfg!(feature = "short-segments") {
    Duration::from_secs(6)
} else {
    Duration::from_secs(300)
};

/// After a success: a crystal is off by some seconds a day.
const DRIFT: Duration = Duration::from_secs(6 * 3600);

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An answer that took longer is too wrong to set a clock by; without a progress for so long it
/// is given up.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Half of the second to which `Date` is floored.
const HALF_SECOND: i64 = 500;

impl HostTime {
    /// A thread that asks `host`, and what comes over `changes` later.
    pub fn new(clock: Clock, shared: Arc<Shared>, host: Host, changes: Receiver<Host>) -> Self {
        Self {
            clock,
            shared,
            host,
            changes,
            ask_at: None,
        }
    }

    /// Works as long as the process lives.
    pub fn run(mut self) {
        loop {
            match self.changes.recv_timeout(LOOK) {
                Ok(host) => self.host = host,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.clock.now();
            let pause = match self.clock.utc_offset().1 {
                ClockQuality::Synchronized => {
                    self.ask_at = None;
                    continue;
                }
                ClockQuality::Unsynchronized => FIRST,
                ClockQuality::Corrected => DRIFT,
            };
            if now < *self.ask_at.get_or_insert(now + pause) {
                continue;
            }
            let pause = match self.ask() {
                Ok(()) => DRIFT,
                Err(error) => {
                    log::warn!("no time from {}: {error}", self.host.container.host_url());
                    AGAIN
                }
            };
            self.ask_at = Some(self.clock.now() + pause);
        }
    }

    fn ask(&self) -> Result<(), HostTimeError> {
        let offset = ask(&self.host, self.clock, self.shared.newest())?;
        let before = self.clock.told();
        if before.is_some_and(|before| !has_drifted(offset, before)) {
            return Ok(());
        }
        // It may have been set while the host was asked.
        if self.clock.utc_offset().1 == ClockQuality::Synchronized {
            return Ok(());
        }
        self.clock.tell(offset);
        let host = self.host.container.host_url();
        log::info!("{host} says that it is {}", self.clock.utc_now());
        if let Err(error) = self.clock.set_system()
            && before.is_none()
        {
            log::warn!(
                "the system's clock cannot be set ({}): video, uploads and certificates go by \
                 the host's time, the log by the system's",
                error.desc()
            );
        }
        Ok(())
    }
}

/// Why there is no time from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostTimeError {
    /// Without TLS anyone could answer.
    NotEncrypted,
    /// The trusted certificates cannot be used.
    Certificates(CertificatesError),
    /// There was no answer.
    NoAnswer(Answer),
    /// It took longer than [`ANSWER_MAX`].
    Slow(Duration),
    /// There is no `Date` in it, or none that can be read.
    NoDate,
    /// Its `Date` lies before a time that has passed for certain.
    Passed {
        /// What it says.
        date: UtcMillis,
        /// What has passed.
        known: UtcMillis,
    },
    /// Its certificates are not good at that time; the TLS library's words.
    NotTrusted {
        /// What it says.
        date: UtcMillis,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for HostTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEncrypted => f.write_str("only a host with https:// is asked"),
            Self::Certificates(error) => write!(f, "trustedCertificatesPath: {error}"),
            Self::NoAnswer(answer) => write!(f, "no answer: {answer:?}"),
            Self::Slow(took) => write!(f, "the answer took {} s", took.as_secs()),
            Self::NoDate => f.write_str("no Date in its answer"),
            Self::Passed { date, known } => {
                write!(f, "it says {date}, but it is later than {known}")
            }
            Self::NotTrusted { date, why } => {
                write!(
                    f,
                    "it says {date}, when its certificates are not good: {why}"
                )
            }
        }
    }
}

impl std::error::Error for HostTimeError {}

/// UTC of tick 0 as `host` has it; `newest` is the newest time that is known to have passed.
///
/// # Errors
///
/// There is no answer, or it is not to be believed.
pub fn ask(
    host: &Host,
    clock: Clock,
    newest: Option<UtcMillis>,
) -> Result<UtcOffset, HostTimeError> {
    let url = host.container.host_url();
    if !url.starts_with("https://") {
        return Err(HostTimeError::NotEncrypted);
    }
    let (tls, chain) = Tls::judged_later(&host.trusted).map_err(HostTimeError::Certificates)?;
    let timeouts = Timeouts {
        connect: ANSWER_MAX,
        progress: ANSWER_MAX,
    };
    let begun = clock.now();
    let date = Client::over(tls, timeouts).date(url);
    let now = clock.now();
    let date = date.map_err(HostTimeError::NoAnswer)?;
    let date = date.as_deref().and_then(parse_date);
    let date = date.ok_or(HostTimeError::NoDate)?;
    let took = now.since(begun);
    if took > ANSWER_MAX {
        return Err(HostTimeError::Slow(took));
    }
    let known = newest.unwrap_or(EARLIEST).max(EARLIEST);
    if date < known {
        return Err(HostTimeError::Passed { date, known });
    }
    chain.judge(date).map_err(|why| HostTimeError::NotTrusted {
        date,
        why: why.to_string(),
    })?;
    Ok(offset_at(UtcMillis(date.0 + HALF_SECOND), now))
}

/// UTC of tick 0, from that of `now`.
fn offset_at(utc: UtcMillis, now: Instant) -> UtcOffset {
    let Ticks(since_start) = now.ticks();
    UtcOffset(
        utc.0
            .saturating_mul(90)
            .saturating_sub_unsigned(since_start),
    )
}
