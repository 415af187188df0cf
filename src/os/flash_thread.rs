//! The flash thread: owns the rings, writes and syncs. A card that stalls for seconds stalls
//! only this thread; the pool takes the video meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::clock::{Clock, machine_boot_id};
use super::progress::Progress;
use super::ring_files::{Geometry, RingFiles};
use super::shared::{RingId, Shared, SharedRing};
use crate::gap::Cause;
use crate::limits::FRAGMENTS_IN_FLIGHT;
use crate::recorder::fragment::{Fragment, Start};
use crate::ring::record::Names;
use crate::ring::{
    Evicted, Flash, PIECES_MAX, Place, ReadAt, Recovered, Ring, RingError, RingSetup,
    SegmentReader, Source,
};
use crate::segment::SegmentEnd;
use crate::status;
use crate::time::{Instant, Ticks};

/// What the flash thread is told.
pub enum FlashMessage {
    /// Open this ring, or make it.
    Open(RingId, Box<RingSpec>),
    /// Write a fragment.
    Fragment(RingId, Box<Fragment>),
    /// Seal the segment.
    End(RingId, SegmentEnd),
    /// Video is missing from here on.
    Away(RingId, Ticks, Cause),
    /// For the upload thread: see [`FlashHandle::with_ring`].
    Work(RingId, RingWork),
    /// Other names from the next segment on.
    Rename(RingId, Box<Names>),
    /// Sync so often.
    SyncInterval(Duration),
    /// Seal, sync, note a clean stop, and answer.
    Stop(SyncSender<()>),
}

/// Work on a ring, done by the thread that owns it. What it returns is called when others can
/// see what was done.
pub type RingWork = Box<dyn FnOnce(&mut Ring<RingFiles>) -> Box<dyn FnOnce()> + Send>;

/// A ring to open.
#[derive(Clone, Debug)]
pub struct RingSpec {
    /// What its segments are recorded as.
    pub names: Names,
    /// Its folder.
    pub folder: PathBuf,
    /// Its layout.
    pub geometry: Geometry,
}

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
    clock: Clock,
    shared: Arc<Shared>,
    inbox: Receiver<FlashMessage>,
    returned: SyncSender<Box<Fragment>>,
    sync_interval: Duration,
    rings: Vec<Option<Slot>>,
    progress: Progress,
}

/// An open ring and what is not yet durable in it.
struct Slot {
    /// Shared, since it is at hand at each write, and none of them allocates.
    name: Arc<str>,
    ring: Ring<RingFiles>,
    all_prepared: bool,
    unsynced: heapless::Deque<Box<Fragment>, FRAGMENTS_IN_FLIGHT>,
    unsynced_length: Duration,
    /// Sync then, whatever comes.
    due: Option<Instant>,
}

/// A card that fails is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// With nothing to do the thread looks around this often.
const IDLE: Duration = Duration::from_secs(5);

impl FlashThread {
    /// A thread without rings; [`FlashThread::run`] it.
    pub fn new(
        clock: Clock,
        shared: Arc<Shared>,
        inbox: Receiver<FlashMessage>,
        returned: SyncSender<Box<Fragment>>,
        sync_interval: Duration,
    ) -> Self {
        let progress = Progress::to_standard_error();
        Self {
            clock,
            shared,
            inbox,
            returned,
            sync_interval,
            rings: Vec::new(),
            progress,
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
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            self.sync_due();
            self.prepare();
        }
    }

