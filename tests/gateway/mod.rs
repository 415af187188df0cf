//! The way from packet to flash, with all that is real on it but the socket: a made-up camera,
//! the recorder, the flash thread, and a ring of files on disk.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cvr::gap::Cause;
use cvr::limits::{FRAGMENTS_IN_FLIGHT, MIB, POOL_BLOCKS};
use cvr::os::clock::Clock;
use cvr::os::flash_thread::{FlashHandle, FlashMessage, FlashThread};
use cvr::os::opening::RingSpec;
use cvr::os::ring_files::Geometry;
use cvr::os::shared::Shared;
use cvr::recorder::engine::{Input, Output, Recorder, RecorderConfig};
use cvr::recorder::fragment::Fragment;
use cvr::recorder::pool::Pool;
use cvr::recorder::segmenter::{self, Cutting};
use cvr::recorder::testing::{AUDIO_FRAME, Camera, CameraScript, Picture};
use cvr::ring::RingView;
use cvr::ring::record::Names;
use cvr::rtsp::{CameraAddress, SessionConfig};
use cvr::time::Instant;

/// 25 pictures a second, a sync sample each second: 2 Mbit/s.
const GOP: u64 = 25;
const SYNC_SAMPLE: usize = 40_000;
const OTHER_SAMPLE: usize = 8_750;
/// 47 frames a second: 128 kbit/s.
const AUDIO_SAMPLE: u16 = 341;

/// Fragments that may be on their way while the camera goes on.
const IN_FLIGHT: usize = 8;

/// A camera that is recorded.
pub(crate) struct Gateway {
    recorder: Recorder,
    pool: Rc<RefCell<Pool>>,
    camera: Camera,
    flash: FlashHandle,
    returned: Receiver<Box<Fragment>>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
    now: Instant,
    deadline: Instant,
    pictures: u64,
    sounds: u64,
    in_flight: usize,
    bytes: Vec<u8>,
    /// Counts allocations so far.
    allocations: fn() -> usize,
    /// Allocations for requests and reports to the camera.
    pub(crate) for_control: usize,
    /// Bytes of samples, video and audio, given to the flash thread.
    pub(crate) video: u64,
}

impl Gateway {
    /// Makes a ring of so many MiB in a folder of its own, and connects the camera.
    pub(crate) fn start(name: &str, ring_mib: u64, allocations: fn() -> usize) -> Self {
        let folder = std::env::temp_dir().join(format!("cvr-{name}-{}", std::process::id()));
        // What an earlier run with this number left behind.
        let _ = std::fs::remove_dir_all(&folder);
        let ring_bytes = ring_mib * MIB;
        let (flash, inbox) = sync_channel(2 * FRAGMENTS_IN_FLIGHT);
        let (back, returned) = sync_channel(FRAGMENTS_IN_FLIGHT);
        let sync_interval = Duration::from_secs(2);
        let shared = Arc::new(Shared::default());
        let thread = FlashThread::new(Clock::start(), shared, inbox, back, sync_interval);
        let thread = thread::spawn(move || thread.run());
        let pool = Rc::new(RefCell::new(Pool::new(POOL_BLOCKS)));
        let (address, credentials) = CameraAddress::parse("rtsp://192.0.2.1/a").unwrap();
        let config = RecorderConfig {
            session: SessionConfig {
                address,
                credentials,
            },
            cutting: Cutting {
                segment_length: Duration::from_secs(30),
                fragment_length: sync_interval / 2,
                ring_bytes,
            },
            active: true,
        };
        let now = Instant::from_millis(1_000);
        let recorder = Recorder::new(config, Rc::clone(&pool), now, Cause::Restarted, 1);
        let mut gateway = Self {
            recorder,
            pool,
            camera: Camera::new(CameraScript::default()),
            flash: FlashHandle(flash),
            returned,
            thread: Some(thread),
            folder,
            now,
            deadline: now,
            pictures: 0,
            sounds: 0,
            in_flight: 0,
            bytes: Vec::with_capacity(64 * 1024),
            allocations,
            for_control: 0,
            video: 0,
        };
        gateway.make_ring(name, ring_bytes);
        // The first wait at a channel allocates; the event loop never waits at this one.
        let nothing = gateway.returned.recv_timeout(Duration::from_millis(1));
        assert!(nothing.is_err());
        gateway.wake();
        gateway
    }

