//! The flash thread: owns the rings, writes and syncs. A card that stalls for seconds stalls
//! only this thread; the pool takes the video meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::clock::Clock;
use super::making::RETRY;
use super::opening::{OpenError, Opened, RingSpec};
use super::progress::Progress;
use super::ring_files::{RingFiles, raise_descriptor_limit};
use super::shared::{RingId, Shared, SharedRing};
use super::slot::Slot;
use super::steps::Step;
pub(super) use super::teller::told;
use super::teller::{Teller, set_message};
use crate::gap::Cause;
use crate::host_time::newest_known;
use crate::limits::POOL_BLOCKS;
use crate::recorder::fragment::Fragment;
use crate::ring::Ring;
use crate::segment::SegmentEnd;
use crate::time::{ClockQuality, Instant, Ticks, UtcOffset};

/// What the flash thread is told.
pub enum FlashMessage {
    /// Open this ring, or make it; if it is open, its camera is in the configuration again.
    Open(RingId, Box<RingSpec>),
    /// The ring's camera has left the configuration.
    Former(RingId),
    /// Write a fragment.
    Fragment(RingId, Box<Fragment>),
    /// Seal the segment.
    End(RingId, SegmentEnd),
    /// Video is missing from here on.
    Away(RingId, Ticks, Cause),
    /// For the upload thread: see [`FlashHandle::with_ring`].
    Work(RingId, RingWork),
    /// UTC of this boot's tick 0 is known better now: what is not sent gets its true times.
    Clock(UtcOffset, ClockQuality),
    /// The configuration was read again: sync so often, and try again what waits for a person.
    SyncInterval(Duration),
    /// Seal, sync, note a clean stop, and answer.
    Stop(SyncSender<()>),
}

/// Work on a ring, done by the thread that owns it. What it returns is called when others can
/// see what was done.
pub type RingWork = Box<dyn FnOnce(&mut Ring<RingFiles>) -> Box<dyn FnOnce()> + Send>;

/// How the upload thread reaches the rings.
#[derive(Clone, Debug)]
pub struct FlashHandle(pub SyncSender<FlashMessage>);

impl FlashHandle {
    /// Has the flash thread do `work` on a ring and waits for it. `None`: there is no such ring,
    /// or the thread has ended.
    pub fn with_ring<T: Send + 'static>(
        &self,
        ring: RingId,
        work: impl FnOnce(&mut Ring<RingFiles>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        let work: RingWork = Box::new(move |ring| {
            let done = work(ring);
            Box::new(move || {
                // Nobody waits any more: then nobody needs the answer.
                let _ = answer.send(done);
            })
        });
        self.0.send(FlashMessage::Work(ring, work)).ok()?;
        answered.recv().ok()
    }
}

/// The thread's state.
pub struct FlashThread {
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    inbox: Receiver<FlashMessage>,
    returned: SyncSender<Box<Fragment>>,
    sync_interval: Duration,
    pub(super) rings: Vec<Option<Entry>>,
    pub(super) progress: Progress,
}

/// A ring that was asked for, open or not.
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) spec: RingSpec,
    pub(super) slot: Option<Slot<RingFiles>>,
    /// The state's message while nothing else is to be said.
    pub(super) message: String,
    /// If it is not open, or not made yet: nothing is tried before.
    pub(super) next_try: Instant,
    /// The failure of the last try was told.
    pub(super) told: bool,
    /// Start of the first fragment that came before the ring was open.
    missed: Option<Ticks>,
}

/// With nothing to do the thread looks around this often.
const IDLE: Duration = Duration::from_secs(5);

/// All rings together hold no more of the pool than this before one of them is synced.
const HELD_BLOCKS_MAX: usize = POOL_BLOCKS / 4;

impl FlashThread {
    /// A thread without rings; [`FlashThread::run`] it.
    pub fn new(
        clock: Clock,
        shared: Arc<Shared>,
        inbox: Receiver<FlashMessage>,
        returned: SyncSender<Box<Fragment>>,
        sync_interval: Duration,
    ) -> Self {
        raise_descriptor_limit();
        Self {
            clock,
            shared,
            inbox,
            returned,
            sync_interval,
            rings: Vec::new(),
            progress: Progress::to_standard_error(),
        }
    }