    /// How long it may wait for a message.
    fn patience(&self) -> Duration {
        if self.slots().any(|slot| !slot.all_prepared) {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let due = self.slots().filter_map(|slot| slot.due).min();
        due.map_or(IDLE, |due| due.since(now))
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.rings.iter().flatten()
    }

    fn handle(&mut self, message: FlashMessage) {
        match message {
            FlashMessage::Open(id, spec) => self.open(id, &spec),
            FlashMessage::Fragment(id, fragment) => self.fragment(id, fragment),
            FlashMessage::End(id, end) => self.end(id, end),
            FlashMessage::Away(id, at, cause) => {
                self.on_ring(id, "note a gap", |ring, _| ring.open_gap(at, cause));
            }
            FlashMessage::Work(id, work) => {
                if let Some(slot) = self.rings.get_mut(id).and_then(Option::as_mut) {
                    let answer = work(&mut slot.ring);
                    self.publish(id);
                    answer();
                }
            }
            FlashMessage::Rename(id, names) => {
                if let Some(slot) = self.rings.get_mut(id).and_then(Option::as_mut) {
                    slot.ring.set_names(*names);
                }
            }
            FlashMessage::SyncInterval(interval) => self.sync_interval = interval,
            FlashMessage::Stop(_) => {}
        }
    }

    fn open(&mut self, id: RingId, spec: &RingSpec) {
        let name = spec.names.camera.to_string();
        match self.open_ring(spec) {
            Ok(ring) => {
                let all_prepared = ring.flash().is_prepared();
                self.rings
                    .resize_with(self.rings.len().max(id + 1), || None);
                if let Some(slot) = self.rings.get_mut(id) {
                    *slot = Some(Slot::new(name.clone(), ring, all_prepared));
                }
                self.share(id, spec, name);
            }
            Err(error) => {
                log::error!(
                    "{name}: the ring in {} cannot be used: {error}",
                    spec.folder.display()
                );
                self.tell(&name, Some(format!("the ring cannot be used: {error}")));
            }
        }
    }

    fn open_ring(&mut self, spec: &RingSpec) -> Result<Ring<RingFiles>, OpenError> {
        let files = RingFiles::open(&spec.folder, spec.geometry)?;
        let (offset, clock) = self.clock.utc_offset();
        let setup = RingSetup {
            names: spec.names.clone(),
            offset,
            clock,
            machine: machine_boot_id(),
            identity: getrandom::u32()?,
            nonce: getrandom::u32()?,
        };
        let name = spec.names.camera.as_str();
        let progress = &mut self.progress;
        let (ring, recovered) =
            Ring::open(files, setup, &mut |step| progress.recovery(name, step))?;
        tell_recovered(name, &recovered);
        Ok(ring)
    }

    fn share(&self, id: RingId, spec: &RingSpec, name: String) {
        let Some(slot) = self.rings.get(id).and_then(Option::as_ref) else {
            return;
        };
        let ring = SharedRing {
            name,
            folder: spec.folder.clone(),
            geometry: spec.geometry,
            view: slot.ring.view(),
        };
        let mut rings = self.shared.rings();
        let count = rings.len().max(id + 1);
        rings.resize(count, None);
        if let Some(place) = rings.get_mut(id) {
            *place = Some(ring);
        }
        drop(rings);
        self.shared.ring_bell();
    }

    fn fragment(&mut self, id: RingId, fragment: Box<Fragment>) {
        if !fragment
            .start
            .as_ref()
            .is_none_or(|start| self.begin(id, start))
        {
            return self.give_back(fragment);
        }
        let length = length_of(&fragment);
        let Some(slot) = self.rings.get(id).and_then(Option::as_ref) else {
            return self.give_back(fragment);
        };
        // The next fragment, about as long, would pass the interval.
        let sync_now = slot.unsynced_length + 2 * length > self.sync_interval
            || slot.unsynced.len() + 1 >= FRAGMENTS_IN_FLIGHT / 4;
        let pieces: heapless::Vec<&[u8], PIECES_MAX> = fragment.pieces().collect();
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let info = fragment.info;
        let written = self.on_ring(id, "write", |ring, evicted| {
            ring.append(&info, &pieces, sync_now, evicted).map(|_| ())
        });
        drop(pieces);
        // Should the next one not come, there is no more video to lose meanwhile.
        let due = self.clock.now() + self.sync_interval;
        let slot = self.rings.get_mut(id).and_then(Option::as_mut);
        match slot.filter(|_| written.is_some()) {
            Some(slot) => slot.keep(fragment, length, due),
            None => return self.give_back(fragment),
        }
        self.show(id, |camera| {
            camera.recorded.milliseconds += info.end.since(info.start).as_millis();
            camera.recorded.bytes += bytes as u64;
        });
        if sync_now {
            self.sync(id);
        }
    }

    /// Begins a segment; false: it cannot be.
    fn begin(&mut self, id: RingId, start: &Start) -> bool {
        let init = start.init.get(..start.init_len).unwrap_or_default();
        let place = self.on_ring(id, "begin a segment", |ring, evicted| {
            ring.begin(&start.segment, init, evicted)
        });
        if let Some(place) = place
            && !start.segment.holes.is_empty()
        {
            self.show_gaps(id, place);
        }
        place.is_some()
    }

    /// Shows the gaps before a segment, as its record tells them.
    fn show_gaps(&self, id: RingId, place: Place) {
        let Some(slot) = self.rings.get(id).and_then(Option::as_ref) else {
            return;
        };
        let Ok(segment) = SegmentReader::open(slot.ring.flash(), place.position) else {
            return;
        };
        let cursors = slot.ring.view().cursors;
        for gap in segment.open.gaps.iter() {
            let (start, end) = (cursors.resolve(gap.start), cursors.resolve(gap.end));
            let cause = gap.cause.as_str();
            log::warn!("{}: no video from {start} to {end}: {cause}", slot.name);
            self.show(id, |camera| camera.add_gap(start, end, cause));
        }
    }

    fn end(&mut self, id: RingId, end: SegmentEnd) {
        let sealed = self.on_ring(id, "seal a segment", |ring, _| ring.seal(&end));
        if sealed.is_some() {
            self.release(id);
            self.show(id, |camera| camera.recorded.segments += 1);
            self.shared.ring_bell();
        }
    }

    fn show(&self, id: RingId, change: impl FnOnce(&mut status::Camera)) {
        if let Some(slot) = self.rings.get(id).and_then(Option::as_ref) {
            self.shared.change_camera(&slot.name, change);
        }
    }

    fn sync(&mut self, id: RingId) {
        if self.on_ring(id, "sync", |ring, _| ring.sync()).is_some() {
            self.release(id);
        }
    }

    fn sync_due(&mut self) {
        let now = self.clock.now();
        for id in 0..self.rings.len() {
            let slot = self.rings.get(id).and_then(Option::as_ref);
            if slot.and_then(|slot| slot.due).is_some_and(|due| due <= now) {
                self.sync(id);
            }
        }
    }

    /// What is durable goes back to the pool.
    fn release(&mut self, id: RingId) {
        let Some(slot) = self.rings.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        while let Some(fragment) = slot.unsynced.pop_front() {
            // Without an event loop nobody needs it any more.
            let _ = self.returned.send(fragment);
        }
        (slot.unsynced_length, slot.due) = (Duration::ZERO, None);
    }

    fn give_back(&self, fragment: Box<Fragment>) {
        let _ = self.returned.send(fragment);
    }

    /// Does `work` on a ring, again and again while the card fails: the pool holds the video
    /// meanwhile. `None`: there is no such ring, or it is our own mistake.
    fn on_ring<T>(
        &mut self,
        id: RingId,
        what: &str,
        mut work: impl FnMut(&mut Ring<RingFiles>, &mut dyn FnMut(Evicted)) -> Result<T, RingError>,
    ) -> Option<T> {
        let shared = Arc::clone(&self.shared);
        let slot = self.rings.get_mut(id)?.as_mut()?;
        let name = Arc::clone(&slot.name);
        let mut on_evict = |evicted: Evicted| told(&shared, &name, evicted);
        let mut failing = false;
        let done = loop {
            let error = match work(&mut slot.ring, &mut on_evict) {
                Ok(done) => break Some(done),
                Err(error) => error,
            };
            let again = match error {
                RingError::NotPrepared { needed } => slot.prepare_to(needed),
                RingError::InDoubt { .. } => slot.write_again(&mut on_evict),
                other => Err(other),
            };
            match again {
                Ok(()) => {}
                Err(error @ (RingError::Flash(_) | RingError::InDoubt { .. })) => {
                    if !core::mem::replace(&mut failing, true) {
                        log::error!("{name}: the card fails to {what}: {error}");
                        set_message(&shared, &name, format!("the card fails to {what}: {error}"));
                    }
                    std::thread::sleep(RETRY);
                }
                Err(error) => {
                    log::error!("{name}: the ring refuses to {what}: {error}");
                    break None;
                }
            }
        };
        if failing {
            log::warn!("{name}: the card works again");
            set_message(&shared, &name, String::new());
        }
        self.publish(id);
        done
    }

    fn publish(&self, id: RingId) {
        let Some(slot) = self.rings.get(id).and_then(Option::as_ref) else {
            return;
        };
        if let Some(Some(shared)) = self.shared.rings().get_mut(id) {
            shared.view = slot.ring.view();
        }
    }

    /// One step for each ring that is not made yet.
    fn prepare(&mut self) {
        for id in 0..self.rings.len() {
            let Some(slot) = self.rings.get_mut(id).and_then(Option::as_mut) else {
                continue;
            };
            if slot.all_prepared {
                continue;
            }
            match slot.ring.flash_mut().prepare() {
                Ok(all) => {
                    slot.all_prepared = all;
                    let files = slot.ring.flash();
                    self.progress
                        .preparing(&slot.name, files.prepared(), files.size());
                }
                Err(error) => {
                    let name = Arc::clone(&slot.name);
                    log::error!("{name}: the ring cannot be made: {error}");
                    set_message(
                        &self.shared,
                        &name,
                        format!("the ring cannot be made: {error}"),
                    );
                    std::thread::sleep(RETRY);
                }
            }
            self.publish(id);
        }
    }

    fn close(&mut self) {
        for id in 0..self.rings.len() {
            let at = self.clock.now().ticks();
            self.on_ring(id, "stop", |ring, _| {
                ring.open_gap(at, Cause::Restarted)?;
                ring.close()
            });
        }
    }

    fn tell(&self, name: &str, message: Option<String>) {
        set_message(&self.shared, name, message.unwrap_or_default());
    }
}

impl Slot {
    fn new(name: String, ring: Ring<RingFiles>, all_prepared: bool) -> Self {
        Self {
            name: name.into(),
            ring,
            all_prepared,
            unsynced: heapless::Deque::new(),
            unsynced_length: Duration::ZERO,
            due: None,
        }
    }

