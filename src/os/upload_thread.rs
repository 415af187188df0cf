//! The upload thread: one Put Blob at a time, blocking, oldest first, for ever.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::clock::Clock;
use super::flash_thread::FlashHandle;
use super::https::{CertificatesError, Client, Timeouts, TrustedCertificates};
use super::put::{Parcel, Put, PutError};
use super::ring_files::RingReader;
use super::shared::{RingId, Shared, SharedRing};
use crate::backoff::Random;
use crate::blob::headers::AccessTier;
use crate::blob::queue::{Candidate, Offer, RingFacts, offer};
use crate::blob::refusals::{Outcome, Refusals, SegmentId};
use crate::blob::retry::Retry;
use crate::blob::sas::{ContainerUrl, SasWindow};
use crate::blob::speed::{Rate, UploadSpeed};
use crate::blob::verdict::{AttemptFacts, Doubt, Verdict, judge};
use crate::ring::{Place, ReadFault, SegmentReader};
use crate::time::{ClockQuality, Instant};

/// Where to, and how fast.
#[derive(Clone, Debug)]
pub struct UploadSettings {
    /// The container and its SAS.
    pub container: ContainerUrl,
    /// Whom to trust.
    pub trusted: TrustedCertificates,
    /// kbit/s; 0 is no limit.
    pub maximum_kbps: u32,
    /// Tier of each blob.
    pub access_tier: Option<AccessTier>,
    /// For a probe: the name of a blob that is never video.
    pub probe_name: String,
}

/// The thread's state.
pub struct UploadThread {
    clock: Clock,
    shared: Arc<Shared>,
    flash: FlashHandle,
    changes: Receiver<UploadSettings>,
    settings: UploadSettings,
    client: Client,
    retry: Retry,
    refusals: Refusals,
    random: Random,
    speed: UploadSpeed,
    rings: Vec<Source>,
    put: Put,
    /// Perhaps there already: the next segment's answer tells.
    doubtful: Option<(RingId, u64)>,
    told: String,
}

/// What the thread keeps of a ring.
#[derive(Debug, Default)]
struct Source {
    reader: Option<RingReader>,
    last_put: Instant,
    written: Option<(Instant, u64)>,
    write_rate: Option<Rate>,
}

/// The segment to be sent.
#[derive(Clone, Copy, Debug)]
struct Choice {
    ring: RingId,
    place: Place,
    lost_before: u64,
    set_aside: bool,
}

/// With nothing to send the thread looks around this often; the bell is faster.
const IDLE: Duration = Duration::from_secs(1);

impl UploadThread {
    /// A thread that sends to `settings`, and to what comes over `changes` later.
    pub fn new(
        clock: Clock,
        shared: Arc<Shared>,
        flash: FlashHandle,
        settings: UploadSettings,
        changes: Receiver<UploadSettings>,
        seed: u64,
    ) -> Result<Self, CertificatesError> {
        let client = Client::new(&settings.trusted, Timeouts::default())?;
        shared.set_canceller(client.canceller());
        Ok(Self {
            put: Put::new(Arc::clone(&shared), flash.clone()),
            clock,
            shared,
            flash,
            changes,
            settings,
            client,
            retry: Retry::new(),
            refusals: Refusals::new(),
            random: Random::new(seed),
            speed: UploadSpeed::new(),
            rings: Vec::new(),
            doubtful: None,
            told: String::new(),
        })
    }

    /// Works as long as the process lives.
    pub fn run(mut self) {
        loop {
            if self.take_changes().is_none() {
                return;
            }
            let now = self.clock.now();
            let pause = self.retry.ready_at().since(now);
            if !pause.is_zero() {
                self.shared.wait_for_bell(pause.min(IDLE));
                continue;
            }
            match self.choose(now) {
                Some(choice) => self.send(choice),
                None => {
                    if self.told.is_empty() {
                        self.shared.status().upload.state = "idle".into();
                    }
                    self.shared.wait_for_bell(IDLE);
                }
            }
        }
    }

    /// New settings end any back-off at once. `None`: the process ends.
    fn take_changes(&mut self) -> Option<()> {
        loop {
            match self.changes.try_recv() {
                Ok(settings) => {
                    match Client::new(&settings.trusted, Timeouts::default()) {
                        Ok(client) => self.client = client,
                        Err(error) => log::error!("trustedCertificatesPath: {error}"),
                    }
                    self.shared.set_canceller(self.client.canceller());
                    self.settings = settings;
                    self.retry.reset();
                    self.refusals.try_all();
                }
                Err(mpsc::TryRecvError::Empty) => return Some(()),
                Err(mpsc::TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// The segment that is next, of all rings.
    fn choose(&mut self, now: Instant) -> Option<Choice> {
        let rings = self.shared.rings().clone();
        self.rings.resize_with(rings.len().max(self.rings.len()), Source::default);
        let mut best: Option<(RingId, Offer)> = None;
        let mut aside = None;
        for (id, ring) in rings.iter().enumerate() {
            let Some(ring) = ring else { continue };
            let Some(offer) = self.offer_of(id, ring, now) else {
                aside = aside.or_else(|| self.due_set_aside(id, ring, now));
                continue;
            };
            if best.as_ref().is_none_or(|(_, other)| offer.before(other).is_lt()) {
                best = Some((id, offer));
            }
        }
        let Some((ring, offer)) = best else { return aside };
        let place = Place { position: offer.segment.position, sequence: offer.segment.sequence };
        Some(Choice { ring, place, lost_before: offer.lost_before, set_aside: false })
    }

    fn offer_of(&mut self, id: RingId, ring: &SharedRing, now: Instant) -> Option<Offer> {
        let source = self.rings.get_mut(id)?;
        let view = &ring.view;
        source.watch_writer(now, view.written);
        self.refusals.evicted(view.cursors.identity, view.cursors.oldest.sequence);
        if view.cursors.upload.position >= view.cursors.write.position {
            show_oldest_unsent(&self.shared, &ring.name, String::new());
            return None;
        }
        let reader = source.reader(ring)?;
        let facts = RingFacts {
            capacity: view.cursors.ring_size,
            write_rate: source.write_rate(),
            last_put: source.last_put,
        };
        let reader = source.reader.as_ref().unwrap_or(reader);
        let mut unsent = Unsent { reader, ring, next: view.cursors.upload, damaged: None };
        let refusals = &self.refusals;
        let first = view.cursors.upload.sequence;
        let mut oldest = None;
        let candidates = core::iter::from_fn(|| unsent.next_candidate()).map(|mut candidate| {
            oldest.get_or_insert(candidate.start);
            let id = SegmentId { ring: view.cursors.identity, sequence: candidate.sequence };
            candidate.may_try = refusals.may_try(id, false, now);
            candidate
        });
        let offer = offer(&facts, self.speed.bytes_per_second(), candidates);
        if let Some(oldest) = oldest {
            show_oldest_unsent(&self.shared, &ring.name, oldest.to_string());
        }
        if unsent.damaged == Some(first) {
            self.give_up(id, &ring.name, first);
            return None;
        }
        offer
    }
}
