//! The event loop: one thread, smol, all cameras. It only moves bytes between sockets, engines
//! and the flash thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use smol::io::AsyncWriteExt;
use smol::stream::StreamExt;
use smol::{Async, Timer, channel, future};

use super::clock::Clock;
use super::flash_thread::FlashMessage;
use super::report::CameraReport;
use super::shared::RingId;
use crate::gap::Cause;
use crate::limits::{BLOCK_SIZE, POOL_BLOCKS};
use crate::recorder::engine::{Input, Output, Recorder, RecorderConfig};
use crate::recorder::fragment::Fragment;
use crate::recorder::pool::Pool;
use crate::recorder::{Reason, segmenter};
use crate::time::Instant;

/// What the loop's camera tasks share; they run on one thread.
pub struct Loop {
    /// The gateway's clock.
    pub clock: Clock,
    /// Media memory of all cameras.
    pub pool: Rc<RefCell<Pool>>,
    /// To the flash thread.
    pub flash: SyncSender<FlashMessage>,
    /// Fragments that the flash thread is done with.
    pub returned: Receiver<Box<Fragment>>,
    received: RefCell<Box<[u8]>>,
}

/// What a running camera can be told.
#[derive(Debug)]
pub enum Control {
    /// Its configuration changed.
    Reconfigure(Box<RecorderConfig>),
    /// Record no more. With a cause: the camera left the configuration; without, `cvr` ends.
    Stop(Option<Cause>),
}

/// A camera's connection, or the attempt to make one.
enum Link {
    None,
    Connecting(future::Boxed<Result<Async<TcpStream>, Reason>>),
    Open(Async<TcpStream>),
}

/// What a camera's task woke up for.
enum Wake {
    Connected(Result<Async<TcpStream>, Reason>),
    Readable(io::Result<()>),
    Time,
    Control(Option<Control>),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

impl Loop {
    /// Takes the media memory of all cameras.
    pub fn new(
        clock: Clock,
        flash: SyncSender<FlashMessage>,
        returned: Receiver<Box<Fragment>>,
    ) -> Self {
        let pool = Rc::new(RefCell::new(Pool::new(POOL_BLOCKS)));
        let received = RefCell::new(vec![0; BLOCK_SIZE].into_boxed_slice());
        Self {
            clock,
            pool,
            flash,
            returned,
            received,
        }
    }

    /// Gives back to the pool what the flash thread has synced.
    fn collect(&self) {
        let mut pool = self.pool.borrow_mut();
        while let Ok(fragment) = self.returned.try_recv() {
            pool.give_fragment(fragment);
        }
    }
}

/// One camera, from start to [`Control::Stop`].
pub struct CameraTask {
    /// Where its fragments go.
    pub ring: RingId,
    /// Its engine.
    pub recorder: Recorder,
    /// How it is told of changes.
    control: Pin<Box<channel::Receiver<Control>>>,
    /// Where its state is shown.
    pub report: CameraReport,
    link: Link,
    timer: Timer,
    deadline: Option<Instant>,
    unsent: VecDeque<FlashMessage>,
}

impl CameraTask {
    /// A task that has not begun.
    pub fn new(
        ring: RingId,
        recorder: Recorder,
        control: channel::Receiver<Control>,
        report: CameraReport,
    ) -> Self {
        Self {
            ring,
            recorder,
            control: Box::pin(control),
            report,
            link: Link::None,
            timer: Timer::never(),
            deadline: None,
            unsent: VecDeque::with_capacity(4),
        }
    }

    /// Runs until stopped.
    pub async fn run(mut self, shared: &Loop) {
        self.recorder
            .handle_input(shared.clock.now(), Input::Timeout);
        loop {
            shared.collect();
            self.drain(shared).await;
            match self.wake().await {
                Wake::Connected(Ok(stream)) => {
                    self.link = Link::Open(stream);
                    self.recorder
                        .handle_input(shared.clock.now(), Input::Connected);
                }
                Wake::Connected(Err(reason)) => self.disconnected(shared, reason),
                Wake::Readable(Ok(())) => self.receive(shared),
                Wake::Readable(Err(e)) => self.disconnected(shared, Reason::Io(e.kind())),
                Wake::Time => {
                    self.deadline = None;
                    self.recorder
                        .handle_input(shared.clock.now(), Input::Timeout);
                }
                Wake::Control(Some(Control::Reconfigure(config))) => {
                    self.recorder.reconfigure(shared.clock.now(), *config);
                    self.drain(shared).await;
                    self.recorder
                        .handle_input(shared.clock.now(), Input::Timeout);
                }
                Wake::Control(stop) => {
                    let cause = match stop {
                        Some(Control::Stop(cause)) => cause,
                        _ => None,
                    };
                    let now = shared.clock.now();
                    self.recorder.handle_input(now, Input::Stop(cause));
                    self.drain(shared).await;
                    return;
                }
            }
        }
    }

