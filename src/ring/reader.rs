//! Reads segments back: for the uploader, for `cvr export` and for recovery.
//!
//! An uploader reads a segment three times: the heads of its fragments ([`Fragments`]), then all
//! of it, verified, for its MD5, then all of it again, verified, to send it ([`Body`]).
//! Where a segment turns out to be damaged, [`SegmentReader::next_run`] finds what can be sent.

use core::fmt;

use crc32c::crc32c_append;

use super::body::Body;
use super::flash::{FlashError, ReadAt, page_up, read_wrapped};
use super::fragments::Fragments;
use super::record::{
    CHECK_LEN, Check, FRAGMENT_HEAD_MAX, FRAGMENT_LEN_MAX, OpenRecord, RECORDS_LEN, SealRecord,
    Totals,
};
use crate::limits::{PAGE, SEGMENT_BYTES_MAX};
use crate::segment::FragmentInfo;
use crate::time::Ticks;

/// What could not be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Log position.
    pub position: u64,
    /// What is wrong there.
    pub fault: ReadFault,
}

/// What is wrong with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// The card failed.
    Flash(FlashError),
    /// No open record of a segment at this position.
    Record,
    /// The segment has no seal record.
    NotSealed,
    /// The init segment's CRC is wrong.
    Init,
    /// Neither a fragment nor a check begins here.
    Box,
    /// No check of this segment, or not the next one.
    Check,
    /// A fragment's CRC is wrong.
    Content,
    /// The caller's buffer is too small for a head or an init segment.
    Buffer,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            ReadFault::Flash(error) => return error.fmt(f),
            ReadFault::Record => f.write_str("no segment begins")?,
            ReadFault::NotSealed => f.write_str("the segment is not sealed")?,
            ReadFault::Init => f.write_str("the init segment is damaged")?,
            ReadFault::Box => f.write_str("no fragment begins")?,
            ReadFault::Check => f.write_str("the check is damaged")?,
            ReadFault::Content => f.write_str("the fragment is damaged")?,
            ReadFault::Buffer => f.write_str("the buffer is too small")?,
        }
        write!(f, " at position {}", self.position)
    }
}

impl core::error::Error for ReadError {}

/// A fragment in a segment; offsets count from the segment's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its number in the segment, from 0.
    pub number: u32,
    /// Where its `moof` begins.
    pub offset: u64,
    /// Bytes of `moof` and of the header of `mdat`.
    pub head: u32,
    /// Bytes of `moof` and `mdat`.
    pub length: u32,
    /// Bytes of it and its check, padding included.
    pub full_length: u64,
    /// What the recorder said of it.
    pub info: FragmentInfo,
    /// CRC-32C of it, seeded with the segment's key.
    pub crc: u32,
    /// Bytes of the segment that were synced when it was written.
    pub synced: u64,
}

/// What begins at an offset of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Fragment(Fragment, Check),
    Padding(Check),
}

/// A run of good fragments of one segment that becomes one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of its first fragment.
    pub first_fragment: u32,
    /// Where that begins, from the segment's first byte.
    pub offset: u64,
    /// End of its last check, from the segment's first byte.
    pub end_offset: u64,
    /// Start of its video.
    pub start: Ticks,
    /// End of its video.
    pub end: Ticks,
    /// Sums over its fragments.
    pub totals: Totals,
}

/// A segment in a ring.
#[derive(Debug)]
pub struct SegmentReader<'a, R: ?Sized> {
    flash: &'a R,
    /// Its open record.
    pub open: OpenRecord,
    /// Its seal record, if it is sealed.
    pub seal: Option<SealRecord>,
}

impl<'a, R: ReadAt + ?Sized> SegmentReader<'a, R> {
    /// Opens the segment at log position `position`, sealed or not.
    pub fn open(flash: &'a R, position: u64) -> Result<Self, ReadError> {
        let fail = |fault| ReadError { position, fault };
        let mut page = [0; PAGE];
        read_wrapped(flash, position, &mut page).map_err(|e| fail(ReadFault::Flash(e)))?;
        let open = OpenRecord::decode(&page)
            .filter(|open| open.position == position && open.ring_size == flash.size())
            .ok_or_else(|| fail(ReadFault::Record))?;
        read_wrapped(flash, position + PAGE as u64, &mut page)
            .map_err(|e| fail(ReadFault::Flash(e)))?;
        let seal = SealRecord::decode(&page, open.key).filter(|seal| {
            seal.length >= open.data_offset() && page_up(seal.length) <= flash.size()
        });
        Ok(Self { flash, open, seal })
    }

