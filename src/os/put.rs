//! One segment's Put Blob: read it, fix its name, send it.

use std::sync::Arc;

use super::clock::Clock;
use super::flash_thread::FlashHandle;
use super::https::Client;
use super::put_body::Sending;
use super::ring_files::RingReader;
use super::shared::{RingId, Shared, SharedRing};
use super::upload_thread::UploadSettings;
use crate::blob::body::{BlobBody, init_id};
use crate::blob::headers::{Metadata, PutRequest};
use crate::blob::name::BlobName;
use crate::blob::speed::{Pace, UploadSpeed};
use crate::blob::verdict::Answer;
use crate::gap::ToldGap;
use crate::limits::{BLOCK_SIZE, INIT_SEGMENT_MAX};
use crate::mp4::front::{FrontBuilder, FrontTimes};
use crate::ring::{Place, ReadError, ReadFault, RingError, Run, SegmentReader, SetAside, point_in};
use crate::time::{ClockQuality, Ticks, UtcMillis};

/// What is to be sent.
pub struct Parcel<'a> {
    /// Its ring.
    pub id: RingId,
    /// The ring as it was when the segment was chosen.
    pub ring: &'a SharedRing,
    /// Its files.
    pub reader: &'a RingReader,
    /// Its place in it.
    pub place: Place,
    /// It had been set aside: name and times are those noted then.
    pub set_aside: bool,
}

/// Where what is to be sent of a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// With it, or with its first good run.
    Segment,
    /// Behind the runs that were sent.
    After(Ticks),
    /// With this fragment, as its name, fixed earlier, says.
    Fragment(u32),
}

