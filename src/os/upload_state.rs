//! What log and state tell of the upload.

use std::sync::Arc;
use std::time::Duration;

use super::next_segment::Choice;
use super::put::Sent;
use super::shared::{RingId, Shared, SharedRing};
use crate::blob::name::BlobName;
use crate::blob::refusals::Outcome;
use crate::blob::verdict::Verdict;

/// What was told so far.
pub struct UploadState {
    shared: Arc<Shared>,
    /// Blobs that the state names as set aside.
    set_aside: Vec<Named>,
    /// What is wrong, as the log last said it; empty while the upload works.
    told: String,
}

struct Named {
    ring: RingId,
    sequence: u64,
    blob: String,
}

impl UploadState {
    /// Nothing was told.
    pub const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            set_aside: Vec::new(),
            told: String::new(),
        }
    }

    /// There is nothing to send now. What is wrong, if anything, stays told.
    pub fn idle(&self) {
        let mut status = self.shared.status();
        if status.upload.message.is_empty() {
            status.upload.state = "idle".into();
        }
    }

    /// Says in log and state what is wrong, once, and when it is right again.
    pub fn tell(&mut self, verdict: &Verdict, pause: Duration) {
        if *verdict == Verdict::Cancelled {
            return;
        }
        let mut status = self.shared.status();
        let upload = &mut status.upload;
        if verdict.is_done() {
            if !self.told.is_empty() {
                log::info!("upload works again");
                self.told.clear();
            }
            (upload.state, upload.message) = ("idle".into(), String::new());
            return;
        }
        let text = verdict.to_string();
        let by_hand = matches!(verdict, Verdict::SasRefused(_) | Verdict::ContainerMissing);
        upload.state = if by_hand { "refused" } else { "waiting" }.into();
        upload.message.clone_from(&text);
        drop(status);
        // A refused segment has a line of its own.
        let is_told = matches!(verdict, Verdict::MaybeThere | Verdict::SegmentRefused(_));
        if text != self.told && !is_told {
            log::warn!(
                "upload: {text}; tried again in {} s, then on",
                pause.as_secs()
            );
            self.told = text;
        }
    }

    /// A segment was refused for itself.
    pub fn refused(
        &mut self,
        choice: Choice,
        ring: &SharedRing,
        blob: &BlobName,
        verdict: &Verdict,
        outcome: Outcome,
    ) {
        let name = &ring.name;
        match outcome {
            Outcome::HeldBack => log::warn!("{name}: {blob} is held back: {verdict}"),
            Outcome::StillSetAside => log::warn!("{name}: {blob}: {verdict}"),
            Outcome::SetAside => {
                log::error!("{name}: {blob} is set aside: {verdict}");
                self.set_aside.push(Named {
                    ring: choice.ring,
                    sequence: choice.place.sequence,
                    blob: blob.to_string(),
                });
                self.show_set_aside(choice.ring, name);
            }
        }
    }

    /// A segment is in the container.
    pub fn stored(&mut self, choice: Choice, ring: &SharedRing, sent: &Sent) {
        let (blob, length) = (&sent.name, sent.length);
        log::info!("{}: uploaded {blob}, {length} bytes", ring.name);
        self.shared.change_camera(&ring.name, |camera| {
            camera.uploaded.segments += 1;
            camera.uploaded.milliseconds += blob.duration;
            camera.uploaded.bytes += length;
        });
        let mut status = self.shared.status();
        status.upload.segments += 1;
        status.upload.bytes += length;
        drop(status);
        if choice.set_aside {
            self.set_aside.retain(|named| {
                (named.ring, named.sequence) != (choice.ring, choice.place.sequence)
            });
            self.show_set_aside(choice.ring, &ring.name);
        }
    }

    /// The state names no blob that its ring has lost.
    pub fn forget_evicted(&mut self) {
        if self.set_aside.is_empty() {
            return;
        }
        let rings = self.shared.rings().clone();
        let is_kept = |named: &Named| {
            let ring = rings.get(named.ring).and_then(Option::as_ref);
            let list = ring.map(|ring| ring.view.cursors.set_aside.iter());
            list.is_some_and(|mut list| list.any(|e| e.place.sequence == named.sequence))
        };
        let before = self.set_aside.len();
        self.set_aside.retain(is_kept);
        if self.set_aside.len() < before {
            for (id, ring) in rings.iter().enumerate() {
                if let Some(ring) = ring {
                    self.show_set_aside(id, &ring.name);
                }
            }
        }
    }

    fn show_set_aside(&self, ring: RingId, name: &str) {
        let named = self.set_aside.iter().filter(|named| named.ring == ring);
        let blobs = named.map(|named| named.blob.clone()).collect();
        self.shared
            .change_camera(name, |camera| camera.set_aside = blobs);
    }
}
