//! The upload thread: one Put Blob at a time, blocking, oldest first, for ever.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::clock::Clock;
use super::flash_thread::{self, FlashHandle};
use super::https::{CertificatesError, Client, Timeouts, TrustedCertificates};
use super::put::{Parcel, Put, PutError};
use super::ring_files::RingReader;
use super::shared::{RingId, Shared, SharedRing};
use crate::backoff::Random;
use crate::blob::headers::AccessTier;
use crate::blob::name::probe_name;
use crate::blob::queue::{Candidate, Offer, RingFacts, offer};
use crate::blob::refusals::{Outcome, Refusals, SegmentId};
use crate::blob::retry::Retry;
use crate::blob::sas::{ContainerUrl, SasWindow};
use crate::blob::speed::{Rate, UploadSpeed};
use crate::blob::verdict::{AttemptFacts, Doubt, Verdict, judge};
use crate::ring::{Evicted, Place, ReadFault, RingError, SegmentReader};
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
    /// `gatewayName`, for the name of the probe.
    pub gateway: String,
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
#[derive(Debug)]
struct Source {
    reader: Option<RingReader>,
    last_put: Instant,
    written: Option<(Instant, u64)>,
    write_rate: Rate,
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
        self.rings
            .resize_with(rings.len().max(self.rings.len()), Source::new);
        let mut best: Option<(RingId, Offer)> = None;
        let mut aside = None;
        for (id, ring) in rings.iter().enumerate() {
            let Some(ring) = ring else { continue };
            let Some(offer) = self.offer_of(id, ring, now) else {
                aside = aside.or_else(|| self.due_set_aside(id, ring, now));
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(_, other)| offer.before(other).is_lt())
            {
                best = Some((id, offer));
            }
        }
        let Some((ring, offer)) = best else {
            return aside;
        };
        let place = Place {
            position: offer.segment.position,
            sequence: offer.segment.sequence,
        };
        Some(Choice {
            ring,
            place,
            lost_before: offer.lost_before,
            set_aside: false,
        })
    }

    /// What a ring has to send; shows the state of its backlog on the way.
    fn offer_of(&mut self, id: RingId, ring: &SharedRing, now: Instant) -> Option<Offer> {
        let cursors = &ring.view.cursors;
        let source = self.rings.get_mut(id)?;
        source.watch_writer(now, ring.view.written);
        self.refusals
            .evicted(cursors.identity, cursors.oldest.sequence);
        if cursors.upload.position >= cursors.write.position {
            show_oldest_unsent(&self.shared, &ring.name, String::new());
            return None;
        }
        let facts = RingFacts {
            capacity: cursors.ring_size,
            write_rate: source.write_rate.bytes_per_second().unwrap_or(0),
            last_put: source.last_put,
        };
        let reader = source.open(ring)?;
        let mut unsent = Unsent {
            reader,
            ring,
            next: cursors.upload,
            damaged: false,
        };
        let (refusals, first) = (
            &self.refusals,
            unsent.next().map(|mut first| {
                let id = SegmentId {
                    ring: cursors.identity,
                    sequence: first.sequence,
                };
                first.may_try = self.refusals.may_try(id, false, now);
                first
            }),
        );
        let Some(first) = first else {
            if unsent.damaged {
                self.give_up(id, &ring.name, cursors.upload.sequence);
            }
            return None;
        };
        show_oldest_unsent(&self.shared, &ring.name, first.start.to_string());
        let rest = unsent.map(|mut candidate| {
            let id = SegmentId {
                ring: cursors.identity,
                sequence: candidate.sequence,
            };
            candidate.may_try = refusals.may_try(id, false, now);
            candidate
        });
        offer(
            &facts,
            self.speed.bytes_per_second(),
            core::iter::once(first).chain(rest),
        )
    }

    /// A segment that was set aside and whose turn has come again.
    fn due_set_aside(&self, id: RingId, ring: &SharedRing, now: Instant) -> Option<Choice> {
        let cursors = &ring.view.cursors;
        let due = cursors.set_aside.iter().find(|entry| {
            let id = SegmentId {
                ring: cursors.identity,
                sequence: entry.place.sequence,
            };
            self.doubtful.is_none() && self.refusals.may_try(id, true, now)
        })?;
        Some(Choice {
            ring: id,
            place: due.place,
            lost_before: 0,
            set_aside: true,
        })
    }

    /// The records of the oldest unsent segment are gone: a gap tells it.
    fn give_up(&self, ring: RingId, name: &str, sequence: u64) {
        log::error!(
            "{name}: segment {sequence} cannot be read back: replace the card if this repeats"
        );
        let done = self
            .flash
            .with_ring(ring, move |ring| ring.give_up(sequence));
        report(name, done);
    }

    fn send(&mut self, choice: Choice) {
        let Some(Some(ring)) = self.shared.rings().get(choice.ring).cloned() else {
            return;
        };
        if choice.lost_before > ring.view.cursors.upload.sequence {
            let shared = Arc::clone(&self.shared);
            let (name, before) = (ring.name.clone(), choice.lost_before);
            let done = self.flash.with_ring(choice.ring, move |ring| {
                ring.skip_to(before, &mut |evicted| {
                    evicted_unsent(&shared, &name, evicted)
                })
            });
            report(&ring.name, done);
            return;
        }
        let Some(source) = self.rings.get_mut(choice.ring) else {
            return;
        };
        source.last_put = self.clock.now();
        let Some(reader) = source.open(&ring) else {
            return;
        };
        let parcel = Parcel {
            id: choice.ring,
            ring: &ring,
            reader,
            place: choice.place,
            set_aside: choice.set_aside,
        };
        self.client.canceller().rearm();
        match self.put.send(
            &parcel,
            &self.settings,
            &mut self.client,
            &self.clock,
            &mut self.speed,
        ) {
            Ok(sent) => self.judge(choice, &ring, &sent),
            Err(PutError::Damaged) => self.give_up(choice.ring, &ring.name, choice.place.sequence),
            Err(PutError::Read(error)) => {
                log::warn!("{}: the card cannot be read: {error}", ring.name);
                self.retry
                    .after(self.clock.now(), &Verdict::Md5Mismatch, &mut self.random);
            }
            Err(PutError::Ring(error)) => log::debug!("{}: {error}", ring.name),
            Err(PutError::Gone) => {}
        }
    }

    /// Judges the answer to a Put and acts on it.
    fn judge(&mut self, choice: Choice, ring: &SharedRing, sent: &super::put::Sent) {
        let attempt = AttemptFacts {
            may_be_there: sent.may_be_there,
            lacks_right: self.settings.container.lacks_right(),
            sas: self.sas_window(),
        };
        let mut verdict = judge(&sent.answer, &attempt);
        if verdict.wants_probe() {
            let url = self
                .settings
                .container
                .blob_url(&probe_name(&self.settings.gateway));
            let probed = judge(
                &self.client.probe(&url),
                &AttemptFacts {
                    may_be_there: true,
                    ..attempt
                },
            );
            if !probed.is_good_probe() {
                verdict = probed;
            }
        }
        let now = self.clock.now();
        let id = SegmentId {
            ring: ring.view.cursors.identity,
            sequence: choice.place.sequence,
        };
        self.settle_doubt(&verdict);
        match &verdict {
            Verdict::Stored | Verdict::AlreadyThere => {
                self.refusals.stored(id);
                self.put.delivered(choice.ring, choice.set_aside, sent);
                self.show_stored(ring, sent);
            }
            Verdict::MaybeThere => {
                self.doubtful = Some((choice.ring, id.sequence));
                self.set_aside(choice.ring, &ring.name, id.sequence);
            }
            Verdict::SegmentRefused(_) => {
                let outcome = self.refusals.refused(id, choice.set_aside, now);
                if outcome == Outcome::SetAside && !choice.set_aside {
                    log::error!("{}: {} is set aside: {verdict}", ring.name, sent.name);
                    self.set_aside(choice.ring, &ring.name, id.sequence);
                }
            }
            _ => {}
        }
        let pause = self.retry.after(now, &verdict, &mut self.random);
        self.tell(&verdict, pause);
    }

    fn set_aside(&self, ring: RingId, name: &str, sequence: u64) {
        report(
            name,
            self.flash
                .with_ring(ring, move |ring| ring.set_aside(sequence)),
        );
    }

    /// Another segment's answer, with the same SAS, tells what a doubtful one meant.
    fn settle_doubt(&mut self, verdict: &Verdict) {
        let Some((ring, sequence)) = self.doubtful else {
            return;
        };
        match Doubt::settle(verdict) {
            Doubt::Open => return,
            Doubt::ItIsThere => {
                let done = self
                    .flash
                    .with_ring(ring, move |ring| ring.set_aside_uploaded(sequence));
                report("upload", done);
            }
            Doubt::NotThere => {}
        }
        self.doubtful = None;
    }

    fn sas_window(&self) -> SasWindow {
        let (offset, quality) = self.clock.utc_offset();
        match quality {
            ClockQuality::Unsynchronized => SasWindow::Unknown,
            _ => self
                .settings
                .container
                .window(offset.utc(self.clock.now().ticks())),
        }
    }

    /// Says in log and state what is wrong, once, and when it is right again.
    fn tell(&mut self, verdict: &Verdict, pause: Duration) {
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
        if text != self.told && !matches!(verdict, Verdict::Aborted | Verdict::MaybeThere) {
            log::warn!(
                "upload: {text}; tried again in {} s, then on",
                pause.as_secs()
            );
            self.told = text;
        }
    }

    fn show_stored(&self, ring: &SharedRing, sent: &super::put::Sent) {
        log::info!(
            "{}: uploaded {}, {} bytes",
            ring.name,
            sent.name,
            sent.length
        );
        self.shared.change_camera(&ring.name, |camera| {
            camera.uploaded.segments += 1;
            camera.uploaded.milliseconds += sent.name.duration;
            camera.uploaded.bytes += sent.length;
        });
        let mut status = self.shared.status();
        status.upload.segments += 1;
        status.upload.bytes += sent.length;
    }
}