impl Parcel<'_> {
    fn set_aside_entry(&self) -> Option<&SetAside> {
        let entries = &self.ring.view.cursors.set_aside;
        entries.iter().find(|entry| entry.place == self.place)
    }

    fn begins(&self) -> Begins {
        match (self.set_aside_entry(), self.ring.view.cursors.run_end) {
            (Some(entry), _) if entry.first_fragment > 0 => Begins::Fragment(entry.first_fragment),
            (Some(_), _) | (None, None) => Begins::Segment,
            (None, Some(end)) => Begins::After(end),
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub struct Sent {
    /// Its blob.
    pub name: BlobName,
    /// Bytes of the body.
    pub length: u64,
    /// An earlier attempt may have delivered its last byte.
    pub may_be_there: bool,
    /// How it ended.
    pub answer: Answer,
    /// More good runs of the segment follow.
    pub more: bool,
}

/// Why nothing was sent.
#[derive(Debug)]
pub enum PutError {
    /// Nothing, or nothing more, of the segment can be read.
    Damaged,
    /// The card failed.
    Read(ReadError),
    /// The segment is no longer next.
    Ring(RingError),
    /// The flash thread has ended.
    Gone,
}

/// The buffers of the Put under way.
pub struct Put {
    shared: Arc<Shared>,
    flash: FlashHandle,
    front: FrontBuilder,
    buffer: Vec<u8>,
    init: Vec<u8>,
}

/// Name and metadata that hold for every attempt.
struct Told {
    start: UtcMillis,
    end: UtcMillis,
    clock: ClockQuality,
    gaps: Vec<ToldGap>,
    may_be_there: bool,
    init_id: u64,
}

impl Put {
    /// Takes the memory.
    pub fn new(shared: Arc<Shared>, flash: FlashHandle) -> Self {
        Self {
            shared,
            flash,
            front: FrontBuilder::new(),
            buffer: vec![0; BLOCK_SIZE],
            init: vec![0; INIT_SEGMENT_MAX],
        }
    }

    /// Reads the segment, fixes its name and sends it.
    pub fn send(
        &mut self,
        parcel: &Parcel<'_>,
        settings: &UploadSettings,
        client: &mut Client,
        clock: &Clock,
        speed: &mut UploadSpeed,
    ) -> Result<Sent, PutError> {
        let (segment, _) = SegmentReader::open_sealed(parcel.reader, parcel.place.position)?;
        let from = parcel.begins();
        let whole = segment.whole().filter(|_| from == Begins::Segment);
        let read = match whole {
            Some(run) => self.read(parcel, &segment, run),
            None => Err(PutError::Damaged),
        };
        let (run, start, md5, whole) = match read {
            Ok((start, md5)) => (whole.ok_or(PutError::Damaged)?, start, md5, true),
            Err(PutError::Damaged) => {
                let run = self.good_run(&segment, from)?.ok_or(PutError::Damaged)?;
                let (start, md5) = self.read(parcel, &segment, run)?;
                (run, start, md5, false)
            }
            Err(other) => return Err(other),
        };
        let init_len = usize::try_from(segment.open.init_length).unwrap_or(usize::MAX);
        let told = self.fix(parcel, run, init_len)?;
        if told.start != start {
            // The clock was corrected meanwhile: the front would tell another time.
            return Err(PutError::Ring(RingError::NotNext {
                sequence: parcel.place.sequence,
            }));
        }
        let more = !whole && segment.next_run(Some(&run), &mut self.buffer)?.is_some();
        let front = finish_front(&mut self.front, &self.init, &segment, run, start)?;
        let request = request(&segment, &run, &told, front.len(), md5, settings);
        let name = BlobName {
            asset: segment.open.names.asset.as_str().to_owned(),
            start,
            duration: told.end.0.saturating_sub(start.0).unsigned_abs(),
            ring: segment.open.key.identity,
            sequence: segment.open.key.sequence,
        };
        let url = settings.container.blob_url(&name.to_string());
        show_begin(&self.shared, &name, request.length);
        let mut sending = Sending {
            body: body(&segment, run, front),
            clock,
            speed,
            shared: &self.shared,
            flash: &self.flash,
            pace: Pace::new(settings.maximum_kbps),
            shown: 0,
            mark: (!told.may_be_there).then_some((parcel.id, parcel.place.sequence)),
        };
        sending.speed.begin(clock.now());
        let answer = client.put(&url, &request.headers(), request.length, &mut sending);
        speed_after(&answer, sending.speed, clock, request.length);
        let (length, may_be_there) = (request.length, told.may_be_there);
        Ok(Sent {
            name,
            length,
            may_be_there,
            answer,
            more,
        })
    }

    /// The segment is in the container: the ring goes on to the next.
    pub fn delivered(
        &self,
        ring: RingId,
        set_aside: bool,
        sent: &Sent,
    ) -> Option<Result<(), RingError>> {
        let (sequence, more) = (sent.name.sequence, sent.more);
        self.flash
            .with_ring(ring, move |ring| match (set_aside, more) {
                (true, _) => ring.set_aside_uploaded(sequence),
                (false, true) => ring.run_uploaded(sequence),
                (false, false) => ring.uploaded(sequence),
            })
    }

    /// Verifies all that is to be sent; gives the start it will be told under, and its MD5.
    fn read(
        &mut self,
        parcel: &Parcel<'_>,
        segment: &SegmentReader<'_, RingReader>,
        run: Run,
    ) -> Result<(UtcMillis, [u8; 16]), PutError> {
        let cursors = &parcel.ring.view.cursors;
        let frozen = cursors.frozen.as_ref().filter(|frozen| {
            frozen.place == parcel.place && frozen.first_fragment == run.first_fragment
        });
        let start = match (parcel.set_aside_entry(), frozen) {
            (Some(entry), _) => entry.start,
            (None, Some(frozen)) => frozen.start,
            (None, None) => cursors.resolve(point_in(&segment.open, run.start)),
        };
        self.skim(segment, run)?;
        let front = finish_front(&mut self.front, &self.init, segment, run, start)?;
        Ok((start, body(segment, run, front).md5(&mut self.buffer)?))
    }

    /// Collects the sample tables from the heads of the fragments.
    fn skim(&mut self, segment: &SegmentReader<'_, RingReader>, run: Run) -> Result<(), PutError> {
        let init_len = segment.init(&mut self.init)?;
        self.front.reset();
        for fragment in segment.fragments() {
            let fragment = fragment?;
            if fragment.offset < run.offset || fragment.offset >= run.end_offset {
                continue;
            }
            let head_len = segment.head(&fragment, &mut self.buffer)?;
            let head = self.buffer.get(..head_len).unwrap_or_default();
            let at = init_len as u64 + (fragment.offset - run.offset);
            // A head whose check is good and that makes no sense is damage all the same.
            self.front
                .add_fragment(at, head)
                .map_err(|_| PutError::Damaged)?;
        }
        Ok(())
    }

    /// The run of good fragments of a damaged segment that is to be sent.
    fn good_run(
        &mut self,
        segment: &SegmentReader<'_, RingReader>,
        from: Begins,
    ) -> Result<Option<Run>, PutError> {
        let mut run = segment.next_run(None, &mut self.buffer)?;
        while let Some(found) = run {
            let wanted = match from {
                Begins::Segment => true,
                Begins::After(end) => found.start >= end,
                Begins::Fragment(number) => found.first_fragment == number,
            };
            if wanted {
                return Ok(Some(found));
            }
            run = segment.next_run(Some(&found), &mut self.buffer)?;
        }
        Ok(None)
    }

    /// Fixes name and headers durably, before the first byte of the first Put.
    fn fix(&self, parcel: &Parcel<'_>, run: Run, init_len: usize) -> Result<Told, PutError> {
        let sequence = parcel.place.sequence;
        let init_id = init_id(self.init.get(..init_len).unwrap_or_default());
        if parcel.set_aside {
            let not_next = PutError::Ring(RingError::NotNext { sequence });
            let entry = parcel.set_aside_entry().ok_or(not_next)?;
            return Ok(Told {
                start: entry.start,
                end: entry.end,
                clock: entry.clock,
                gaps: Vec::new(),
                may_be_there: entry.may_have_arrived,
                init_id,
            });
        }
        let frozen = self
            .flash
            .with_ring(parcel.id, move |ring| ring.freeze(sequence, &run));
        let frozen = frozen.ok_or(PutError::Gone)?.map_err(PutError::Ring)?;
        Ok(Told {
            start: frozen.start,
            end: frozen.end,
            clock: frozen.clock,
            gaps: frozen.gaps.iter().copied().collect(),
            may_be_there: frozen.may_have_arrived,
            init_id,
        })
    }
}

/// The front of the blob that holds `run`; its fragments were collected before.
fn finish_front<'a>(
    builder: &'a mut FrontBuilder,
    init: &[u8],
    segment: &SegmentReader<'_, RingReader>,
    run: Run,
    creation: UtcMillis,
) -> Result<&'a [u8], PutError> {
    let init_len = usize::try_from(segment.open.init_length).unwrap_or(usize::MAX);
    let init = init.get(..init_len).unwrap_or_default();
    let times = FrontTimes {
        start: run.start,
        end: run.end,
        creation,
    };
    builder
        .finish(init, times, ring_bytes(segment, &run))
        .map_err(|_| PutError::Damaged)
}

