//! The bytes of a segment as they go into its blob.

use crc32c::crc32c_append;

use super::flash::ReadAt;
use super::fragments::Fragments;
use super::reader::{Item, ReadError, ReadFault, Run, SegmentReader, front};
use super::record::RECORDS_LEN;

/// The bytes of a blob's `mdat`, verified on the way: an error comes before the last byte of
/// what it concerns has been handed out.
#[derive(Debug)]
pub struct Body<'a, R: ?Sized> {
    fragments: Fragments<'a, R>,
    end: u64,
    part: Part,
    /// Bytes of the check behind the part.
    check: u64,
}

/// What is being read, and the CRC it must have at its end.
#[derive(Debug)]
struct Part {
    offset: u64,
    left: u64,
    crc: u32,
    expected: Option<(u32, ReadFault)>,
}

impl<'a, R: ReadAt + ?Sized> Body<'a, R> {
    pub(super) fn new(segment: &'a SegmentReader<'a, R>, run: &Run) -> Self {
        Self {
            fragments: Fragments::of_run(segment, run),
            end: run.end_offset,
            part: Part {
                offset: RECORDS_LEN,
                left: u64::from(segment.open.init_length),
                crc: segment.open.key.seed(),
                expected: Some((segment.open.init_crc, ReadFault::Init)),
            },
            check: 0,
        }
    }

    /// Fills the front of `buf`; returns how much, 0 at the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        while self.part.left == 0 {
            if self.check > 0 {
                let offset = self.part.offset;
                self.part = Part::plain(offset, core::mem::take(&mut self.check));
            } else if self.fragments.offset() >= self.end {
                return Ok(0);
            } else {
                self.advance()?;
            }
        }
        let segment = self.fragments.segment();
        let piece = front(buf, self.part.left);
        segment.read(self.part.offset, piece)?;
        let part = &mut self.part;
        part.crc = crc32c_append(part.crc, piece);
        part.left -= piece.len() as u64;
        if let Some((crc, fault)) = part.expected
            && part.left == 0
            && part.crc != crc
        {
            return Err(segment.error(part.offset, fault));
        }
        part.offset += piece.len() as u64;
        Ok(piece.len())
    }

    /// Goes on to the next fragment, or to padding.
    fn advance(&mut self) -> Result<(), ReadError> {
        let offset = self.fragments.offset();
        self.part = match self.fragments.next_item()? {
            Item::Padding(check) => Part::plain(offset, u64::from(check.size)),
            Item::Fragment(fragment, check) => {
                self.check = u64::from(check.size);
                Part {
                    offset,
                    left: u64::from(fragment.length),
                    crc: self.fragments.segment().open.key.seed(),
                    expected: Some((fragment.crc, ReadFault::Content)),
                }
            }
        };
        Ok(())
    }
}

impl Part {
    const fn plain(offset: u64, left: u64) -> Self {
        Self {
            offset,
            left,
            crc: 0,
            expected: None,
        }
    }
}