impl Source {
    fn new() -> Self {
        Self {
            reader: None,
            last_put: Instant::START,
            written: None,
            write_rate: Rate::new(WRITER_MEMORY),
        }
    }

    fn watch_writer(&mut self, now: Instant, written: u64) {
        match self.written {
            Some((then, _)) if now.since(then) < IDLE => {}
            Some((then, before)) => {
                self.write_rate
                    .observe(written.saturating_sub(before), now.since(then));
                self.written = Some((now, written));
            }
            None => self.written = Some((now, written)),
        }
    }

    fn open(&mut self, ring: &SharedRing) -> Option<&RingReader> {
        if self.reader.is_none() {
            self.reader = RingReader::open(&ring.folder, ring.geometry)
                .inspect_err(|error| log::warn!("{}: the ring cannot be read: {error}", ring.name))
                .ok();
        }
        self.reader.as_ref()
    }
}

/// The sealed segments of a ring that are not sent, oldest first, as their records tell.
struct Unsent<'a> {
    reader: &'a RingReader,
    ring: &'a SharedRing,
    next: Place,
    damaged: bool,
}

impl Iterator for Unsent<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        let cursors = &self.ring.view.cursors;
        let place = self.next;
        if place.position >= cursors.write.position {
            return None;
        }
        match SegmentReader::open_sealed(self.reader, place.position) {
            Ok((segment, seal)) => {
                self.next = Place {
                    position: segment.next_position()?,
                    sequence: segment.open.key.sequence + 1,
                };
                Some(Candidate {
                    sequence: segment.open.key.sequence,
                    position: place.position,
                    length: seal.length,
                    ahead: (place.position + cursors.ring_size)
                        .saturating_sub(self.ring.view.written),
                    start: cursors.resolve(segment.open.start),
                    may_try: true,
                })
            }
            Err(error) => {
                self.damaged = !matches!(error.fault, ReadFault::Flash(_));
                None
            }
        }
    }
}

/// Write rates are averages over about this long.
const WRITER_MEMORY: Duration = Duration::from_secs(60);

fn evicted_unsent(shared: &Shared, name: &str, evicted: Evicted) {
    flash_thread::told(shared, name, evicted);
}

fn report(name: &str, done: Option<Result<(), RingError>>) {
    if let Some(Err(error)) = done {
        log::warn!("{name}: {error}");
    }
}

fn show_oldest_unsent(shared: &Shared, name: &str, oldest: String) {
    shared.change_camera(name, |camera| camera.cache.oldest_unsent = oldest);
}
