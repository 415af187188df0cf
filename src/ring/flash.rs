//! What the ring asks of the flash card, and what it may rely on when power fails.

use core::fmt;

use crate::limits::PAGE;

/// Read access to a ring's run of bytes: its files, one behind the other.
///
/// The uploader and `cvr export` read through their own file descriptors, beside the writer.
pub trait ReadAt {
    /// Bytes of the whole run, prepared or not; a multiple of [`PAGE`] that never changes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `at` on. Never asked past [`ReadAt::size`].
    ///
    /// What was written is seen at once, synced or not. What was never prepared reads as zeros.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError>;
}

/// The card under one ring.
///
/// # If power fails
///
/// - Bytes covered by a [`Flash::sync`] that succeeded stay as they are. That holds for every
///   whole page of [`PAGE`] bytes: the ring never writes again into a page it has synced, until
///   it writes the whole page over in a later lap.
/// - Of the writes since, any part may have reached the card, in any order, each page in part;
///   the pages they touched may hold anything. All other pages stay unaffected.
/// - The two copies of the cursors are two such places of their own: what is written to one
///   never harms the other.
///
/// # If an operation fails
///
/// After a failed sync nothing written since the last good one may be relied upon, not even if
/// a second sync succeeds: Linux marks the pages clean. The ring writes them again.
pub trait Flash: ReadAt {
    /// Bytes from the beginning of the run that are allocated and written once. The ring writes
    /// only below; it grows to [`ReadAt::size`] while the files are made, and stays there.
    fn prepared(&self) -> u64;

    /// Writes all of `pieces`, one behind the other, from `at` on. Never past the end of the
    /// run: the ring splits a write that wraps. Without [`Flash::sync`] nothing is durable.
    fn write(&mut self, at: u64, pieces: &[&[u8]]) -> Result<(), FlashError>;

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), FlashError>;

    /// Reads copy 0 or 1 of the cursors; zeros if it was never written.
    fn read_cursors(&mut self, slot: u8, buf: &mut [u8; PAGE]) -> Result<(), FlashError>;

    /// Writes copy 0 or 1 of the cursors.
    fn write_cursors(&mut self, slot: u8, data: &[u8; PAGE]) -> Result<(), FlashError>;

    /// Makes a copy of the cursors durable.
    fn sync_cursors(&mut self, slot: u8) -> Result<(), FlashError>;
}

/// What was asked of the card when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Read,
    Write,
    Sync,
    ReadCursors,
    WriteCursors,
    SyncCursors,
}

/// The card failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError {
    /// What was asked of it.
    pub operation: Operation,
    /// Where in the run, or which copy of the cursors.
    pub at: u64,
    /// The system's error number; 0 where there is none.
    pub code: i32,
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, place) = match self.operation {
            Operation::Read => ("read", "byte"),
            Operation::Write => ("write", "byte"),
            Operation::Sync => ("sync", "byte"),
            Operation::ReadCursors => ("read of the cursors", "copy"),
            Operation::WriteCursors => ("write of the cursors", "copy"),
            Operation::SyncCursors => ("sync of the cursors", "copy"),
        };
        write!(f, "{what} failed at {place} {}", self.at)?;
        if self.code != 0 {
            write!(f, " (error {})", self.code)?;
        }
        Ok(())
    }
}

impl core::error::Error for FlashError {}

/// Fills `buf` from log position `position` on, around the end of the run where it must.
pub(super) fn read_wrapped<R: ReadAt + ?Sized>(
    flash: &R,
    position: u64,
    buf: &mut [u8],
) -> Result<(), FlashError> {
    let at = position % flash.size();
    let before_end = usize::try_from(flash.size() - at).unwrap_or(usize::MAX);
    let (first, second) = buf.split_at_mut(before_end.min(buf.len()));
    flash.read_at(at, first)?;
    if second.is_empty() {
        return Ok(());
    }
    flash.read_at(0, second)
}

/// `position`, or the next multiple of [`PAGE`].
pub(super) const fn page_up(position: u64) -> u64 {
    position.next_multiple_of(PAGE as u64)
}
