//! Which segment of which ring is sent next: walks the records of what is not sent.

use std::time::Duration;

use super::ring_files::RingReader;
use super::shared::{RingId, Shared, SharedRing};
use crate::backoff::{Backoff, Random};
use crate::blob::queue::{Candidate, Offer, RingFacts, offer};
use crate::blob::refusals::{Refusals, SegmentId};
use crate::blob::speed::Rate;
use crate::ring::{Cursors, Place, ReadFault, SegmentReader};
use crate::time::{Instant, UtcMillis};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this segment.
    Send(Choice),
    /// Give this one up: its records cannot be read back.
    GiveUp(Choice),
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its ring.
    pub ring: RingId,
    /// Its place in it.
    pub place: Place,
    /// It was put aside.
    pub set_aside: bool,
}

impl Choice {
    /// It is still to be sent, by these cursors.
    pub fn is_unsent_in(&self, cursors: &Cursors) -> bool {
        if self.set_aside {
            cursors.set_aside.iter().any(|e| e.place == self.place)
        } else {
            self.place.sequence >= cursors.upload.sequence
        }
    }
}

/// What choosing needs to know beside the rings.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Now.
    pub now: Instant,
    /// Bytes a second of the uplink, if known.
    pub upload: Option<u64>,
    /// One that was put aside is perhaps there already: another's answer must tell first.
    pub in_doubt: bool,
}

/// The rings as sources of segments.
#[derive(Debug, Default)]
pub struct Sources {
    rings: Vec<Source>,
    /// The last one chosen had been put aside.
    was_set_aside: bool,
}

/// What is kept of a ring.
#[derive(Debug)]
struct Source {
    reader: Option<RingReader>,
    last_put: Instant,
    written: Option<(Instant, u64)>,
    write_rate: Rate,
    /// After the ring failed.
    backoff: Backoff,
    ready_at: Instant,
}

/// A ring's write rate is observed this often at most.
const WRITER_STEP: Duration = Duration::from_secs(1);

/// Write rates are averages over about this long.
const WRITER_MEMORY: Duration = Duration::from_secs(60);

impl Sources {
    /// The segment that is next, of all rings. Shows the state of their backlogs on the way.
    ///
    /// What was put aside and is due goes before the queue, else a slow uplink would never send
    /// it; but in turn with the queue, so that many of them do not hold that up.
    pub fn choose(
        &mut self,
        shared: &Shared,
        refusals: &mut Refusals,
        situation: Situation,
    ) -> Option<Next> {
        let rings = shared.rings().clone();
        let count = rings.len().max(self.rings.len());
        self.rings.resize_with(count, Source::new);
        let mut aside = None;
        let mut best: Option<(Choice, Offer)> = None;
        for (id, (source, ring)) in self.rings.iter_mut().zip(&rings).enumerate() {
            let Some(ring) = ring else { continue };
            let cursors = &ring.view.cursors;
            refusals.evicted(cursors.identity, cursors.oldest.sequence);
            source.watch_writer(situation.now, ring.view.written);
            if source.ready_at > situation.now {
                continue;
            }
            let choice = |place, set_aside| Choice {
                ring: id,
                place,
                set_aside,
            };
            if !situation.in_doubt {
                let due = due_set_aside(cursors, refusals, situation.now);
                aside = aside.or(due.map(|place| choice(place, true)));
            }
            match source.offer(shared, ring, situation.upload) {
                Err(Damaged) => return Some(Next::GiveUp(choice(cursors.upload, false))),
                Ok(Some(offer)) if best.as_ref().is_none_or(|(_, b)| offer.before(b).is_lt()) => {
                    best = Some((choice(place_of(&offer), false), offer));
                }
                Ok(_) => {}
            }
        }
        let queued = best.map(|(choice, _)| choice);
        self.in_turn(aside, queued).map(Next::Send)
    }

    fn in_turn(&mut self, aside: Option<Choice>, queued: Option<Choice>) -> Option<Choice> {
        let choice = if self.was_set_aside {
            queued.or(aside)
        } else {
            aside.or(queued)
        };
        self.was_set_aside = choice.is_some_and(|choice| choice.set_aside);
        choice
    }

    /// A Put of a segment of `ring` begins: its files, unless they cannot be opened.
    pub fn begin(&mut self, id: RingId, ring: &SharedRing, now: Instant) -> Option<&RingReader> {
        let source = self.rings.get_mut(id)?;
        source.last_put = now;
        source.open(ring)
    }

    /// A ring failed: it is left alone for a while, the others go on.
    pub fn failed(&mut self, id: RingId, now: Instant, random: &mut Random) {
        if let Some(source) = self.rings.get_mut(id) {
            source.ready_at = now + source.backoff.failed(random);
        }
    }

    /// A ring did what was asked.
    pub fn works(&mut self, id: RingId) {
        if let Some(source) = self.rings.get_mut(id) {
            source.backoff.reset();
        }
    }

    /// A ring is left alone until `then`.
    pub fn hold(&mut self, id: RingId, then: Instant) {
        if let Some(source) = self.rings.get_mut(id) {
            source.ready_at = then;
        }
    }

    /// SIGHUP: no ring is left alone any longer.
    pub fn try_all(&mut self) {
        for source in &mut self.rings {
            source.ready_at = Instant::START;
        }
    }
}

/// The records of the oldest unsent segment are no records.
#[derive(Debug)]
struct Damaged;

impl Source {
    fn new() -> Self {
        Self {
            reader: None,
            last_put: Instant::START,
            written: None,
            write_rate: Rate::new(WRITER_MEMORY),
            backoff: Backoff::upload(),
            ready_at: Instant::START,
        }
    }