fn show_begin(shared: &Shared, name: &BlobName, length: u64) {
    let mut status = shared.status();
    status.upload.state = "uploading".into();
    status.upload.blob = name.to_string();
    (status.upload.sent_bytes, status.upload.total_bytes) = (0, length);
}

/// Bytes of the ring in the blob: init segment and run.
fn ring_bytes(segment: &SegmentReader<'_, RingReader>, run: &Run) -> u64 {
    u64::from(segment.open.init_length) + (run.end_offset - run.offset)
}

fn body<'a>(
    segment: &'a SegmentReader<'_, RingReader>,
    run: Run,
    front: &'a [u8],
) -> BlobBody<'a, impl FnMut(u64, &mut [u8]) -> Result<(), ReadError>> {
    let mut ring = segment.body(&run);
    let position = segment.open.position;
    let source = move |_, piece: &mut [u8]| {
        let mut rest = piece;
        while !rest.is_empty() {
            let n = ring.read(rest)?;
            if n == 0 {
                return Err(ReadError {
                    position,
                    fault: ReadFault::Box,
                });
            }
            rest = rest.get_mut(n..).unwrap_or_default();
        }
        Ok(())
    };
    BlobBody::new(front, source, ring_bytes(segment, &run))
}

fn request<'a>(
    segment: &'a SegmentReader<'_, RingReader>,
    run: &Run,
    told: &'a Told,
    front_len: usize,
    md5: [u8; 16],
    settings: &UploadSettings,
) -> PutRequest<'a> {
    let (open, totals) = (&segment.open, &run.totals);
    PutRequest {
        length: front_len as u64 + ring_bytes(segment, run),
        md5,
        access_tier: settings.access_tier,
        metadata: Metadata {
            gateway: open.names.gateway.as_str(),
            camera: open.names.camera.as_str(),
            sequence: open.key.sequence,
            start: told.start,
            end: told.end,
            clock: told.clock,
            init_offset: front_len as u64,
            init_length: open.init_length.into(),
            init_id: told.init_id,
            lost_pictures: totals.lost_pictures.into(),
            lost_milliseconds: totals.lost.as_millis(),
            gaps: &told.gaps,
            continues: open.continues,
        },
    }
}

fn speed_after(answer: &Answer, speed: &mut UploadSpeed, clock: &Clock, length: u64) {
    if matches!(answer, Answer::Reply(reply) if (200..300).contains(&reply.status)) {
        speed.stored(clock.now(), length);
    }
}

impl From<ReadError> for PutError {
    fn from(error: ReadError) -> Self {
        match error.fault {
            ReadFault::Flash(_) | ReadFault::Buffer => Self::Read(error),
            _ => Self::Damaged,
        }
    }
}
