//! Bytes onto the run: pieces, wrap-around and padding.

use heapless::Vec;

use super::error::RingError;
use super::flash::{Flash, FlashError, page_up};
use super::record::{CHECK_LEN, FRAGMENT_HEAD_MAX, FRAGMENT_LEN_MAX};
use crate::limits::{CHAIN_BLOCKS_MAX, PAGE};

/// Most pieces of one fragment: a full chain, its `moof`, and a few to spare.
pub const PIECES_MAX: usize = CHAIN_BLOCKS_MAX + 7;

static ZEROS: [u8; 2 * PAGE] = [0; 2 * PAGE];

/// Bytes of the one `moof` and the one `mdat` that `pieces` hold.
pub(super) fn fragment_length(pieces: &[&[u8]]) -> Result<u32, RingError> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let moof = box_size(pieces, 0, b"moof").ok_or(RingError::Fragment)?;
    let mdat = box_size(pieces, moof, b"mdat").ok_or(RingError::Fragment)?;
    let fits = moof <= FRAGMENT_HEAD_MAX - 8
        && length <= FRAGMENT_LEN_MAX
        && pieces.len() <= PIECES_MAX
        && moof.checked_add(mdat) == Some(length);
    u32::try_from(length)
        .ok()
        .filter(|_| fits)
        .ok_or(RingError::Fragment)
}

/// Size of the box of type `kind` at `at` (ISO/IEC 14496-12 section 4.2).
fn box_size(pieces: &[&[u8]], at: usize, kind: &[u8; 4]) -> Option<usize> {
    let mut header = [0; 8];
    let mut bytes = Skip { pieces, at };
    for to in &mut header {
        *to = bytes.next()?;
    }
    let [a, b, c, d, found @ ..] = header;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (&found == kind && size >= 8).then_some(size)
}

/// The bytes of `pieces` from `at` on.
struct Skip<'a> {
    pieces: &'a [&'a [u8]],
    at: usize,
}

impl Iterator for Skip<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while let [first, rest @ ..] = self.pieces {
            if let Some(byte) = first.get(self.at) {
                self.at += 1;
                return Some(*byte);
            }
            self.at -= first.len();
            self.pieces = rest;
        }
        None
    }
}

/// Writes `pieces` at log position `position`, in two parts where they pass the end of the run.
pub(super) fn write_wrapped<F: Flash>(
    flash: &mut F,
    position: u64,
    pieces: &[&[u8]],
) -> Result<(), FlashError> {
    let at = position % flash.size();
    let mut before_end = usize::try_from(flash.size() - at).unwrap_or(usize::MAX);
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    if total <= before_end {
        return flash.write(at, pieces);
    }
    let mut first: Vec<&[u8], { PIECES_MAX + 2 }> = Vec::new();
    let mut second = first.clone();
    for piece in pieces {
        let (front, back) = piece.split_at(before_end.min(piece.len()));
        before_end -= front.len();
        for (part, list) in [(front, &mut first), (back, &mut second)] {
            if !part.is_empty() {
                list.push(part).expect("no more than there were");
            }
        }
    }
    flash.write(at, &first)?;
    flash.write(0, &second)
}

/// Where a check that ends at `end`, and padding behind it, end at the latest.
pub(super) const fn padded(end: u64) -> u64 {
    page_up(end + CHECK_LEN as u64)
}

pub(super) fn zeros(n: u64) -> &'static [u8] {
    usize::try_from(n)
        .ok()
        .and_then(|n| ZEROS.get(..n))
        .expect("padding is shorter than two pages")
}

pub(super) fn u32_of(n: u64) -> u32 {
    u32::try_from(n).expect("a segment is shorter than 4 GiB")
}