    fn make_ring(&self, name: &str, ring_bytes: u64) {
        let word = |word: &str| word.try_into().unwrap();
        let geometry = Geometry::of(ring_bytes);
        let spec = RingSpec {
            names: Names {
                gateway: word("gateway"),
                camera: word(name),
                asset: "asset".try_into().unwrap(),
            },
            folder: self.folder.clone(),
            wanted: Some(geometry),
        };
        self.tell(FlashMessage::Open(0, Box::new(spec)));
        while self.ring().prepared < geometry.bytes() {
            thread::yield_now();
        }
    }

    /// The ring after all that was sent to it so far.
    pub(crate) fn ring(&self) -> RingView {
        self.flash.with_ring(0, |ring| ring.view()).unwrap()
    }

    /// The next picture of the camera, and the sound that goes with it.
    pub(crate) fn picture(&mut self) {
        self.now = self.now + Duration::from_millis(40);
        if self.deadline <= self.now {
            self.wake();
        }
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        let (kind, size) = match self.pictures % GOP {
            0 => (Picture::Idr, SYNC_SAMPLE),
            _ => (Picture::P, OTHER_SAMPLE),
        };
        self.camera
            .picture(&mut bytes, kind, self.pictures * 3600, size);
        while (self.sounds + 1) * AUDIO_FRAME <= self.pictures * 1920 {
            let at = self.sounds * AUDIO_FRAME;
            self.camera.sound(&mut bytes, at, 1, AUDIO_SAMPLE);
            self.sounds += 1;
        }
        self.pictures += 1;
        self.input(Input::Received(&bytes));
        self.bytes = bytes;
    }

    /// Timers: those of segments and fragments, and what the camera is to be told.
    fn wake(&mut self) {
        let before = (self.allocations)();
        if self.input(Input::Timeout) {
            self.for_control += (self.allocations)() - before;
        }
    }

    /// True: the camera was told something.
    fn input(&mut self, input: Input<'_>) -> bool {
        let mut told = false;
        self.recorder.handle_input(self.now, input);
        loop {
            match self.recorder.poll_output() {
                Output::Timeout(at) => {
                    self.deadline = at;
                    self.collect();
                    return told;
                }
                Output::Connect(..) => {
                    self.input(Input::Connected);
                }
                Output::Send(bytes) => {
                    told = true;
                    let answer = self.camera.receive(&bytes);
                    self.input(Input::Received(&answer));
                }
                Output::Segment(segmenter::Output::Fragment(fragment)) => {
                    let pieces = fragment.pieces().map(<[u8]>::len).sum::<usize>();
                    self.video += (pieces - fragment.head_len) as u64;
                    self.in_flight += 1;
                    self.tell(FlashMessage::Fragment(0, fragment));
                }
                Output::Segment(segmenter::Output::End(end)) => {
                    self.tell(FlashMessage::End(0, end));
                }
                Output::Away(at, cause) => self.tell(FlashMessage::Away(0, at, cause)),
                Output::Disconnect => panic!("the session broke"),
                Output::Event(_) => {}
            }
        }
    }

    fn tell(&self, message: FlashMessage) {
        assert!(self.flash.0.send(message).is_ok(), "the flash thread ended");
    }

    /// Gives blocks back, and waits for the card where the camera is far ahead.
    fn collect(&mut self) {
        while self.in_flight > 0 {
            let fragment = match self.returned.try_recv() {
                Ok(fragment) => fragment,
                Err(_) if self.in_flight < IN_FLIGHT => return,
                Err(_) => self.returned.recv().unwrap(),
            };
            self.pool.borrow_mut().give_fragment(fragment);
            self.in_flight -= 1;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let (done, closed) = sync_channel(1);
        self.tell(FlashMessage::Stop(done));
        let _ = closed.recv();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
