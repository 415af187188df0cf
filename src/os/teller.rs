//! What log, state and event loop are told of a ring.

use std::sync::mpsc::SyncSender;

use super::shared::Shared;
use super::steps::Listener;
use crate::gap::Cause;
use crate::recorder::fragment::Fragment;
use crate::ring::{Evicted, RingError};
use crate::segment::FragmentInfo;
use crate::status;
use crate::time::UtcMillis;

/// Tells what happens in one camera's ring.
pub(super) struct Teller<'a> {
    shared: &'a Shared,
    returned: &'a SyncSender<Box<Fragment>>,
    name: &'a str,
    /// The state's message while the card works.
    message: &'a str,
}

impl<'a> Teller<'a> {
    pub(super) const fn new(
        shared: &'a Shared,
        returned: &'a SyncSender<Box<Fragment>>,
        name: &'a str,
        message: &'a str,
    ) -> Self {
        Self {
            shared,
            returned,
            name,
            message,
        }
    }

    fn show(&self, change: impl FnOnce(&mut status::Camera)) {
        self.shared.change_camera(self.name, change);
    }
}

impl Listener for Teller<'_> {
    fn give_back(&mut self, fragment: Box<Fragment>) {
        // Without an event loop nobody needs it any more.
        let _ = self.returned.send(fragment);
    }

    fn recorded(&mut self, info: &FragmentInfo, bytes: u64) {
        self.show(|camera| {
            camera.recorded.milliseconds += info.end.since(info.start).as_millis();
            camera.recorded.bytes += bytes;
        });
    }

    fn evicted(&mut self, evicted: Evicted) {
        told(self.shared, self.name, evicted);
    }

    fn gap(&mut self, start: UtcMillis, end: UtcMillis, cause: Cause) {
        let cause = cause.as_str();
        log::warn!("{}: no video from {start} to {end}: {cause}", self.name);
        self.show(|camera| camera.add_gap(start, end, cause));
    }

    fn sealed(&mut self) {
        self.show(|camera| camera.recorded.segments += 1);
        self.shared.ring_bell();
    }

    fn failing(&mut self, what: &'static str, error: RingError) {
        let message = format!("the card fails to {what}: {error}");
        log::error!("{}: {message}", self.name);
        set_message(self.shared, self.name, &message);
    }

    fn gave_up(&mut self) {
        log::error!("{}: video is lost until the card works again", self.name);
    }

    fn works_again(&mut self) {
        log::warn!("{}: the card works again", self.name);
        set_message(self.shared, self.name, self.message);
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

/// Shows what is wrong with a camera's ring.
pub(super) fn set_message(shared: &Shared, name: &str, message: &str) {
    shared.change_camera(name, |camera| camera.cache.message = message.to_owned());
}
