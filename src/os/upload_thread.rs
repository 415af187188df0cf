//! The upload thread: one Put Blob at a time, blocking, oldest first, for ever.
//!
//! [`next_segment`](super::next_segment) says which segment is next, [`put`](super::put) sends
//! it; here stands what its answer leads to, and [`upload_state`](super::upload_state) tells it.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::clock::Clock;
use super::flash_thread::{self, FlashHandle};
use super::https::{CertificatesError, Client, Timeouts, TrustedCertificates};
use super::next_segment::{Choice, Next, Situation, Sources};
use super::put::{Parcel, Put, PutError, Sent};
use super::ring_files::RingFiles;
use super::shared::{RingId, Shared, SharedRing};
use super::upload_state::UploadState;
use crate::backoff::Random;
use crate::blob::headers::AccessTier;
use crate::blob::name::probe_name;
use crate::blob::refusals::{HOLD, Refusals, SegmentId};
use crate::blob::retry::Retry;
use crate::blob::sas::{ContainerUrl, SasWindow};
use crate::blob::speed::UploadSpeed;
use crate::blob::verdict::{AttemptFacts, Doubt, Verdict, judge};
use crate::ring::{Ring, RingError};
use crate::time::ClockQuality;

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
    sources: Sources,
    put: Put,
    /// Perhaps there already, and put aside: the next segment's answer tells.
    doubtful: Option<(Choice, Sent)>,
    state: UploadState,
}

/// With nothing to send the thread looks around this often; the bell is faster.
const IDLE: Duration = Duration::from_secs(1);

impl UploadThread {
    /// A thread that sends to `settings`, and to what comes over `changes` later.
    ///
    /// Who sends new settings calls [`Shared::cancel_put`] behind it: the Put under way ends, and
    /// the segment is sent again at once.
    pub fn new(
        clock: Clock,
        shared: Arc<Shared>,
        flash: FlashHandle,
        settings: UploadSettings,
        changes: Receiver<UploadSettings>,
        seed: u64,
    ) -> Result<Self, CertificatesError> {
        let client = Client::new(&settings.trusted, Timeouts::default(), clock)?;
        shared.set_canceller(client.canceller());
        Ok(Self {
            put: Put::new(Arc::clone(&shared), flash.clone()),
            state: UploadState::new(Arc::clone(&shared)),
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
            sources: Sources::default(),
            doubtful: None,
        })
    }