    fn watch_writer(&mut self, now: Instant, written: u64) {
        match self.written {
            Some((then, _)) if now.since(then) < WRITER_STEP => {}
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

    /// What the ring has to send.
    fn offer(
        &mut self,
        shared: &Shared,
        ring: &SharedRing,
        upload: Option<u64>,
    ) -> Result<Option<Offer>, Damaged> {
        let cursors = &ring.view.cursors;
        if cursors.upload.position >= cursors.write.position {
            show_oldest_unsent(shared, &ring.name, None);
            return Ok(None);
        }
        let facts = RingFacts {
            capacity: cursors.ring_size,
            write_rate: self.write_rate.bytes_per_second().unwrap_or(0),
            last_put: self.last_put,
        };
        let Some(reader) = self.open(ring) else {
            return Ok(None);
        };
        let mut unsent = Unsent {
            reader,
            ring,
            next: cursors.upload,
            oldest: None,
            damaged: false,
        };
        let offer = offer(&facts, upload, &mut unsent);
        match unsent.oldest {
            Some(oldest) => show_oldest_unsent(shared, &ring.name, Some(oldest)),
            None if unsent.damaged => return Err(Damaged),
            None => {}
        }
        Ok(offer)
    }
}

fn place_of(offer: &Offer) -> Place {
    Place {
        position: offer.segment.position,
        sequence: offer.segment.sequence,
    }
}

/// One that was put aside and whose turn has come again.
fn due_set_aside(cursors: &Cursors, refusals: &Refusals, now: Instant) -> Option<Place> {
    let due = cursors.set_aside.iter().find(|entry| {
        let id = SegmentId {
            ring: cursors.identity,
            sequence: entry.place.sequence,
        };
        refusals.may_try(id, now)
    });
    due.map(|entry| entry.place)
}

/// The sealed segments of a ring that are not sent, oldest first, as their records tell.
struct Unsent<'a> {
    reader: &'a RingReader,
    ring: &'a SharedRing,
    next: Place,
    /// Start of the first.
    oldest: Option<UtcMillis>,
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
                let start = cursors.resolve(segment.open.start);
                self.oldest.get_or_insert(start);
                Some(Candidate {
                    sequence: segment.open.key.sequence,
                    position: place.position,
                    length: seal.length,
                    ahead: (place.position + cursors.ring_size)
                        .saturating_sub(self.ring.view.written),
                    start,
                })
            }
            Err(error) => {
                self.damaged = !matches!(error.fault, ReadFault::Flash(_));
                None
            }
        }
    }
}

fn show_oldest_unsent(shared: &Shared, name: &str, oldest: Option<UtcMillis>) {
    let oldest = oldest.map(|oldest| oldest.to_string()).unwrap_or_default();
    shared.change_camera(name, |camera| camera.cache.oldest_unsent = oldest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::SetAside;
    use crate::time::ClockQuality;

    fn place(sequence: u64) -> Place {
        Place {
            position: sequence * 4096,
            sequence,
        }
    }

    fn choice(sequence: u64, set_aside: bool) -> Choice {
        Choice {
            ring: 0,
            place: place(sequence),
            set_aside,
        }
    }

    /// Segments 2 and 4 were put aside, 6 is next.
    fn cursors() -> Cursors {
        let entry = |sequence| SetAside {
            place: place(sequence),
            first_fragment: 0,
            start: UtcMillis(0),
            end: UtcMillis(0),
            clock: ClockQuality::Synchronized,
            may_have_arrived: false,
        };
        Cursors {
            upload: place(6),
            set_aside: [2, 4].map(entry).into_iter().collect(),
            ..Cursors::default()
        }
    }

    #[test]
    fn what_was_put_aside_goes_before_the_queue_in_turn_with_it() {
        let mut sources = Sources::default();
        let (aside, queued) = (Some(choice(2, true)), Some(choice(6, false)));
        for expected in [aside, queued, aside, queued] {
            assert_eq!(sources.in_turn(aside, queued), expected);
        }
        assert_eq!(sources.in_turn(None, queued), queued);
        for _ in 0..2 {
            assert_eq!(sources.in_turn(aside, None), aside);
        }
        assert_eq!(sources.in_turn(None, None), None);
    }

    #[test]
    fn the_oldest_that_is_due_of_what_was_put_aside() {
        let now = Instant::from_millis(1000);
        let mut refusals = Refusals::new();
        for (refused, expected) in [(2, Some(place(4))), (4, None)] {
            let ring = cursors().identity;
            let sequence = refused;
            refusals.refused(SegmentId { ring, sequence }, now);
            assert_eq!(due_set_aside(&cursors(), &refusals, now), expected);
        }
        refusals.try_all();
        assert_eq!(due_set_aside(&cursors(), &refusals, now), Some(place(2)));
    }

    #[test]
    fn a_choice_is_stale_once_its_ring_has_moved_on() {
        for (sequence, set_aside, expected) in [
            (2, true, true),
            (3, true, false),
            (5, false, false),
            (6, false, true),
            (7, false, true),
        ] {
            let is_unsent = choice(sequence, set_aside).is_unsent_in(&cursors());
            assert_eq!(is_unsent, expected, "{sequence}");
        }
    }

    #[test]
    fn a_ring_that_failed_is_left_alone_until_its_time_or_sighup() {
        let mut sources = Sources {
            rings: vec![Source::new()],
            was_set_aside: false,
        };
        let now = Instant::from_millis(1000);
        sources.failed(0, now, &mut Random::new(1));
        assert!(sources.rings[0].ready_at >= now + Duration::from_secs(1));
        sources.try_all();
        assert_eq!(sources.rings[0].ready_at, Instant::START);
        sources.hold(0, now);
        assert_eq!(sources.rings[0].ready_at, now);
    }
}
