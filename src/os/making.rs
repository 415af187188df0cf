//! Makes the rings' files while nothing else is to be done, and finds room for them.

use std::time::Duration;

use super::activation;
use super::flash_thread::{Entry, FlashThread};
use super::opening::{OpenError, unsent};
use super::shared::RingId;
use super::teller::set_message;
use crate::ring::{Flash, ReadAt};
use crate::status;
use crate::time::Instant;

/// A ring that cannot be opened or made is tried again after this.
pub(super) const RETRY: Duration = Duration::from_secs(60);

impl FlashThread {
    /// Makes one step of one ring: of the one whose writer is nearest to the prepared end.
    pub(super) fn make(&mut self) {
        let now = self.clock.now();
        let unmade = (0..).zip(&self.rings).filter_map(|(id, entry)| {
            let entry = entry.as_ref()?;
            let due = entry.unmade() && entry.next_try <= now;
            let ring = due.then_some(entry.slot.as_ref()?.ring())?;
            let ahead = ring.flash().prepared().saturating_sub(ring.written());
            Some((ahead, id))
        });
        let Some((_, id)) = unmade.min() else { return };
        let Some(entry) = self.rings.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        let Some(slot) = &mut entry.slot else { return };
        let files = slot.ring_mut().flash_mut();
        match files.prepare() {
            Ok(_) => {
                let (done, all) = (files.prepared(), files.size());
                self.progress.preparing(&entry.name, done, all);
                if core::mem::take(&mut entry.told) {
                    set_message(&self.shared, &entry.name, &entry.message);
                }
                self.publish(id);
            }
            Err(error) => {
                entry.next_try = now + RETRY;
                let error = OpenError::Io(error);
                entry.cannot("be made", &error, &self.shared);
                if error.lacks_room() {
                    self.free_room(id);
                }
            }
        }
    }

    /// The file system is full, and ring `id` needs room: a ring whose camera has left the
    /// configuration gives way. First one with nothing unsent in it, of those the oldest.
    pub(super) fn free_room(&mut self, id: RingId) {
        let former = (0..).zip(&self.rings).filter_map(|(id, entry)| {
            let entry = entry.as_ref().filter(|entry| entry.spec.wanted.is_none())?;
            let ring = entry.slot.as_ref()?.ring();
            let last = ring.cursors().accounted;
            Some((unsent(ring), last.map(|last| last.estimate), id))
        });
        let Some((unsent, _, former)) = former.filter(|(.., other)| *other != id).min() else {
            return;
        };
        let Some(entry) = self.rings.get_mut(former).and_then(Option::take) else {
            return;
        };
        self.share(former, None);
        let Entry {
            name, spec, slot, ..
        } = entry;
        let in_flight = slot.is_some_and(|slot| slot.ring().cursors().frozen.is_some());
        if in_flight {
            self.shared.cancel_put();
        }
        let message = match activation::remove_ring(&spec.folder) {
            Ok(()) if unsent => "removed for room, with video that was not uploaded".to_owned(),
            Ok(()) => "removed for room; all of it was uploaded".to_owned(),
            Err(error) => format!("it was to be removed for room: {error}"),
        };
        log::warn!("{name}: the ring of a camera no longer in the configuration: {message}");
        self.shared.change_camera(&name, |camera| {
            camera.cache = status::Cache {
                message,
                ..Default::default()
            };
        });
        if let Some(entry) = self.entry(id) {
            entry.next_try = Instant::START;
        }
    }
}
