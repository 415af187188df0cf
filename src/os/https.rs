//! The HTTPS client of the upload thread: a thin wrapper over ureq, blocking.
//!
//! One request at a time on a kept connection. No time is limited in total while a body is sent:
//! a connection is given up when nothing moved for the progress timeout. Every way in which a
//! request can end is an [`Answer`].

mod link;
mod tls;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, NextTimeout};
use ureq::{Agent, AsSendBody, Body, Error, SendBody};

use self::link::{Dial, Link, Sending, Watch};
pub(in crate::os) use self::tls::Tls;
use super::clock::Clock;
use crate::blob::headers::{Headers, probe_headers};
use crate::blob::verdict::{ANSWER_BODY_MAX, Answer, Reply};

/// Bytes of ureq's buffers, in each direction.
const BUFFER: usize = 16 * 1024;

/// Longest head of an answer, bytes; less than [`BUFFER`].
const HEAD_MAX: usize = 8 * 1024;

/// A connection idle for longer is not used again: Azurite closes it after 5 s.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Longest time for all of TCP and TLS, however many addresses there are.
const CONNECT_MAX: Duration = Duration::from_secs(300);

/// Which certificates a server's must come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedCertificates {
    /// The public roots built into the program.
    BuiltIn,
    /// Those of a PEM file, and no others.
    Pem(Vec<u8>),
}

/// A PEM file that cannot be used for trusted certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificatesError {
    /// The n-th item, from 1, is broken.
    Broken(usize),
    /// There is no certificate in it.
    None,
    /// No certificate in it can be used to judge others.
    Unusable,
}

impl core::fmt::Display for CertificatesError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Broken(n) => write!(f, "item {n} of the PEM file is broken"),
            Self::None => f.write_str("there is no certificate in the PEM file"),
            Self::Unusable => f.write_str("no certificate in the PEM file can be used"),
        }
    }
}

impl core::error::Error for CertificatesError {}

/// How long to wait before a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For each address of the host.
    pub connect: Duration,
    /// Without a byte of progress, in either direction; and for an answer's head and body, each.
    pub progress: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            progress: Duration::from_secs(60),
        }
    }
}

/// A client with one connection.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    link: Arc<Link>,
}

impl Client {
    /// A client that trusts `trusted`, by the time of `clock`; connects nowhere yet.
    pub fn new(
        trusted: &TrustedCertificates,
        timeouts: Timeouts,
        clock: Clock,
    ) -> Result<Self, CertificatesError> {
        Ok(Self::over(Tls::new(trusted, clock)?, timeouts))
    }