    fn keep(&mut self, fragment: Box<Fragment>, length: Duration, due: Instant) {
        let kept = self.unsynced.push_back(fragment);
        assert!(kept.is_ok(), "there are only so many fragments in all");
        self.unsynced_length += length;
        self.due.get_or_insert(due);
    }

    /// Recording has caught up with the making of the ring.
    fn prepare_to(&mut self, needed: u64) -> Result<(), RingError> {
        while self.ring.flash().prepared() < needed {
            self.all_prepared = self
                .ring
                .flash_mut()
                .prepare()
                .map_err(RingFiles::prepare_error)?;
        }
        Ok(())
    }

    /// After a failed sync: what it was to cover is written anew.
    fn write_again(&mut self, on_evict: &mut dyn FnMut(Evicted)) -> Result<(), RingError> {
        self.ring.rewind_to_synced()?;
        for fragment in &self.unsynced {
            let pieces: heapless::Vec<&[u8], PIECES_MAX> = fragment.pieces().collect();
            self.ring.append(&fragment.info, &pieces, false, on_evict)?;
        }
        Ok(())
    }
}

/// A ring could not be opened.
#[derive(Debug)]
enum OpenError {
    Io(std::io::Error),
    Ring(RingError),
    Random(getrandom::Error),
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
        }
    }
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RingError> for OpenError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl From<getrandom::Error> for OpenError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// What was found of the run before this one.
fn tell_recovered(name: &str, recovered: &Recovered) {
    match (recovered.source, recovered.restart) {
        (Source::New, _) => log::info!("{name}: a new ring"),
        (Source::Records, _) => log::warn!("{name}: both cursors were lost; the ring was searched"),
        (Source::First | Source::Second, None) => log::info!("{name}: the ring is empty"),
        (Source::First | Source::Second, Some(cause)) => {
            log::info!(
                "{name}: the ring goes on after a restart ({})",
                cause.as_str()
            );
        }
    }
    if let Some(cut) = &recovered.cut {
        let sequence = cut.place.sequence;
        log::info!("{name}: segment {sequence} was open, and ends after its last whole fragment");
        if cut.damaged {
            log::warn!("{name}: segment {sequence} is damaged in its middle");
        }
    }
}

/// A segment lost its place, and is about to be overwritten.
pub(super) fn told(shared: &Shared, name: &str, evicted: Evicted) {
    if evicted.in_flight {
        shared.cancel_put();
    }
    if evicted.unsent {
        let sequence = evicted.sequence;
        log::warn!("{name}: the ring is full: segment {sequence} is lost before it was uploaded");
        shared.change_camera(name, |camera| camera.evicted.unsent_segments += 1);
    }
}

fn set_message(shared: &Shared, name: &str, message: String) {
    shared.change_camera(name, |camera| camera.cache.message = message);
}

fn length_of(fragment: &Fragment) -> Duration {
    let length = fragment.info.end.since(fragment.info.start);
    Duration::from_millis(length.as_millis())
}
