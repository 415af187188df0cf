//! The fragments of a segment, one behind the other, also behind damage.

use super::flash::{ReadAt, page_up};
use super::reader::{Fragment, Item, ReadError, ReadFault, Run, SegmentReader};
use super::record::FRAGMENT_LEN_MAX;
use crate::limits::PAGE;

/// The fragments of a segment, in order. Reads heads and checks, not the content.
#[derive(Debug)]
pub struct Fragments<'a, R: ?Sized> {
    segment: &'a SegmentReader<'a, R>,
    offset: u64,
    number: u32,
    running: Option<u32>,
    /// Met an error that was not skipped.
    stopped: bool,
}

impl<'a, R: ReadAt + ?Sized> Fragments<'a, R> {
    /// All fragments of `segment`.
    pub(super) fn new(segment: &'a SegmentReader<'a, R>) -> Self {
        Self {
            segment,
            offset: segment.open.data_offset(),
            number: 0,
            running: Some(segment.open.key.seed()),
            stopped: false,
        }
    }

    /// From the first fragment of `run` on.
    pub(super) fn of_run(segment: &'a SegmentReader<'a, R>, run: &Run) -> Self {
        if run.first_fragment == 0 {
            return Self::new(segment);
        }
        Self {
            offset: run.offset,
            number: run.first_fragment,
            running: None,
            ..Self::new(segment)
        }
    }

    /// From the end of `run` on.
    pub(super) fn behind(segment: &'a SegmentReader<'a, R>, run: &Run) -> Self {
        Self {
            offset: run.end_offset,
            number: run.first_fragment.saturating_add(run.totals.fragments),
            running: None,
            ..Self::new(segment)
        }
    }

    pub(super) fn segment(&self) -> &'a SegmentReader<'a, R> {
        self.segment
    }

    /// Where the next fragment is expected, from the segment's first byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Looks for the next readable fragment behind damage; `false`: there is none.
    ///
    /// `error` is what was met: a fragment whose check was good has been passed already; other
    /// damage is passed by looking at each page, where the first fragment after a sync begins.
    pub fn skip_damage(&mut self, error: ReadError) -> bool {
        let offset = error.position.saturating_sub(self.segment.open.position);
        if offset < self.offset {
            self.stopped = false;
            return true;
        }
        let limit = self.segment.limit();
        let last = limit.min(self.offset + (FRAGMENT_LEN_MAX + PAGE) as u64);
        let mut page = page_up(self.offset + 1);
        while page < last {
            match self.segment.item(page, None) {
                Ok(Item::Fragment(fragment, _)) if fragment.number >= self.number => {
                    (self.offset, self.number, self.running) = (page, fragment.number, None);
                    self.stopped = false;
                    return true;
                }
                _ => page += PAGE as u64,
            }
        }
        false
    }

    /// CRC over all checks up to here; `None` behind damage.
    pub(super) fn running(&self) -> Option<u32> {
        self.running
    }

    pub(super) fn next_item(&mut self) -> Result<Item, ReadError> {
        let item = self.segment.item(self.offset, self.running)?;
        let (length, check) = match &item {
            Item::Fragment(fragment, check) => (fragment.full_length, check),
            Item::Padding(check) => (u64::from(check.size), check),
        };
        let in_order = if self.running.is_some() {
            check.number == self.number
        } else {
            check.number >= self.number
        };
        if !in_order {
            return Err(self.segment.error(self.offset, ReadFault::Check));
        }
        self.offset += length;
        self.number = check.number + u32::from(check.length > 0);
        self.running = Some(check.running);
        Ok(item)
    }

    fn at_end(&self) -> bool {
        self.segment
            .seal
            .is_some_and(|seal| self.offset >= seal.length)
    }
}

/// The last element may be an error, and is one of a segment that is not sealed: nothing follows
/// unless [`Fragments::skip_damage`] finds more.
impl<R: ReadAt + ?Sized> Iterator for Fragments<'_, R> {
    type Item = Result<Fragment, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stopped && !self.at_end() {
            match self.next_item() {
                Ok(Item::Padding(_)) => {}
                Ok(Item::Fragment(fragment, _)) => return Some(Ok(fragment)),
                Err(error) => {
                    self.stopped = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
