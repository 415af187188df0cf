//! The time from the container's host, where nobody sets the system's clock: many networks block
//! NTP, and without the time no certificate can be judged and no video sent.
//!
//! One TLS request, for nothing and without the SAS, to the host alone. Its certificates are
//! judged at the time of the answer's own `Date`: who answers holds the key of a certificate for
//! the host that is good at that time, which lies neither before this version of `cvr` nor before
//! what the rings know.

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::clock::{Clock, EARLIEST};
use super::flash_thread::FlashMessage;
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
    flash: SyncSender<FlashMessage>,
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
    pub fn new(
        clock: Clock,
        shared: Arc<Shared>,
        flash: SyncSender<FlashMessage>,
        host: Host,
        changes: Receiver<Host>,
    ) -> Self {
        Self {
            clock,
            shared,
            flash,
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
        // Before a certificate is good by this time the rings know it, and no segment gets a name
        // of 1970 any more.
        let message = FlashMessage::Clock(offset, ClockQuality::Corrected);
        if self.flash.send(message).is_err() {
            log::error!("the flash thread has ended");
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
    /// It took so long that a clock set by it would be wrong.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};

    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};

    /// In the year in which the server's certificate is good.
    const GOOD: &str = "Sat, 15 Jun 2030 12:00:00 GMT";

    /// Who signs, from 2020 to 2040.
    fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        (params.self_signed(&key).unwrap(), Issuer::new(params, key))
    }

    /// A certificate for `name`, good in 2030, and a key that signs: its own, or another.
    #[derive(Debug)]
    struct Identity(Arc<CertifiedKey>);

    impl Identity {
        fn new(name: &str, issuer: &Issuer<'_, KeyPair>, own_key: bool) -> Self {
            let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_before = date_time_ymd(2030, 1, 1);
            params.not_after = date_time_ymd(2031, 1, 1);
            let certificate = params.signed_by(&key, issuer).unwrap();
            let signs = if own_key { key } else { other };
            let signs = PrivateKeyDer::try_from(signs.serialize_der()).unwrap();
            let signs = ring::sign::any_supported_type(&signs).unwrap();
            let chain = vec![certificate.der().clone()];
            Self(Arc::new(CertifiedKey::new(chain, signs)))
        }
    }

    impl ResolvesServerCert for Identity {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// Answers one request with `headers`; what it was asked comes back.
    fn server(
        identity: Identity,
        version: &'static SupportedProtocolVersion,
        headers: String,
    ) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "https://{}/account/container?sp=c&sig=secret",
            listener.local_addr().unwrap()
        );
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        let serve = move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let answer = format!("HTTP/1.1 400 Bad Request\r\n{headers}Content-Length: 9\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8(head).unwrap()
        };
        (url, spawn(serve))
    }

    fn host(url: &str, trusted: &Certificate) -> Host {
        Host {
            container: ContainerUrl::parse(url).unwrap(),
            trusted: TrustedCertificates::Pem(trusted.pem().into()),
        }
    }

    fn date(text: &str) -> String {
        format!("Date: {text}\r\n")
    }

    #[test]
    fn a_date_at_which_the_certificates_are_good_is_the_time() {
        let (root, issuer) = authority();
        let clock = Clock::start();
        for version in [&version::TLS12, &version::TLS13] {
            let identity = Identity::new("127.0.0.1", &issuer, true);
            let (url, served) = server(identity, version, date(GOOD));
            let newest = UtcMillis::parse("2030-06-15");
            let offset = ask(&host(&url, &root), clock, newest).unwrap();
            let late = offset.utc(clock.now().ticks()).0 - parse_date(GOOD).unwrap().0;
            assert!((HALF_SECOND..HALF_SECOND + 5000).contains(&late), "{late}");
            let head = served.join().unwrap();
            assert!(head.starts_with("HEAD / HTTP/1.1\r\n"), "{head}");
            for secret in ["sig", "secret", "account", "container"] {
                assert!(!head.contains(secret), "{head}");
            }
        }
    }

    #[test]
    fn what_is_not_to_be_believed() {
        let (root, issuer) = authority();
        let (other_root, _) = authority();
        let (here, own) = ("127.0.0.1", true);
        let not_good = |error: &HostTimeError| matches!(error, HostTimeError::NotTrusted { .. });
        let passed = |error: &HostTimeError| matches!(error, HostTimeError::Passed { .. });
        let no_date = |error: &HostTimeError| *error == HostTimeError::NoDate;
        let no_answer =
            |error: &HostTimeError| matches!(error, HostTimeError::NoAnswer(Answer::TlsFailed(_)));
        let expired = "Sun, 15 Jun 2031 12:00:00 GMT";
        let not_yet = "Fri, 15 Jun 2029 12:00:00 GMT";
        let before_cvr = "Sat, 31 Oct 2026 23:59:59 GMT";
        let before_newest = "Thu, 23 May 2030 12:00:00 GMT";
        type Judge<'a> = &'a dyn Fn(&HostTimeError) -> bool;
        for (name, own_key, headers, trusted, expected) in [
            (here, own, date(expired), &root, &not_good as Judge<'_>),
            (here, own, date(not_yet), &root, &not_good),
            (here, own, date(GOOD), &other_root, &not_good),
            ("127.0.0.2", own, date(GOOD), &root, &not_good),
            (here, own, date(before_cvr), &root, &passed),
            (here, own, date(before_newest), &root, &passed),
            (here, own, String::new(), &root, &no_date),
            (here, own, date("tomorrow"), &root, &no_date),
            (here, !own, date(GOOD), &root, &no_answer),
        ] {
            let identity = Identity::new(name, &issuer, own_key);
            let (url, served) = server(identity, &version::TLS13, headers.clone());
            let newest = UtcMillis::parse("2030-05-24");
            let newest = newest.filter(|_| headers == date(before_newest));
            let error = ask(&host(&url, trusted), Clock::start(), newest).unwrap_err();
            assert!(expected(&error), "{headers}: {error}");
            served.join().unwrap();
        }
    }

    #[test]
    fn without_tls_nobody_is_asked() {
        let host = Host {
            container: ContainerUrl::parse("http://127.0.0.1:9/account/abc?sig=x").unwrap(),
            trusted: TrustedCertificates::BuiltIn,
        };
        let error = ask(&host, Clock::start(), None).unwrap_err();
        assert_eq!(error, HostTimeError::NotEncrypted);
        let broken = Host {
            container: ContainerUrl::parse("https://127.0.0.1:9/account/abc?sig=x").unwrap(),
            trusted: TrustedCertificates::Pem(Vec::new()),
        };
        let error = ask(&broken, Clock::start(), None).unwrap_err();
        let none = HostTimeError::Certificates(CertificatesError::None);
        assert_eq!(error, none);
    }

    #[test]
    fn a_time_becomes_an_offset_and_back() {
        let (utc, now) = (UtcMillis(1_900_000_000_500), Instant::from_millis(12_345));
        assert_eq!(offset_at(utc, now).utc(now.ticks()), utc);
    }
}