    /// Works until [`FlashMessage::Stop`], or until all senders are gone.
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(self.patience()) {
                Ok(FlashMessage::Stop(done)) => {
                    self.close();
                    let _ = done.send(());
                    return;
                }
                Ok(message) => self.handle(message),
                // Rings are made while nothing else is to be done. Where recording catches up
                // with that, it makes the room it needs itself.
                Err(RecvTimeoutError::Timeout) => self.make(),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            self.run_due();
        }
    }

    /// How long it may wait for a message.
    fn patience(&self) -> Duration {
        let now = self.clock.now();
        let due = self.rings.iter().flatten().filter_map(Entry::deadline);
        due.min().map_or(IDLE, |due| due.since(now).min(IDLE))
    }

    fn set_clock(&mut self, offset: UtcOffset, quality: ClockQuality) {
        for id in 0..self.rings.len() {
            let Some(slot) = self.entry(id).and_then(|entry| entry.slot.as_mut()) else {
                continue;
            };
            // What a failing card did not take goes to it with the next write of the cursors.
            if let Err(error) = slot.ring_mut().set_clock(offset, quality) {
                log::warn!("the clock's correction is not on the card yet: {error}");
            }
            self.publish(id);
        }
    }

    fn handle(&mut self, message: FlashMessage) {
        match message {
            FlashMessage::Open(id, spec) => self.add(id, *spec),
            FlashMessage::Former(id) => {
                if let Some(entry) = self.entry(id) {
                    entry.spec.wanted = None;
                }
            }
            FlashMessage::Fragment(id, fragment) => {
                if let Some(entry) = self.entry(id).filter(|entry| entry.slot.is_none()) {
                    entry.missed.get_or_insert(fragment.info.start);
                }
                self.push(id, Step::Fragment(fragment));
                self.bound_held_blocks();
            }
            FlashMessage::End(id, end) => self.push(id, Step::End(end)),
            FlashMessage::Away(id, at, cause) => self.push(id, Step::Away(at, cause)),
            FlashMessage::Work(id, work) => {
                if let Some(slot) = self.entry(id).and_then(|entry| entry.slot.as_mut()) {
                    let answer = work(slot.ring_mut());
                    self.publish(id);
                    answer();
                }
            }
            FlashMessage::Clock(offset, quality) => self.set_clock(offset, quality),
            FlashMessage::SyncInterval(interval) => {
                self.sync_interval = interval;
                let now = self.clock.now();
                for entry in self.rings.iter_mut().flatten() {
                    entry.next_try = entry.next_try.min(now);
                    if let Some(slot) = &mut entry.slot {
                        slot.set_sync_interval(interval);
                    }
                }
            }
            FlashMessage::Stop(_) => {}
        }
    }

    pub(super) fn entry(&mut self, id: RingId) -> Option<&mut Entry> {
        self.rings.get_mut(id).and_then(Option::as_mut)
    }

    /// Does `work` on an open ring's slot, and shows what came of it.
    fn on_slot(
        &mut self,
        id: RingId,
        work: impl FnOnce(&mut Slot<RingFiles>, Instant, &mut Teller<'_>),
    ) {
        let Some(entry) = self.rings.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        let Some(slot) = &mut entry.slot else { return };
        let mut teller = Teller::new(&self.shared, &self.returned, &entry.name, &entry.message);
        work(slot, self.clock.now(), &mut teller);
        let lacks_room = slot.take_lacks_room();
        self.publish(id);
        if lacks_room {
            self.free_room(id);
        }
    }

    fn push(&mut self, id: RingId, step: Step) {
        let open = self.entry(id).is_some_and(|entry| entry.slot.is_some());
        match step {
            Step::Fragment(fragment) if !open => {
                // Without an event loop nobody needs it any more.
                let _ = self.returned.send(fragment);
            }
            step => self.on_slot(id, |slot, now, teller| slot.push(now, step, teller)),
        }
    }

    /// The ring that holds the most of the pool is synced early, should all need too much.
    fn bound_held_blocks(&mut self) {
        let held = |entry: &Option<Entry>| {
            let slot = entry.as_ref().and_then(|entry| entry.slot.as_ref());
            slot.map_or(0, Slot::blocks_to_sync)
        };
        if self.rings.iter().map(held).sum::<usize>() <= HELD_BLOCKS_MAX {
            return;
        }
        let most = (0..).zip(&self.rings).max_by_key(|(_, entry)| held(entry));
        if let Some((id, _)) = most {
            self.on_slot(id, |slot, now, teller| slot.sync_now(now, teller));
        }
    }

    /// Syncs, and tries again, what is due.
    fn run_due(&mut self) {
        for id in 0..self.rings.len() {
            let now = self.clock.now();
            let Some(entry) = self.rings.get(id).and_then(Option::as_ref) else {
                continue;
            };
            match &entry.slot {
                Some(slot) if slot.deadline().is_some_and(|at| at <= now) => {
                    self.on_slot(id, |slot, now, teller| slot.run(now, teller));
                }
                None if entry.next_try <= now => self.open(id),
                _ => {}
            }
        }
    }

    fn add(&mut self, id: RingId, spec: RingSpec) {
        let count = self.rings.len().max(id + 1);
        self.rings.resize_with(count, || None);
        let now = self.clock.now();
        match self.rings.get_mut(id) {
            Some(Some(entry)) => {
                if let Some(slot) = &mut entry.slot {
                    slot.ring_mut().set_names(spec.names.clone());
                }
                entry.spec = spec;
                entry.next_try = entry.next_try.min(now);
            }
            Some(place) => *place = Some(Entry::new(spec, now)),
            None => {}
        }
        if self.entry(id).is_some_and(|entry| entry.slot.is_none()) {
            self.open(id);
        }
    }

    /// Opens a ring, or says why not, and leaves it for later.
    fn open(&mut self, id: RingId) {
        let Some(entry) = self.rings.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        match entry.spec.open(self.clock, &mut self.progress) {
            Ok(opened) => {
                let slot = entry.opened(opened, self.sync_interval);
                let ring = SharedRing {
                    name: entry.name.to_string(),
                    folder: entry.spec.folder.clone(),
                    geometry: slot.ring().flash().geometry(),
                    view: slot.ring().view(),
                };
                entry.slot = Some(slot);
                let recorded = entry.spec.wanted.is_some();
                let state = if recorded { "connecting" } else { "inactive" };
                let failed_before = core::mem::take(&mut entry.told);
                self.shared.change_camera(&entry.name, |camera| {
                    camera.cache.message.clone_from(&entry.message);
                    if failed_before && camera.state == "failed" {
                        camera.state = state.into();
                    }
                });
                self.shared.note_newest(newest_known(&ring.view.cursors));
                self.share(id, Some(ring));
            }
            Err(error) => {
                entry.next_try = self.clock.now() + RETRY;
                entry.cannot("be used", &error, &self.shared);
                self.shared.change_camera(&entry.name, |camera| {
                    camera.state = "failed".into();
                });
                if error.lacks_room() {
                    self.free_room(id);
                }
            }
        }
    }

    /// Shows the upload thread a ring, or that it is gone.
    pub(super) fn share(&self, id: RingId, ring: Option<SharedRing>) {
        let mut rings = self.shared.rings();
        let count = rings.len().max(id + 1);
        rings.resize(count, None);
        if let Some(place) = rings.get_mut(id) {
            *place = ring;
        }
        drop(rings);
        self.shared.ring_bell();
    }

    pub(super) fn publish(&self, id: RingId) {
        let entry = self.rings.get(id).and_then(Option::as_ref);
        let Some(slot) = entry.and_then(|entry| entry.slot.as_ref()) else {
            return;
        };
        if let Some(Some(shared)) = self.shared.rings().get_mut(id) {
            shared.view = slot.ring().view();
        }
    }

    fn close(&mut self) {
        for id in 0..self.rings.len() {
            self.on_slot(id, |slot, now, teller| slot.close(now, teller));
        }
    }
}

