//! What the threads know of one another: the rings' positions, the bell that wakes the upload
//! thread, and the state that is published.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::https::Canceller;
use super::ring_files::Geometry;
use crate::ring::RingView;
use crate::status::{Camera, Status};
use crate::time::UtcMillis;

/// Index of a ring; the same in all threads, for the life of the process.
pub type RingId = usize;

/// A ring as the upload thread sees it.
#[derive(Clone, Debug)]
pub struct SharedRing {
    /// The camera's name.
    pub name: String,
    /// Its files.
    pub folder: PathBuf,
    /// How the run is laid over them.
    pub geometry: Geometry,
    /// Its positions, as of the last change.
    pub view: RingView,
}

/// Shared by event loop, flash thread and upload thread. No lock is held over a read, a write
/// or a wait for another.
#[derive(Debug, Default)]
pub struct Shared {
    rings: Mutex<Vec<Option<SharedRing>>>,
    bell: Condvar,
    status: Mutex<Status>,
    canceller: Mutex<Option<Canceller>>,
    /// See [`Shared::newest`].
    newest: Mutex<Option<UtcMillis>>,
}

impl Shared {
    /// The rings; `None` while one is not open.
    pub fn rings(&self) -> MutexGuard<'_, Vec<Option<SharedRing>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The published state.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shown of a camera.
    pub fn change_camera(&self, name: &str, change: impl FnOnce(&mut Camera)) {
        let mut status = self.status();
        if let Some(camera) = status.cameras.iter_mut().find(|camera| camera.name == name) {
            change(camera);
        }
    }

    /// Wakes the upload thread: there may be something to send, or other settings.
    pub fn ring_bell(&self) {
        self.bell.notify_all();
    }

    /// Waits for the bell, at most so long. It may have rung before: look first.
    pub fn wait_for_bell(&self, at_most: Duration) {
        let rings = self.rings();
        drop(self.bell.wait_timeout(rings, at_most));
    }

    /// The newest time that a ring knew for right when it was opened.
    pub fn newest(&self) -> Option<UtcMillis> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ring was opened that knows this time for right.
    pub fn note_newest(&self, utc: Option<UtcMillis>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = utc.max(*newest);
    }

    /// How the Put under way is ended; set by the upload thread.
    pub fn set_canceller(&self, canceller: Canceller) {
        *self.canceller() = Some(canceller);
    }

    /// The segment in flight is about to be overwritten: its Put must end.
    pub fn cancel_put(&self) {
        if let Some(canceller) = self.canceller().as_ref() {
            canceller.cancel();
        }
    }

    fn canceller(&self) -> MutexGuard<'_, Option<Canceller>> {
        self.canceller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