    /// As [`SegmentReader::open`], but an unsealed one is an error.
    pub fn open_sealed(flash: &'a R, position: u64) -> Result<(Self, SealRecord), ReadError> {
        let segment = Self::open(flash, position)?;
        let fault = ReadFault::NotSealed;
        let seal = segment.seal.ok_or(ReadError { position, fault })?;
        Ok((segment, seal))
    }

    /// Log position of the next segment; `None` while this one is not sealed.
    pub fn next_position(&self) -> Option<u64> {
        self.seal
            .map(|seal| self.open.position + page_up(seal.length))
    }

    /// Reads and verifies the init segment into the front of `buf`; returns its length.
    pub fn init(&self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let length = usize::try_from(self.open.init_length).unwrap_or(usize::MAX);
        let init = buf
            .get_mut(..length)
            .ok_or_else(|| self.error(RECORDS_LEN, ReadFault::Buffer))?;
        self.read(RECORDS_LEN, init)?;
        if crc32c_append(self.open.key.seed(), init) == self.open.init_crc {
            Ok(length)
        } else {
            Err(self.error(RECORDS_LEN, ReadFault::Init))
        }
    }

    /// Its fragments from the first on.
    pub fn fragments(&self) -> Fragments<'_, R> {
        Fragments::new(self)
    }

    /// Reads `moof` and the header of `mdat` into the front of `buf`; returns their length.
    pub fn head(&self, fragment: &Fragment, buf: &mut [u8]) -> Result<usize, ReadError> {
        let length = usize::try_from(fragment.head).unwrap_or(usize::MAX);
        let head = buf
            .get_mut(..length)
            .ok_or_else(|| self.error(fragment.offset, ReadFault::Buffer))?;
        self.read(fragment.offset, head)?;
        Ok(length)
    }

    /// Reads all of `fragment` through `buf` and compares its CRC.
    pub fn verify(&self, fragment: &Fragment, buf: &mut [u8]) -> Result<(), ReadError> {
        if buf.is_empty() {
            return Err(self.error(fragment.offset, ReadFault::Buffer));
        }
        let (mut offset, mut crc) = (fragment.offset, self.open.key.seed());
        let end = offset + u64::from(fragment.length);
        while offset < end {
            let piece = front(buf, end - offset);
            self.read(offset, piece)?;
            crc = crc32c_append(crc, piece);
            offset += piece.len() as u64;
        }
        if crc == fragment.crc {
            Ok(())
        } else {
            Err(self.error(fragment.offset, ReadFault::Content))
        }
    }

    /// The whole segment as one run, on the word of its seal record; `None` if it is not sealed
    /// or known to be damaged.
    pub fn whole(&self) -> Option<Run> {
        self.seal.filter(|seal| !seal.damaged).map(|seal| Run {
            first_fragment: 0,
            offset: self.open.data_offset(),
            end_offset: seal.length,
            start: self.open.start.ticks,
            end: seal.end,
            totals: seal.totals,
        })
    }

    /// The first run of good fragments, or the first behind run `from`; `None`: there is no more.
    /// Reads and verifies the whole run through `buf`.
    ///
    /// There is none without the init segment, which `buf` must hold. A run begins with the segment's first fragment or with a sync sample, so that it plays.
    /// Of a segment that is not sealed it ends where nothing more can be read.
    pub fn next_run(&self, from: Option<&Run>, buf: &mut [u8]) -> Result<Option<Run>, ReadError> {
        match self.init(buf) {
            Ok(_) => {}
            Err(error) if error.fault == ReadFault::Buffer => return Err(error),
            Err(_) => return self.read(0, &mut [0; 8]).map(|()| None),
        }
        let mut fragments = match from {
            None => Fragments::new(self),
            Some(run) => Fragments::behind(self, run),
        };
        let mut run: Option<Run> = None;
        loop {
            let found = fragments.next().map(|found| {
                let fragment = found?;
                self.verify(&fragment, buf).map(|()| fragment)
            });
            match (found, &mut run) {
                (None, _) => break,
                (Some(Ok(fragment)), Some(run)) => {
                    run.end_offset = fragment.offset + fragment.full_length;
                    run.end = fragment.info.end;
                    run.totals.add(&fragment.info);
                }
                (Some(Ok(fragment)), None) => {
                    if fragment.number == 0 || fragment.info.begins_with_sync {
                        run = Some(self.run_of(&fragment));
                    }
                }
                (Some(Err(error)), _) if error.fault == ReadFault::Buffer => return Err(error),
                (Some(Err(_)), Some(_)) => break,
                (Some(Err(error)), None) if fragments.skip_damage(error) => {}
                // A card that is out is not a damaged segment.
                (Some(Err(_)), None) => return self.read(0, &mut [0; 8]).map(|()| None),
            }
        }
        // The segment's own end may lie behind that of its last fragment's video.
        if let (Some(run), Some(seal)) = (&mut run, &self.seal)
            && run.end_offset == seal.length
        {
            run.end = seal.end;
        }
        Ok(run)
    }

    /// The bytes of a blob's `mdat`: the init segment and the run, to be read once.
    pub fn body(&self, run: &Run) -> Body<'_, R> {
        Body::new(self, run)
    }

    fn run_of(&self, fragment: &Fragment) -> Run {
        let mut totals = Totals::default();
        totals.add(&fragment.info);
        Run {
            first_fragment: fragment.number,
            offset: fragment.offset,
            end_offset: fragment.offset + fragment.full_length,
            start: if fragment.number == 0 {
                self.open.start.ticks
            } else {
                fragment.info.start
            },
            end: fragment.info.end,
            totals,
        }
    }

    /// Where its data ends at the latest.
    pub(super) fn limit(&self) -> u64 {
        self.seal
            .map_or(SEGMENT_BYTES_MAX.min(self.flash.size()), |seal| seal.length)
    }

    /// Reads what begins at `offset`: a fragment with its check, or padding.
    pub(super) fn item(&self, offset: u64, previous: Option<u32>) -> Result<Item, ReadError> {
        let limit = self.limit();
        let (size, kind) = self.box_header(offset, limit)?;
        let no_box = self.error(offset, ReadFault::Box);
        match &kind {
            b"free" => {
                let check = self.check(offset, limit, previous)?;
                if check.length == 0 {
                    Ok(Item::Padding(check))
                } else {
                    Err(no_box)
                }
            }
            b"moof" if size <= FRAGMENT_HEAD_MAX as u64 - 8 => {
                let (mdat, kind) = self.box_header(offset + size, limit)?;
                let length = u32::try_from(size + mdat)
                    .ok()
                    .filter(|len| &kind == b"mdat" && *len as usize <= FRAGMENT_LEN_MAX)
                    .ok_or(no_box)?;
                let end = offset + u64::from(length);
                let check = self.check(end, limit, previous)?;
                if check.length != length {
                    return Err(self.error(end, ReadFault::Check));
                }
                let fragment = Fragment {
                    number: check.number,
                    offset,
                    head: u32::try_from(size + 8).unwrap_or(u32::MAX),
                    length,
                    full_length: u64::from(length) + u64::from(check.size),
                    info: check.info,
                    crc: check.content,
                    synced: u64::from(check.synced),
                };
                Ok(Item::Fragment(fragment, check))
            }
            _ => Err(no_box),
        }
    }

    fn box_header(&self, offset: u64, limit: u64) -> Result<(u64, [u8; 4]), ReadError> {
        if offset + 8 > limit {
            return Err(self.error(offset, ReadFault::Box));
        }
        let mut header = [0; 8];
        self.read(offset, &mut header)?;
        let [a, b, c, d, kind @ ..] = header;
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        if size < 8 {
            return Err(self.error(offset, ReadFault::Box));
        }
        Ok((size, kind))
    }

    fn check(&self, offset: u64, limit: u64, previous: Option<u32>) -> Result<Check, ReadError> {
        let mut bytes = [0; CHECK_LEN];
        if offset + CHECK_LEN as u64 > limit {
            return Err(self.error(offset, ReadFault::Check));
        }
        self.read(offset, &mut bytes)?;
        Check::decode(&bytes, self.open.key, previous)
            .filter(|check| offset + u64::from(check.size) <= limit)
            .ok_or_else(|| self.error(offset, ReadFault::Check))
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        read_wrapped(self.flash, self.open.position + offset, buf)
            .map_err(|error| self.error(offset, ReadFault::Flash(error)))
    }

    pub(super) fn error(&self, offset: u64, fault: ReadFault) -> ReadError {
        ReadError {
            position: self.open.position + offset,
            fault,
        }
    }
}