    /// Carries out all that the engine wants.
    async fn drain(&mut self, shared: &Loop) {
        loop {
            match self.recorder.poll_output() {
                Output::Timeout(at) => {
                    self.set_deadline(shared, at);
                    break;
                }
                Output::Connect(host, port) => self.link = Link::Connecting(connect((host, port))),
                Output::Disconnect => self.link = Link::None,
                Output::Send(bytes) => {
                    if let Err(e) = self.send(&bytes).await {
                        self.disconnected(shared, Reason::Io(e.kind()));
                    }
                }
                Output::Segment(segmenter::Output::Fragment(fragment)) => {
                    self.send_to_flash(shared, FlashMessage::Fragment(self.ring, fragment));
                }
                Output::Segment(segmenter::Output::End(end)) => {
                    self.send_to_flash(shared, FlashMessage::End(self.ring, end));
                }
                Output::Away(at, cause) => {
                    self.send_to_flash(shared, FlashMessage::Away(self.ring, at, cause));
                }
                Output::Event(event) => self.report.event(shared.clock.now(), &event),
            }
        }
        self.report.stats(self.recorder.stats());
    }

    /// Never waits: what does not fit into the queue goes with the next message. There are fewer
    /// fragments in all than the queue has places, so that only a dead flash thread fills it.
    fn send_to_flash(&mut self, shared: &Loop, message: FlashMessage) {
        self.unsent.push_back(message);
        while let Some(message) = self.unsent.pop_front() {
            match shared.flash.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.unsent.push_front(message);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Link::Open(stream) = &mut self.link else {
            return Ok(());
        };
        let timeout = async {
            Timer::after(SEND_TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        future::or(stream.write_all(bytes), timeout).await
    }

    /// Reads what has come, a buffer at a time; a busy camera does not hold up its timers.
    fn receive(&mut self, shared: &Loop) {
        let Link::Open(stream) = &self.link else {
            return;
        };
        let mut buffer = shared.received.borrow_mut();
        match stream.get_ref().read(&mut buffer) {
            Ok(0) => {
                drop(buffer);
                self.disconnected(shared, Reason::Closed);
            }
            Ok(n) => {
                let data = buffer.get(..n).unwrap_or_default();
                let now = shared.clock.now();
                if self.deadline.is_some_and(|deadline| deadline <= now) {
                    self.deadline = None;
                    self.recorder.handle_input(now, Input::Timeout);
                }
                self.recorder.handle_input(now, Input::Received(data));
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(e) => {
                drop(buffer);
                self.disconnected(shared, Reason::Io(e.kind()));
            }
        }
    }

    fn disconnected(&mut self, shared: &Loop, reason: Reason) {
        self.link = Link::None;
        self.recorder
            .handle_input(shared.clock.now(), Input::Disconnected(reason));
    }

    fn set_deadline(&mut self, shared: &Loop, at: Instant) {
        // The engine's deadline moves with every packet; an early wake-up costs less than
        // setting the timer anew each time.
        if self.deadline.is_none_or(|set| at < set) {
            self.timer.set_after(at.since(shared.clock.now()));
            self.deadline = Some(at);
        }
    }

    async fn wake(&mut self) -> Wake {
        let link = &mut self.link;
        let io = async {
            match link {
                Link::None => future::pending().await,
                Link::Connecting(attempt) => Wake::Connected(attempt.await),
                Link::Open(stream) => Wake::Readable(stream.readable().await),
            }
        };
        let timer = &mut self.timer;
        let time = async {
            timer.await;
            Wake::Time
        };
        // As a stream it keeps its place in the queue of those who wait: no allocation.
        let control = async { Wake::Control(self.control.next().await) };
        future::or(control, future::or(io, time)).await
    }
}

/// Tries the host's addresses in turn. The look-up runs on smol's blocking thread.
fn connect((host, port): (String, u16)) -> future::Boxed<Result<Async<TcpStream>, Reason>> {
    Box::pin(async move {
        let attempt = async {
            let addresses = smol::net::resolve((host, port))
                .await
                .map_err(|_| Reason::UnknownHost)?;
            let mut last = Reason::UnknownHost;
            for address in addresses {
                match Async::<TcpStream>::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(e) => last = Reason::Io(e.kind()),
                }
            }
            Err(last)
        };
        let timeout = async {
            Timer::after(CONNECT_TIMEOUT).await;
            Err(Reason::Io(io::ErrorKind::TimedOut))
        };
        future::or(attempt, timeout).await
    })
}
