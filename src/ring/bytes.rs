//! Fields into and out of records of fixed size, little endian.

use crate::gap::{Cause, Gap, Gaps, Point};
use crate::limits::GAPS_MAX;
use crate::time::{ClockQuality, Ticks, UtcMillis};

/// Puts fields into a record, one behind the other.
#[derive(Debug)]
pub(super) struct Out<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> Out<'a> {
    /// Begins at the front of `buf` and zeroes all of it.
    pub(super) fn new(buf: &'a mut [u8]) -> Self {
        buf.fill(0);
        Self { buf, at: 0 }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        self.buf
            .get_mut(self.at..end)
            .expect("a record's fields fit: their sizes are constants")
            .copy_from_slice(bytes);
        self.at = end;
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    pub(super) fn text<const N: usize>(&mut self, text: &heapless::String<N>) -> &mut Self {
        let length = u16::try_from(text.len()).expect("names are shorter than 64 KiB");
        self.bytes(&length.to_le_bytes()).bytes(text.as_bytes());
        self.skip(N - text.len())
    }

    pub(super) fn clock(&mut self, clock: ClockQuality) -> &mut Self {
        self.u8(clock as u8)
    }

    pub(super) fn point(&mut self, point: Point) -> &mut Self {
        self.u32(point.boot)
            .u64(point.ticks.0)
            .i64(point.estimate.0)
    }

    pub(super) fn gaps(&mut self, gaps: &Gaps) -> &mut Self {
        let count = u8::try_from(gaps.len()).expect("at most GAPS_MAX");
        self.u8(count);
        for gap in gaps.iter() {
            self.point(gap.start).point(gap.end).u8(gap.cause as u8);
        }
        self.skip((GAPS_MAX - gaps.len()) * GAP_LEN)
    }

    /// Writes `value` if there is one, and in either case takes the same room.
    pub(super) fn option<T>(
        &mut self,
        value: Option<T>,
        len: usize,
        put: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        self.flag(value.is_some());
        let end = self.at + len;
        if let Some(value) = value {
            put(self, value);
        }
        assert!(self.at <= end, "an optional field has its given size");
        self.at = end;
        self
    }

    /// Leaves `n` bytes zero.
    pub(super) fn skip(&mut self, n: usize) -> &mut Self {
        self.at += n;
        self
    }
}

/// Bytes of a [`Point`] in a record.
pub(super) const POINT_LEN: usize = 20;

const GAP_LEN: usize = 2 * POINT_LEN + 1;

/// Takes fields out of a record, one behind the other; `None` is a value that was never written.
#[derive(Debug)]
pub(super) struct In<'a>(pub(super) &'a [u8]);

impl<'a> In<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn slice(&mut self, n: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(slice)
    }

    pub(super) fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        (self.slice(bytes.len())? == bytes).then_some(())
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn ticks(&mut self) -> Option<Ticks> {
        self.u64().map(Ticks)
    }

    pub(super) fn utc(&mut self) -> Option<UtcMillis> {
        self.i64().map(UtcMillis)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn text<const N: usize>(&mut self) -> Option<heapless::String<N>> {
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        let text = core::str::from_utf8(self.slice(N)?.get(..length)?).ok()?;
        heapless::String::try_from(text).ok()
    }

    pub(super) fn clock(&mut self) -> Option<ClockQuality> {
        let number = self.u8()?;
        [
            ClockQuality::Unsynchronized,
            ClockQuality::Corrected,
            ClockQuality::Synchronized,
        ]
        .into_iter()
        .find(|clock| *clock as u8 == number)
    }

    pub(super) fn cause(&mut self) -> Option<Cause> {
        Cause::from_number(self.u8()?)
    }

    pub(super) fn point(&mut self) -> Option<Point> {
        Some(Point {
            boot: self.u32()?,
            ticks: self.ticks()?,
            estimate: self.utc()?,
        })
    }

    pub(super) fn gaps(&mut self) -> Option<Gaps> {
        let count = usize::from(self.u8()?);
        if count > GAPS_MAX {
            return None;
        }
        let mut entries = In(self.slice(GAPS_MAX * GAP_LEN)?);
        let mut gaps = Gaps::new();
        for _ in 0..count {
            gaps.push(Gap {
                start: entries.point()?,
                end: entries.point()?,
                cause: entries.cause()?,
            });
        }
        Some(gaps)
    }

    /// The outer `None` is a damaged field, the inner one an absent value.
    pub(super) fn option<T>(
        &mut self,
        len: usize,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let present = self.flag()?;
        let mut value = In(self.slice(len)?);
        if present {
            take(&mut value).map(Some)
        } else {
            Some(None)
        }
    }
}