    /// A client whose certificates `tls` judges.
    pub(in crate::os) fn over(tls: Tls, timeouts: Timeouts) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("cvr/", env!("CARGO_PKG_VERSION")))
            .accept_encoding(AutoHeaderValue::None)
            .max_response_header_size(HEAD_MAX)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE_MAX)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(timeouts.progress))
            .timeout_recv_body(Some(timeouts.progress))
            .build();
        let link = Arc::new(Link::default());
        let dial = Dial {
            link: Arc::clone(&link),
            connect_timeout: timeouts.connect,
            progress_timeout: timeouts.progress,
        };
        let watch = Watch {
            link: Arc::clone(&link),
        };
        let connector = ().chain(dial).chain(tls).chain(watch);
        let agent = Agent::with_parts(config, connector, Names(DefaultResolver::default()));
        Self { agent, link }
    }

    /// Puts `length` bytes of `body` to `url`, a secret. `Content-Length` is always `length`.
    ///
    /// An error or an early end of `body` closes the connection in mid-body.
    pub fn put(
        &mut self,
        url: &str,
        headers: &Headers,
        length: u64,
        body: &mut dyn Read,
    ) -> Answer {
        let mut request = Request::put(url).header("Content-Length", length);
        for (name, value) in headers {
            if !name.eq_ignore_ascii_case("Content-Length") {
                request = request.header(*name, value);
            }
        }
        self.link.begin();
        let mut body = Sender {
            body,
            left: length,
            sent: 0,
            failed: false,
            link: &self.link,
        };
        let result = request.body(SendBody::from_reader(&mut body));
        let result = result.map_err(Error::Http).and_then(|r| self.run(r));
        let (sent, failed) = (body.sent, body.failed);
        match result {
            Ok(mut response) => Answer::Reply(reply(&mut response)),
            Err(_) if failed && !self.link.is_cancelled() => Answer::Aborted { sent },
            Err(error) => self.broken(&error, sent),
        }
    }

    /// An empty Put to `url`, which must be that of a name never used for video.
    pub fn probe(&mut self, url: &str) -> Answer {
        self.put(url, &probe_headers(), 0, &mut io::empty())
    }

    /// Gets `url`, a secret: the answer, and its body if that has at most `max` bytes.
    pub fn get(&mut self, url: &str, headers: &Headers, max: usize) -> (Answer, Option<Vec<u8>>) {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.link.begin();
        let result = request.body(()).map_err(Error::Http);
        let mut response = match result.and_then(|r| self.run(r)) {
            Ok(response) => response,
            Err(error) => return (self.broken(&error, 0), None),
        };
        if response.status() != 200 {
            return (Answer::Reply(reply(&mut response)), None);
        }
        let mut body = Vec::new();
        let reader = response.body_mut().as_reader();
        match reader.take(max as u64 + 1).read_to_end(&mut body) {
            Ok(n) if n <= max => (Answer::Reply(Reply::new(200, None, None, b"")), Some(body)),
            Ok(_) => (Answer::NotHttp, None),
            Err(error) => (self.broken(&error.into(), 0), None),
        }
    }

    /// The `Date` of the answer to a HEAD of `url`, where it has one.
    pub(in crate::os) fn date(&self, url: &str) -> Result<Option<String>, Answer> {
        self.link.begin();
        let request = Request::head(url).body(()).map_err(Error::Http);
        match request.and_then(|request| self.run(request)) {
            Ok(response) => {
                let date = response.headers().get("date");
                Ok(date.and_then(|date| date.to_str().ok()).map(str::to_owned))
            }
            Err(error) => Err(self.broken(&error, 0)),
        }
    }

    /// A handle by which another thread ends the request under way.
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.link))
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, Error> {
        if self.link.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        self.agent.run(request)
    }

    /// What ended a request without an answer.
    fn broken(&self, error: &Error, sent: u64) -> Answer {
        match (error, self.link.sending()) {
            _ if self.link.is_cancelled() => Answer::Cancelled { sent },
            (Error::HostNotFound, _) => Answer::NameNotFound,
            (Error::Rustls(why), _) => Answer::TlsFailed(why.to_string()),
            (Error::Tls(why), _) => Answer::TlsFailed((*why).to_owned()),
            // So rustls tells what it has against the server.
            (Error::Io(why), Sending::Open) if why.kind() == io::ErrorKind::InvalidData => {
                Answer::TlsFailed(why.to_string())
            }
            (_, Sending::Stalled) => Answer::Stalled { sent },
            (Error::Timeout(_), Sending::Open) => Answer::Stalled { sent },
            (Error::Protocol(_) | Error::LargeResponseHeader(..), _) => Answer::NotHttp,
            (_, Sending::Idle) => Answer::NotConnected,
            _ => Answer::Reset { sent },
        }
    }
}

/// Ends the request under way, from another thread.
#[derive(Clone, Debug)]
pub struct Canceller(Arc<Link>);

impl Canceller {
    /// Ends the request under way at once, and every later one until [`Canceller::rearm`].
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Allows requests again. To be called before the caller looks what to send, where and how:
    /// a cancel for what changes after that look is not lost.
    pub fn rearm(&self) {
        self.0.rearm();
    }
}

/// The body on its way: exactly as long as announced, or an error.
struct Sender<'a> {
    body: &'a mut dyn Read,
    left: u64,
    sent: u64,
    failed: bool,
    link: &'a Link,
}