    /// Works as long as the process lives.
    pub fn run(mut self) {
        loop {
            // Before the look at settings and rings: a cancel for a later change holds.
            self.client.canceller().rearm();
            if self.take_changes().is_none() {
                return;
            }
            let now = self.clock.now();
            let pause = self.retry.ready_at().since(now);
            if !pause.is_zero() {
                self.shared.wait_for_bell(pause.min(IDLE));
                continue;
            }
            let situation = Situation {
                now,
                upload: self.speed.bytes_per_second(),
                in_doubt: self.doubtful.is_some(),
            };
            let next = self
                .sources
                .choose(&self.shared, &mut self.refusals, situation);
            self.state.forget_evicted();
            match next {
                Some(Next::Send(choice)) => self.send(choice),
                Some(Next::GiveUp(choice)) => self.with_its_ring(choice, Self::give_up),
                None => {
                    self.state.idle();
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
                    match Client::new(&settings.trusted, Timeouts::default(), self.clock) {
                        Ok(client) => self.client = client,
                        Err(error) => log::error!("trustedCertificatesPath: {error}"),
                    }
                    self.shared.set_canceller(self.client.canceller());
                    self.settings = settings;
                    self.retry.reset();
                    self.refusals.try_all();
                    self.sources.try_all();
                    // Another SAS's answer would tell nothing of it.
                    self.doubtful = None;
                }
                Err(mpsc::TryRecvError::Empty) => return Some(()),
                Err(mpsc::TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// Does `act` with the chosen segment's ring as it is now.
    fn with_its_ring(&mut self, choice: Choice, act: fn(&mut Self, Choice, &SharedRing)) {
        let ring = self.shared.rings().get(choice.ring).cloned().flatten();
        // It may have moved on since it was looked at.
        if let Some(ring) = ring.filter(|ring| choice.is_unsent_in(&ring.view.cursors)) {
            act(self, choice, &ring);
        }
    }

    fn send(&mut self, choice: Choice) {
        self.with_its_ring(choice, |this, choice, ring| {
            let upload = ring.view.cursors.upload.sequence;
            if !choice.set_aside && choice.place.sequence > upload {
                this.skip_to(choice, ring);
            } else {
                this.send_from(choice, ring);
            }
        });
    }

    /// What cannot be sent whole any more makes room for what can.
    fn skip_to(&mut self, choice: Choice, ring: &SharedRing) {
        let shared = Arc::clone(&self.shared);
        let (name, before) = (ring.name.clone(), choice.place.sequence);
        self.change(choice.ring, ring, move |ring| {
            ring.skip_to(before, &mut |evicted| {
                flash_thread::told(&shared, &name, evicted);
            })
        });
    }

    fn send_from(&mut self, choice: Choice, ring: &SharedRing) {
        let now = self.clock.now();
        let Some(reader) = self.sources.begin(choice.ring, ring, now) else {
            return self.sources.failed(choice.ring, now, &mut self.random);
        };
        let parcel = Parcel {
            id: choice.ring,
            ring,
            reader,
            place: choice.place,
            set_aside: choice.set_aside,
        };
        match self.put.send(
            &parcel,
            &self.settings,
            &mut self.client,
            &self.clock,
            &mut self.speed,
        ) {
            Ok(sent) => self.answered(choice, ring, sent),
            Err(PutError::Damaged) => self.give_up(choice, ring),
            Err(PutError::Read(error)) => {
                log::warn!("{}: the card cannot be read: {error}", ring.name);
                self.failed(choice.ring);
            }
            Err(PutError::Ring(error)) => self.refused_by(choice.ring, ring, error),
            Err(PutError::Gone) => self.failed(choice.ring),
        }
    }

    /// Acts on the answer to a Put.
    fn answered(&mut self, choice: Choice, ring: &SharedRing, sent: Sent) {
        let verdict = self.verdict(&sent);
        let now = self.clock.now();
        let id = SegmentId {
            ring: ring.view.cursors.identity,
            sequence: choice.place.sequence,
        };
        self.settle_doubt(&verdict);
        if verdict != Verdict::Aborted {
            self.sources.works(choice.ring);
        }
        match &verdict {
            Verdict::Stored | Verdict::AlreadyThere => {
                self.refusals.stored(id);
                self.stored(choice, ring, &sent);
            }
            Verdict::MaybeThere => {
                self.doubtful = Some((choice, sent));
                self.put_aside(choice, ring);
            }
            Verdict::SegmentRefused(_) => {
                let outcome = self.refusals.refused(id, now);
                self.state
                    .refused(choice, ring, &sent.name, &verdict, outcome);
                self.put_aside(choice, ring);
            }
            Verdict::Aborted => self.failed(choice.ring),
            _ => {}
        }
        let pause = self.retry.after(now, &verdict, &mut self.random);
        self.state.tell(&verdict, pause);
    }

    /// What the answer means; after a line that broke in mid-body, what a probe says of it.
    fn verdict(&mut self, sent: &Sent) -> Verdict {
        let attempt = AttemptFacts {
            may_be_there: sent.may_be_there,
            lacks_right: self.settings.container.lacks_right(),
            sas: self.sas_window(),
        };
        let verdict = judge(&sent.answer, &attempt);
        if !verdict.wants_probe() {
            return verdict;
        }
        let name = probe_name(&self.settings.gateway);
        let url = self.settings.container.blob_url(&name);
        let may_be_there = true;
        let attempt = AttemptFacts {
            may_be_there,
            ..attempt
        };
        let probed = judge(&self.client.probe(&url), &attempt);
        if probed.is_good_probe() {
            verdict
        } else {
            probed
        }
    }

    /// It is in the container: the ring goes on, and the state counts it once.
    fn stored(&mut self, choice: Choice, ring: &SharedRing, sent: &Sent) {
        match self.put.delivered(choice.ring, choice.set_aside, sent) {
            Some(Ok(())) => {}
            Some(Err(error)) => self.refused_by(choice.ring, ring, error),
            None => self.failed(choice.ring),
        }
        // If the card failed the ring may have kept it as the next to send.
        let frozen = self.view(choice.ring, |ring| ring.view.cursors.frozen.clone());
        let is_next = |place| place == choice.place && !choice.set_aside;
        if !frozen.flatten().is_some_and(|frozen| is_next(frozen.place)) {
            self.state.stored(choice, ring, sent);
        }
    }

    /// Puts a segment aside, so that those behind it are tried.
    fn put_aside(&mut self, choice: Choice, ring: &SharedRing) {
        if choice.set_aside {
            return;
        }
        let list = &ring.view.cursors.set_aside;
        let oldest = list.first().filter(|_| list.is_full());
        let oldest = oldest.map(|entry| SegmentId {
            ring: ring.view.cursors.identity,
            sequence: entry.place.sequence,
        });
        if self.refusals.may_put_aside(oldest) {
            let sequence = choice.place.sequence;
            self.change(choice.ring, ring, move |ring| ring.set_aside(sequence));
        } else {
            // It stays next in its ring; the other rings go on.
            self.sources.hold(choice.ring, self.clock.now() + HOLD);
        }
    }

    /// Nothing, or nothing more, of a segment can be read: a gap tells it.
    fn give_up(&mut self, choice: Choice, ring: &SharedRing) {
        let sequence = choice.place.sequence;
        let done = self.change(choice.ring, ring, move |ring| {
            if choice.set_aside {
                ring.give_up_set_aside(sequence)
            } else {
                ring.give_up(sequence)
            }
        });
        if done {
            log::error!(
                "{}: segment {sequence} cannot be read back: replace the card if this repeats",
                ring.name
            );
        }
    }

    /// Another segment's answer, with the same SAS, tells what a doubtful one meant.
    fn settle_doubt(&mut self, verdict: &Verdict) {
        let settled = Doubt::settle(verdict);
        if settled == Doubt::Open {
            return;
        }
        let Some((choice, sent)) = self.doubtful.take() else {
            return;
        };
        if settled == Doubt::ItIsThere
            && let Some(ring) = self.view(choice.ring, SharedRing::clone)
        {
            let set_aside = true;
            self.stored(
                Choice {
                    set_aside,
                    ..choice
                },
                &ring,
                &sent,
            );
        }
    }

    /// Has a ring, seen as `seen`, change its cursors; true: it did.
    fn change(
        &mut self,
        id: RingId,
        seen: &SharedRing,
        work: impl FnOnce(&mut Ring<RingFiles>) -> Result<(), RingError> + Send + 'static,
    ) -> bool {
        match self.flash.with_ring(id, work) {
            Some(Ok(())) => return true,
            Some(Err(error)) => self.refused_by(id, seen, error),
            None => self.failed(id),
        }
        false
    }

    /// A ring did not do what was asked. Where only its cursors have moved on meanwhile, as by an
    /// eviction, the next look is at once.
    fn refused_by(&mut self, id: RingId, seen: &SharedRing, error: RingError) {
        let moved = self.view(id, |ring| ring.view.cursors != seen.view.cursors);
        if matches!(error, RingError::NotNext { .. }) && moved == Some(true) {
            log::debug!("{}: {error}", seen.name);
            return;
        }
        log::warn!("{}: {error}", seen.name);
        self.failed(id);
    }

    fn failed(&mut self, id: RingId) {
        self.sources.failed(id, self.clock.now(), &mut self.random);
    }

    /// A ring as it is now.
    fn view<T>(&self, id: RingId, look: impl FnOnce(&SharedRing) -> T) -> Option<T> {
        self.shared.rings().get(id)?.as_ref().map(look)
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
}