/// The front of `buf`, at most `most` bytes.
pub(super) fn front(buf: &mut [u8], most: u64) -> &mut [u8] {
    let n = usize::try_from(most).unwrap_or(usize::MAX).min(buf.len());
    buf.split_at_mut(n).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::flash::Operation;
    use crate::ring::mem_flash::SharedMemFlash;
    use crate::ring::testing::{append, fragment, info, new_flash, open, record, start};

    /// A card of which nothing can be read from `from` to `to`.
    struct Unreadable<'a>(&'a SharedMemFlash, u64, u64);

    impl ReadAt for Unreadable<'_> {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
            if at < self.2 && at + buf.len() as u64 > self.1 {
                let operation = Operation::Read;
                return Err(FlashError {
                    operation,
                    at,
                    code: 5,
                });
            }
            self.0.read_at(at, buf)
        }
    }

    #[test]
    fn heads_are_read_in_order() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        let place = record(&mut ring, 0, 3);
        let (segment, seal) = SegmentReader::open_sealed(&flash, place.position).unwrap();
        let mut buf = [0; 1000];
        for (found, t) in segment.fragments().zip(0..) {
            let found = found.unwrap();
            assert_eq!((u64::from(found.number), found.info), (t, info(t)));
            assert_eq!(segment.head(&found, &mut buf), Ok(308));
            assert_eq!(buf[..308], fragment(t, 3000)[..308]);
            let small = segment.head(&found, &mut [0; 307]).unwrap_err();
            assert_eq!(small.fault, ReadFault::Buffer);
        }
        assert_eq!(segment.fragments().count(), 3);
        assert_eq!(segment.whole().unwrap().end_offset, seal.length);
        assert_eq!(segment.next_position(), Some(ring.view().written));
        let small = segment.init(&mut [0; 699]).unwrap_err();
        assert_eq!(small.fault, ReadFault::Buffer);
        let nothing = SegmentReader::open(&flash, 4096).unwrap_err();
        let (position, fault) = (4096, ReadFault::Record);
        assert_eq!(nothing, ReadError { position, fault });
    }

    #[test]
    fn an_open_segment_is_read_up_to_its_end() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        ring.begin(&start(0, &[]), &[9; 700], &mut |_| {}).unwrap();
        append(&mut ring, 0).unwrap();
        append(&mut ring, 1).unwrap();
        let not_sealed = SegmentReader::open_sealed(&flash, 0).unwrap_err();
        assert_eq!(not_sealed.fault, ReadFault::NotSealed);
        let segment = SegmentReader::open(&flash, 0).unwrap();
        assert_eq!(segment.whole(), None);
        let good: Vec<bool> = segment.fragments().map(|found| found.is_ok()).collect();
        assert_eq!(good, [true, true, false]);
        let run = segment.next_run(None, &mut [0; 1000]).unwrap().unwrap();
        assert_eq!((run.totals.fragments, run.end), (2, info(1).end));
        assert_eq!(segment.next_run(Some(&run), &mut [0; 1000]), Ok(None));
    }

    #[test]
    fn a_body_ends_with_an_error_where_its_bytes_are_wrong() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 3);
        let (segment, _) = SegmentReader::open_sealed(&flash, 0).unwrap();
        let run = segment.whole().unwrap();
        let second = segment.fragments().flatten().nth(1).unwrap();
        let third = second.offset + second.full_length;
        let check = second.offset + u64::from(second.length);
        for (at, before, fault) in [
            (RECORDS_LEN + 5, RECORDS_LEN, ReadFault::Init),
            (second.offset + 2000, second.offset, ReadFault::Content),
            (check + 30, second.offset, ReadFault::Check),
            (third + 4, third, ReadFault::Box),
        ] {
            flash.card().spoil(at, 1);
            let mut body = segment.body(&run);
            let (mut length, mut buf) = (0, [0; 64]);
            let error = loop {
                match body.read(&mut buf) {
                    Ok(n) => length += n as u64,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.fault, fault);
            let most = before - RECORDS_LEN + u64::from(second.length);
            assert!(length >= before - RECORDS_LEN && length < most);
            flash.card().spoil(at, 1);
        }
    }

    #[test]
    fn a_bad_sector_is_damage_a_card_that_is_out_is_not() {
        let flash = new_flash(256 * 1024);
        let (mut ring, _) = open(&flash, 1);
        record(&mut ring, 0, 3);
        let (segment, seal) = SegmentReader::open_sealed(&flash, 0).unwrap();
        let second = segment.fragments().flatten().nth(1).unwrap();
        let mut buf = [0; 1000];
        let bad = Unreadable(&flash, second.offset, second.offset + 512);
        let segment = SegmentReader::open(&bad, 0).unwrap();
        let first = segment.next_run(None, &mut buf).unwrap().unwrap();
        let rest = segment.next_run(Some(&first), &mut buf).unwrap().unwrap();
        assert_eq!((first.totals.fragments, rest.totals.fragments), (1, 1));
        assert_eq!((rest.first_fragment, rest.end), (2, seal.end));
        let out = Unreadable(&flash, 0, u64::MAX);
        let segment = SegmentReader {
            flash: &out,
            open: segment.open,
            seal: segment.seal,
        };
        let error = segment.next_run(None, &mut buf).unwrap_err();
        assert!(matches!(error.fault, ReadFault::Flash(_)));
    }
}