impl Entry {
    fn new(spec: RingSpec, now: Instant) -> Self {
        Self {
            name: spec.names.camera.as_str().into(),
            spec,
            slot: None,
            message: String::new(),
            next_try: now,
            told: false,
            missed: None,
        }
    }

    /// The slot of the ring that was opened.
    fn opened(&mut self, opened: Opened, sync_interval: Duration) -> Slot<RingFiles> {
        let Opened { mut ring, message } = opened;
        self.message = message;
        if let Some(first) = self.missed.take() {
            ring.delivered_since(first);
        }
        Slot::new(ring, sync_interval)
    }

    /// Its files are still to be made. Those of a former camera never are: nothing is recorded.
    pub(super) fn unmade(&self) -> bool {
        let files = self.slot.as_ref().map(|slot| slot.ring().flash());
        self.spec.wanted.is_some() && files.is_some_and(|files| !files.is_prepared())
    }

    fn deadline(&self) -> Option<Instant> {
        let Some(slot) = &self.slot else {
            return Some(self.next_try);
        };
        let making = self.unmade().then_some(self.next_try);
        slot.deadline().into_iter().chain(making).min()
    }

    /// Says once that the ring cannot be opened, or made.
    pub(super) fn cannot(&mut self, what: &str, error: &OpenError, shared: &Shared) {
        let message = format!("the ring cannot {what}: {error}");
        if !core::mem::replace(&mut self.told, true) {
            log::error!("{}: {}: {message}", self.name, self.spec.folder.display());
        }
        set_message(shared, &self.name, &message);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::mpsc::SyncSender;

    use super::*;
    use crate::limits::{FRAGMENTS_IN_FLIGHT, MIB};
    use crate::os::ring_files::Geometry;
    use crate::ring::Flash;
    use crate::ring::record::Names;
    use crate::status;

    struct Bench {
        thread: FlashThread,
        messages: SyncSender<FlashMessage>,
        returned: Receiver<Box<Fragment>>,
        shared: Arc<Shared>,
        folder: PathBuf,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("cvr-flash-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            let shared = Arc::new(Shared::default());
            let (messages, inbox) = sync_channel(8);
            let (back, returned) = sync_channel(FRAGMENTS_IN_FLIGHT);
            let interval = Duration::from_secs(2);
            let clock = Clock::start();
            let thread = FlashThread::new(clock, Arc::clone(&shared), inbox, back, interval);
            Self {
                thread,
                messages,
                returned,
                shared,
                folder,
            }
        }

        fn add(&mut self, id: RingId, name: &str, wanted: Option<Geometry>) -> PathBuf {
            let folder = self.folder.join(name);
            self.shared.status().cameras.push(status::Camera {
                name: name.into(),
                ..status::Camera::default()
            });
            let names = Names {
                camera: name.try_into().unwrap(),
                ..Names::default()
            };
            let spec = RingSpec {
                names,
                folder: folder.clone(),
                wanted,
            };
            self.thread.handle(FlashMessage::Open(id, Box::new(spec)));
            folder
        }

        fn shown(&self, id: usize) -> status::Camera {
            self.shared.status().cameras[id].clone()
        }

        fn ring(&mut self, id: RingId) -> &mut Ring<RingFiles> {
            let entry = self.thread.entry(id).unwrap();
            entry.slot.as_mut().unwrap().ring_mut()
        }

        /// Seals a segment of one fragment of no samples.
        fn record(&mut self, id: RingId) {
            let ring = self.ring(id);
            ring.flash_mut().prepare().unwrap();
            crate::os::opening::tests::record(ring);
        }
    }

    fn two_mib() -> Option<Geometry> {
        Some(Geometry {
            files: 1,
            file_bytes: 2 * MIB,
        })
    }

    fn exists(folder: &Path) -> bool {
        folder.join("ring.size").exists()
    }

    #[test]
    fn a_ring_that_does_not_open_is_tried_again() {
        let mut bench = Bench::new("open");
        // A file stands where the ring's folder should be.
        std::fs::write(bench.folder.join("a"), b"").unwrap();
        let folder = bench.add(0, "a", two_mib());
        assert_eq!(bench.shown(0).state, "failed");
        let message = bench.shown(0).cache.message;
        assert!(
            message.starts_with("the ring cannot be used: "),
            "{message}"
        );
        assert!(bench.shared.rings().iter().flatten().next().is_none());
        let mut fragment = Box::<Fragment>::default();
        fragment.info.start = Ticks(7);
        bench.thread.handle(FlashMessage::Fragment(0, fragment));
        assert!(bench.returned.try_recv().is_ok(), "the pool has it back");
        std::fs::remove_file(&folder).unwrap();
        bench.thread.run_due();
        assert_eq!(bench.shown(0).state, "failed", "it is not time yet");
        assert!(bench.thread.patience() > Duration::ZERO);
        let again = FlashMessage::SyncInterval(Duration::from_secs(2));
        bench.thread.handle(again);
        bench.thread.run_due();
        let shown = bench.shown(0);
        assert_eq!(
            (shown.state.as_str(), shown.cache.message.as_str()),
            ("connecting", "")
        );
        assert!(bench.shared.rings().iter().flatten().next().is_some());
        std::fs::remove_dir_all(&bench.folder).unwrap();
    }

    #[test]
    fn only_the_rings_of_cameras_are_made() {
        let mut bench = Bench::new("make");
        bench.add(0, "a", two_mib());
        bench.add(1, "b", two_mib());
        bench.add(2, "c", two_mib());
        bench.thread.handle(FlashMessage::Former(2));
        bench.record(1);
        assert_eq!(bench.thread.patience(), Duration::ZERO);
        let prepared = |bench: &mut Bench| [0, 1, 2].map(|id| bench.ring(id).flash().prepared());
        assert_eq!(prepared(&mut bench), [0, MIB, 0]);
        // First where the writer is nearest to the end of what is made.
        let mut steps = Vec::new();
        for _ in 0..4 {
            bench.thread.make();
            steps.push(prepared(&mut bench).map(|bytes| bytes / MIB));
        }
        assert_eq!(steps, [[1, 1, 0], [1, 2, 0], [2, 2, 0], [2, 2, 0]]);
        assert!(bench.thread.patience() > Duration::ZERO);
        std::fs::remove_dir_all(&bench.folder).unwrap();
    }

    #[test]
    fn a_former_ring_gives_way_the_one_that_is_sent_first() {
        let mut bench = Bench::new("room");
        let camera = bench.add(0, "a", two_mib());
        let unsent = bench.add(1, "b", two_mib());
        let sent = bench.add(2, "c", two_mib());
        for id in [1, 2] {
            bench.record(id);
        }
        bench.ring(2).give_up(0).unwrap();
        bench.thread.free_room(0);
        assert_eq!([&camera, &unsent, &sent].map(|f| exists(f)), [true; 3]);
        for id in [1, 2] {
            bench.thread.handle(FlashMessage::Former(id));
        }
        bench.thread.free_room(0);
        assert_eq!([&unsent, &sent].map(|f| exists(f)), [true, false]);
        assert!(bench.shared.rings()[2].is_none());
        bench.thread.free_room(0);
        assert!(!unsent.exists() && exists(&camera));
        let message = bench.shown(1).cache.message;
        assert_eq!(
            message,
            "removed for room, with video that was not uploaded"
        );
        bench.thread.free_room(0);
        assert!(exists(&camera));
        std::fs::remove_dir_all(&bench.folder).unwrap();
    }

    #[test]
    fn the_thread_ends_when_it_is_told_or_left_alone() {
        for told in [true, false] {
            let mut bench = Bench::new(if told { "stop" } else { "left" });
            bench.add(0, "a", two_mib());
            let (done, closed) = sync_channel(1);
            if told {
                bench.messages.send(FlashMessage::Stop(done)).unwrap();
            }
            drop(bench.messages);
            bench.thread.run();
            assert_eq!(closed.try_recv().is_ok(), told);
            let files = RingFiles::open(&bench.folder.join("a"), two_mib().unwrap());
            let (mut files, mut page) = (files.unwrap(), [0; crate::limits::PAGE]);
            let mut clean = |slot| {
                files.read_cursors(slot, &mut page).unwrap();
                crate::ring::Cursors::decode(&page).unwrap().clean
            };
            assert!(clean(0) || clean(1), "a clean stop was noted");
            std::fs::remove_dir_all(&bench.folder).unwrap();
        }
    }
}