impl Read for Sender<'_> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.link.begin_body();
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(piece.len());
        if self.link.is_over() && !self.link.is_cancelled() {
            // Nothing is written any more; ureq must reach the end to read the answer.
            self.left -= room as u64;
            return Ok(room);
        }
        let piece = piece.get_mut(..room).unwrap_or_default();
        let read = if self.link.is_cancelled() {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else if piece.is_empty() {
            Ok(0)
        } else {
            // ureq would ask for ever after an early end.
            self.body.read(piece).and_then(|n| match n {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            })
        };
        match read {
            Ok(n) => {
                (self.left, self.sent) = (self.left - n as u64, self.sent + n as u64);
                Ok(n)
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}

/// Resolves names as the system does, and tells that apart from a failed connection.
#[derive(Debug)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let resolved = self.0.resolve(uri, config, timeout);
        resolved.map_err(|_| Error::HostNotFound)
    }
}

/// Status, code and the first bytes of the body. The connection is kept only if that is all.
fn reply(response: &mut Response<Body>) -> Reply {
    let mut body = Vec::new();
    let mut reader = response.body_mut().as_reader();
    // What could be read counts; the status is known anyway.
    let _ = (&mut reader)
        .take(ANSWER_BODY_MAX as u64)
        .read_to_end(&mut body);
    if body.len() < ANSWER_BODY_MAX {
        // Lets ureq see the end, and keep the connection.
        let _ = reader.read(&mut [0]);
    }
    let header = |name| response.headers().get(name)?.to_str().ok();
    let (code, after) = (header("x-ms-error-code"), header("retry-after"));
    Reply::new(response.status().as_u16(), code, after, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread::{JoinHandle, sleep, spawn};

    const MS: Duration = Duration::from_millis(1);

    /// More than the kernel's buffers on both sides hold.
    const LARGE: u64 = 32 * 1024 * 1024;

    const REFUSAL: &[u8] = b"HTTP/1.1 403 No\r\nx-ms-error-code: AuthenticationFailed\r\n\
        Content-Length: 0\r\n\r\n";
    const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

    /// A server for connections that `serve` handles one after the other.
    fn server<T: Send + 'static>(
        connections: usize,
        serve: impl Fn(&mut TcpStream) -> T + Send + 'static,
    ) -> (String, JoinHandle<Vec<T>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "http://{}/c/name?sig=secret",
            listener.local_addr().unwrap()
        );
        let serve = move || {
            let streams = listener.incoming().take(connections);
            streams.map(|stream| serve(&mut stream.unwrap())).collect()
        };
        (url, spawn(serve))
    }

    fn client(progress: Duration) -> Client {
        let timeouts = Timeouts {
            progress,
            ..Timeouts::default()
        };
        Client::new(&TrustedCertificates::BuiltIn, timeouts, Clock::start()).unwrap()
    }

    /// Reads a head, byte by byte.
    fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn refused(status: u16) -> Answer {
        Answer::Reply(Reply {
            status,
            ..Reply::default()
        })
    }

    fn forbidden() -> Answer {
        Answer::Reply(Reply::new(403, Some("AuthenticationFailed"), None, b""))
    }

    #[test]
    fn a_put_has_its_length_and_keeps_the_connection() {
        let (url, served) = server(1, |stream| {
            [5, 0].map(|length| {
                let head = head(stream);
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                stream.write_all(CREATED).unwrap();
                (head, body)
            })
        });
        let mut client = client(2000 * MS);
        let headers = vec![
            ("x-ms-blob-type", "BlockBlob".to_owned()),
            ("Content-Length", "7".to_owned()),
        ];
        assert_eq!(
            client.put(&url, &headers, 5, &mut &b"video and more"[..]),
            refused(201)
        );
        assert_eq!(client.probe(&url), refused(201));
        let [(head, body), (probe, _)] = &served.join().unwrap()[0];
        assert_eq!(body, b"video");
        assert!(
            head.starts_with("PUT /c/name?sig=secret HTTP/1.1\r\n"),
            "{head}"
        );
        let lower = head.to_lowercase();
        assert!(
            lower.contains("content-length: 5\r\n") && lower.contains("blockblob"),
            "{head}"
        );
        assert!(
            !lower.contains("transfer-encoding") && !lower.contains("expect"),
            "{head}"
        );
        assert!(
            probe.to_lowercase().contains("content-length: 0\r\n"),
            "{probe}"
        );
    }

    #[test]
    fn an_early_refusal_is_read_and_the_rest_is_not_sent() {
        // Closing with the body unread resets the connection; staying open lets it stall.
        for stays_open in [false, true] {
            let (url, served) = server(1, move |stream| {
                head(stream);
                stream.read_exact(&mut [0; 10_000]).unwrap();
                stream.write_all(REFUSAL).unwrap();
                if stays_open {
                    sleep(700 * MS);
                }
            });
            let mut body = io::repeat(0).take(LARGE);
            let answer = client(20_000 * MS).put(&url, &Headers::new(), LARGE, &mut body);
            assert_eq!(answer, forbidden());
            assert!(body.limit() > LARGE / 2, "{} bytes are left", body.limit());
            served.join().unwrap();
        }
    }

    #[test]
    fn a_reset_tells_how_much_was_sent() {
        let (url, served) = server(1, |stream| {
            head(stream);
            stream.read_exact(&mut [0; 10_000]).unwrap();
        });
        let mut body = io::repeat(0).take(LARGE);
        match client(2000 * MS).put(&url, &Headers::new(), LARGE, &mut body) {
            Answer::Reset { sent } => assert!((10_000..LARGE).contains(&sent), "{sent}"),
            other => panic!("{other:?}"),
        }
        served.join().unwrap();
    }

    #[test]
    fn a_stall_is_given_up_but_a_slow_server_is_not() {
        let stall = |stream: &mut TcpStream| {
            head(stream);
            sleep(1500 * MS);
        };
        let (url, served) = server(1, stall);
        let mut body = io::repeat(0).take(LARGE);
        match client(300 * MS).put(&url, &Headers::new(), LARGE, &mut body) {
            Answer::Stalled { sent } => assert!((1..LARGE).contains(&sent), "{sent}"),
            other => panic!("{other:?}"),
        }
        served.join().unwrap();

        let (url, served) = server(1, stall);
        let answer = client(300 * MS).put(&url, &Headers::new(), 5, &mut &b"video"[..]);
        assert_eq!(answer, Answer::Stalled { sent: 5 });
        assert!(answer.may_be_there(5));
        served.join().unwrap();

        let (url, served) = server(1, |stream| {
            head(stream);
            let mut left = LARGE;
            let mut piece = vec![0; 1024 * 1024];
            while left > 0 {
                sleep(50 * MS);
                stream.read_exact(&mut piece).unwrap();
                left -= 1024 * 1024;
            }
            stream.write_all(CREATED).unwrap();
        });
        let mut body = io::repeat(0).take(LARGE);
        let answer = client(600 * MS).put(&url, &Headers::new(), LARGE, &mut body);
        assert_eq!(answer, refused(201));
        served.join().unwrap();
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let (url, served) = server(1, |stream| {
            head(stream);
            let _ = stream.write_all(b"HTTP/1.1 201 Created\r\n");
            while stream.write_all(b"x-header: and another one\r\n").is_ok() {}
        });
        let answer = client(2000 * MS).put(&url, &Headers::new(), 0, &mut io::empty());
        assert_eq!(answer, Answer::NotHttp);
        served.join().unwrap();

        let (url, served) = server(2, |stream| {
            head(stream);
            let _ = stream.write_all(b"HTTP/1.1 500 Trouble\r\n\r\n");
            let _ = stream.write_all(b"<Error><Code>InternalError</Code>");
            for _ in 0..10_000 {
                let _ = stream.write_all(&[b' '; 1000]);
            }
        });
        let mut client = client(2000 * MS);
        for _ in 0..2 {
            let answer = client.put(&url, &Headers::new(), 0, &mut io::empty());
            let trouble = Reply::new(500, Some("InternalError"), None, b"");
            assert_eq!(answer, Answer::Reply(trouble));
        }
        served.join().unwrap();
    }

    #[test]
    fn a_dripping_answer_is_given_up() {
        let (url, served) = server(1, |stream| {
            head(stream);
            let _ = stream.write_all(b"HTTP/1.1 201 Created\r\nx: ");
            while stream.write_all(b"x").is_ok() {
                sleep(50 * MS);
            }
        });
        let answer = client(400 * MS).put(&url, &Headers::new(), 0, &mut io::empty());
        assert_eq!(answer, Answer::Stalled { sent: 0 });
        served.join().unwrap();
    }

    #[test]
    fn a_body_that_fails_or_ends_early_closes_the_connection() {
        struct Damaged;
        impl Read for Damaged {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let (url, served) = server(2, |stream| {
            head(stream);
            stream.read_to_end(&mut Vec::new()).unwrap()
        });
        let mut client = client(2000 * MS);
        for mut rest in [Box::new(Damaged) as Box<dyn Read>, Box::new(io::empty())] {
            let mut body = (&b"half"[..]).chain(&mut rest);
            let answer = client.put(&url, &Headers::new(), 8, &mut body);
            assert_eq!(answer, Answer::Aborted { sent: 4 });
        }
        assert_eq!(served.join().unwrap(), [4, 4]);
    }

    #[test]
    fn another_thread_ends_a_put_at_once() {
        let (url, served) = server(1, |stream| {
            head(stream);
            sleep(500 * MS);
        });
        let mut client = client(60_000 * MS);
        let canceller = client.canceller();
        let cancel = spawn({
            let canceller = canceller.clone();
            move || {
                sleep(200 * MS);
                canceller.cancel();
            }
        });
        let mut body = io::repeat(0).take(LARGE);
        let answer = client.put(&url, &Headers::new(), LARGE, &mut body);
        assert!(
            matches!(answer, Answer::Cancelled { sent: 1.. }),
            "{answer:?}"
        );
        cancel.join().unwrap();
        served.join().unwrap();

        let (url, served) = server(1, |stream| {
            head(stream);
            stream.write_all(CREATED).unwrap();
        });
        assert_eq!(client.probe(&url), Answer::Cancelled { sent: 0 });
        canceller.rearm();
        assert_eq!(client.probe(&url), refused(201));
        served.join().unwrap();
    }

    #[test]
    fn what_is_no_blob_storage() {
        let mut client = client(2000 * MS);
        let free_port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(
            client.probe(&format!("http://{free_port}/c")),
            Answer::NotConnected
        );
        assert_eq!(client.probe("http://no..name/c"), Answer::NameNotFound);

        let (url, served) = server(1, |stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(client.probe(&url), Answer::NotHttp);
        served.join().unwrap();

        let (url, served) = server(1, |stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let answer = client.probe(&url.replacen("http:", "https:", 1));
        assert!(matches!(answer, Answer::TlsFailed(_)), "{answer:?}");
        served.join().unwrap();

        let (url, served) = server(1, |stream| {
            head(stream);
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n")
        });
        assert_eq!(client.probe(&url), refused(302));
        served.join().unwrap().remove(0).unwrap();
    }

    #[test]
    fn a_get_is_bounded() {
        let (url, served) = server(2, |stream| {
            head(stream);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist")
                .unwrap();
        });
        let mut client = client(2000 * MS);
        let (answer, body) = client.get(&url, &Headers::new(), 4);
        assert_eq!(
            (answer, body.as_deref()),
            (refused(200), Some(&b"list"[..]))
        );
        sleep(50 * MS);
        assert_eq!(
            client.get(&url, &Headers::new(), 3),
            (Answer::NotHttp, None)
        );
        served.join().unwrap();
    }

    #[test]
    fn trusted_certificates_are_read_or_refused() {
        for (pem, error) in [
            ("", CertificatesError::None),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                CertificatesError::None,
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                CertificatesError::Broken(1),
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                CertificatesError::Broken(1),
            ),
        ] {
            let trusted = TrustedCertificates::Pem(pem.into());
            let refused = Client::new(&trusted, Timeouts::default(), Clock::start());
            assert_eq!(refused.map(|_| ()), Err(error), "{pem}");
        }
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let trusted = TrustedCertificates::Pem(pem.into());
        assert!(Client::new(&trusted, Timeouts::default(), Clock::start()).is_ok());
        let refused = Tls::judged_later(&trusted).map(|_| ());
        assert_eq!(refused, Err(CertificatesError::Unusable));
    }
}
