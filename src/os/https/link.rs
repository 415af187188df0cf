//! The connection below and above TLS: ureq's own knows total times only, and forgets an early
//! answer as soon as a write fails.
//!
//! [`Dial`] makes the TCP connection, where each read and write may take the progress timeout.
//! [`Watch`], above TLS, looks for an answer before each piece of the body. Once the server has
//! answered, or the connection is broken for writing, nothing is written any more; ureq is led to
//! the end of the body and reads what answer there is.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

/// Bytes of each of a connection's buffers: a TLS record and its frame fit.
const BUFFER: usize = 20 * 1024;

/// What the kernel may hold unsent. Were it more, a slow uplink could need longer than the
/// progress timeout to drain it while the answer is awaited.
const SEND_BUFFER: usize = 256 * 1024;

/// Once writing is over before its time, an answer is here already or soon.
const GRACE: Duration = Duration::from_secs(2);

/// To tell an answer from what only TLS has to read.
const GLANCE: UreqDuration = UreqDuration::from_millis(1);

/// How far the sending of a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sending {
    /// No connection yet.
    Idle,
    /// The connection takes what is written.
    Open,
    /// The server answered before it had the whole body.
    Answered,
    /// A write failed.
    Broken,
    /// A write made no progress.
    Stalled,
}

impl Sending {
    const ALL: [Self; 5] = [
        Self::Idle,
        Self::Open,
        Self::Answered,
        Self::Broken,
        Self::Stalled,
    ];
}

/// What client, transports and canceller know of the one connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    stream: Mutex<Weak<TcpStream>>,
    cancelled: AtomicBool,
    in_body: AtomicBool,
    sending: AtomicU8,
}

impl Link {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.in_body.store(false, Ordering::Relaxed);
        self.set(Sending::Idle);
    }

    /// The head is written; what follows is the body.
    pub(super) fn begin_body(&self) {
        self.in_body.store(true, Ordering::Relaxed);
    }

    pub(super) fn sending(&self) -> Sending {
        let at = usize::from(self.sending.load(Ordering::Relaxed));
        Sending::ALL.get(at).copied().unwrap_or(Sending::Idle)
    }

    /// Nothing more is to be written for this request.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.sending(), Sending::Idle | Sending::Open)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Some(stream) = self.stream().upgrade() {
            // Wakes a blocked read or write. An error means it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn rearm(&self) {
        self.cancelled.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn set(&self, sending: Sending) {
        self.sending.store(sending as u8, Ordering::Relaxed);
    }

    fn stream(&self) -> std::sync::MutexGuard<'_, Weak<TcpStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes TCP connections: each address of the host is tried for the connect timeout.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) link: Arc<Link>,
    pub(super) connect_timeout: Duration,
    pub(super) progress_timeout: Duration,
}

impl<In: Transport> Connector<In> for Dial {
    type Out = Tcp;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<In>,
    ) -> Result<Option<Tcp>, Error> {
        // A kept connection that was too old may have said otherwise.
        self.link.set(Sending::Idle);
        let stream = Arc::new(self.dial(&details.addrs)?);
        *self.link.stream() = Arc::downgrade(&stream);
        // A cancel before this line found no stream to shut down.
        if self.link.is_cancelled() {
            return Err(io::Error::from(ErrorKind::ConnectionAborted).into());
        }
        self.link.set(Sending::Open);
        stream.set_write_timeout(Some(self.progress_timeout))?;
        Ok(Some(Tcp {
            stream,
            buffers: LazyBuffers::new(BUFFER, BUFFER),
            link: Arc::clone(&self.link),
            progress_timeout: self.progress_timeout,
            read_timeout: None,
        }))
    }
}

impl Dial {
    fn dial(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut last = ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            if self.link.is_cancelled() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match TcpStream::connect_timeout(address, self.connect_timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    // Where the kernel allows less it takes what it allows.
                    let _ = setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A TCP connection, below TLS.
pub(super) struct Tcp {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    link: Arc<Link>,
    progress_timeout: Duration,
    read_timeout: Option<Duration>,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.link.is_over() {
            return Ok(());
        }
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        if let Err(error) = (&*self.stream).write_all(output) {
            // Not told: TLS and ureq go on to read what the server may have said before.
            self.link.set(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Sending::Stalled,
                _ => Sending::Broken,
            });
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let longest = if self.link.is_over() {
            GRACE.min(self.progress_timeout)
        } else {
            self.progress_timeout
        };
        let wait = (*timeout.after).min(longest).max(*GLANCE);
        if self.read_timeout != Some(wait) {
            self.stream.set_read_timeout(Some(wait))?;
            self.read_timeout = Some(wait);
        }
        let n = loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(n) => break n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(Error::Timeout(Timeout::PerRead));
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    /// Fit for another request: whole, and nothing unread in it.
    fn is_open(&mut self) -> bool {
        let fit = !self.link.is_over() && !has_input(&self.stream);
        if fit {
            self.link.set(Sending::Open);
        }
        fit
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tcp").field(&self.stream).finish()
    }
}

/// A read would not block: there are bytes, an end, or an error.
fn has_input(stream: &TcpStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let seen = recv(stream.as_raw_fd(), &mut [0], flags);
    !matches!(seen, Err(Errno::EAGAIN | Errno::EINTR))
}

/// Puts [`Watched`] around a connection.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) link: Arc<Link>,
}

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Watched<In>>, Error> {
        Ok(chained.map(|inner| Watched {
            inner,
            link: Arc::clone(&self.link),
            unread: false,
        }))
    }
}

/// A connection, TLS included, that notices an answer while the body is being sent.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    link: Arc<Link>,
    /// There is input that ureq has not asked for yet.
    unread: bool,
}

impl<T: Transport> Watched<T> {
    fn look_for_answer(&mut self) {
        let stream = self.link.stream().upgrade();
        if !stream.is_some_and(|stream| has_input(&stream)) {
            return;
        }
        let glance = NextTimeout {
            after: GLANCE,
            ..NextTimeout::default()
        };
        match self.inner.await_input(glance) {
            Ok(true) => {
                self.unread = true;
                self.link.set(Sending::Answered);
            }
            // Only TLS had something to read, as a session ticket.
            Err(Error::Timeout(_)) => {}
            Ok(false) | Err(_) => self.link.set(Sending::Broken),
        }
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.link.in_body.load(Ordering::Relaxed) && !self.link.is_over() {
            self.look_for_answer();
        }
        if self.link.is_over() {
            return Ok(());
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if core::mem::take(&mut self.unread) {
            return Ok(true);
        }
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
