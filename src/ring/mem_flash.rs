//! A simulated card in memory, for tests: it forgets, tears and reorders what was not synced.
//!
//! Faults, and why they are permitted ([`Flash`]): of the writes since the last sync each 512-byte
//! sector may be there, be missing, or be torn, independently of all others; the same for a copy
//! of the cursors. Nothing else ever changes.

use core::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::flash::{Flash, FlashError, Operation, ReadAt};
use crate::limits::PAGE;

const SECTOR: usize = 512;

/// What a power cut leaves of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of them.
    All,
    /// All of them.
    None,
    /// Each sector by this seed: old, new, or torn.
    Seeded(u64),
}

/// A simulated card.
#[derive(Clone, Debug)]
pub struct MemFlash {
    run: Medium,
    cursors: [Medium; 2],
    prepared: u64,
    operations: u64,
    cut_at: Option<u64>,
    /// Operations that fail.
    fails: Range<u64>,
}

/// Descriptors of one card: the ring writes through one, a reader reads through another, and a
/// test keeps a third to cut the power.
#[derive(Clone, Debug)]
pub struct SharedMemFlash(Arc<Mutex<MemFlash>>);

impl SharedMemFlash {
    /// The first descriptor of `flash`.
    pub fn new(flash: MemFlash) -> Self {
        Self(Arc::new(Mutex::new(flash)))
    }

    /// The card itself.
    pub fn card(&self) -> MutexGuard<'_, MemFlash> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for SharedMemFlash {
    fn size(&self) -> u64 {
        self.card().size()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        self.card().read_at(at, buf)
    }
}

impl Flash for SharedMemFlash {
    fn prepared(&self) -> u64 {
        self.card().prepared()
    }

    fn write(&mut self, at: u64, pieces: &[&[u8]]) -> Result<(), FlashError> {
        self.card().write(at, pieces)
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.card().sync()
    }

    fn read_cursors(&mut self, slot: u8, buf: &mut [u8; PAGE]) -> Result<(), FlashError> {
        self.card().read_cursors(slot, buf)
    }

    fn write_cursors(&mut self, slot: u8, data: &[u8; PAGE]) -> Result<(), FlashError> {
        self.card().write_cursors(slot, data)
    }

    fn sync_cursors(&mut self, slot: u8) -> Result<(), FlashError> {
        self.card().sync_cursors(slot)
    }
}

/// A place that is synced on its own.
#[derive(Clone, Debug)]
struct Medium {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What a power cut leaves for sure, in the sectors of `unsynced`.
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    unsynced: Vec<usize>,
    /// Sectors that a failed sync has left marked clean: seen, but perhaps not durable.
    forgotten: Vec<usize>,
}

impl MemFlash {
    /// A card of `size` bytes, all prepared, all zeros.
    pub fn new(size: usize) -> Self {
        Self {
            run: Medium::new(size),
            cursors: [Medium::new(PAGE), Medium::new(PAGE)],
            prepared: size as u64,
            operations: 0,
            cut_at: None,
            fails: 0..0,
        }
    }

    /// Sets how much of the run is made.
    pub fn set_prepared(&mut self, prepared: u64) {
        self.prepared = prepared;
    }

    /// Writes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Power fails in operation `operation`, counted from 0: it and all after it fail. A write
    /// cut so may still be there in part.
    pub fn cut_at(&mut self, operation: u64) {
        self.cut_at = Some(operation);
    }

    /// Operation `operation`, counted from 0, fails once. A failed sync writes half of what it
    /// covered and marks all of it clean, as Linux does: a later sync does not make up for it.
    pub fn fail_at(&mut self, operation: u64) {
        self.fails = operation..operation + 1;
    }

    /// All operations from now on fail, until [`MemFlash::mend`].
    pub fn fail(&mut self) {
        self.fails = self.operations..u64::MAX;
    }

    /// No operation fails any more.
    pub fn mend(&mut self) {
        self.fails = 0..0;
    }

    /// The card after a power cut.
    pub fn power_cut(&self, loss: Loss) -> Self {
        let mut after = self.clone();
        for (medium, salt) in after.media().into_iter().zip(1..) {
            medium.lose(loss, salt);
        }
        (after.operations, after.cut_at, after.fails) = (0, None, 0..0);
        after
    }

    /// Spoils bytes of the run as a bad card does: what was synced reads back wrong.
    pub fn spoil(&mut self, at: u64, len: usize) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        for bytes in [&mut self.run.seen, &mut self.run.durable] {
            for byte in bytes.iter_mut().skip(at).take(len) {
                *byte ^= 0x5A;
            }
        }
    }

    /// Spoils a copy of the cursors.
    pub fn spoil_cursors(&mut self, slot: u8) {
        for (medium, _) in self.cursors.iter_mut().zip(0..).filter(|(_, i)| *i == slot) {
            for bytes in [&mut medium.seen, &mut medium.durable] {
                bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x5A);
            }
        }
    }

    fn media(&mut self) -> [&mut Medium; 3] {
        let [first, second] = &mut self.cursors;
        [&mut self.run, first, second]
    }

    /// Counts an operation; whether power is still there, and it may succeed.
    fn step(&mut self, operation: Operation, at: u64) -> Result<bool, FlashError> {
        let number = self.operations;
        self.operations += 1;
        if self.cut_at.is_some_and(|cut| cut < number) {
            return Err(error(operation, at));
        }
        let fails = self.cut_at == Some(number) || self.fails.contains(&number);
        Ok(!fails)
    }

    fn cursors_mut(&mut self, slot: u8) -> Result<&mut Medium, FlashError> {
        self.cursors
            .get_mut(usize::from(slot))
            .ok_or(error(Operation::WriteCursors, u64::from(slot)))
    }
}

impl ReadAt for MemFlash {
    fn size(&self) -> u64 {
        self.run.seen.len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|at| self.run.seen.get(at..at.checked_add(buf.len())?))
            .ok_or(error(Operation::Read, at))?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl Flash for MemFlash {
    fn prepared(&self) -> u64 {
        self.prepared
    }

    fn write(&mut self, at: u64, pieces: &[&[u8]]) -> Result<(), FlashError> {
        let good = self.step(Operation::Write, at)?;
        let mut to = at;
        for piece in pieces {
            assert!(
                to + piece.len() as u64 <= self.prepared,
                "the ring writes only what is prepared"
            );
            self.run.write(to, piece);
            to += piece.len() as u64;
        }
        good.then_some(()).ok_or(error(Operation::Write, at))
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        let good = self.step(Operation::Sync, 0)?;
        if good {
            self.run.sync();
            return Ok(());
        }
        if self.cut_at.is_none() {
            self.run.forget();
        }
        Err(error(Operation::Sync, 0))
    }

    fn read_cursors(&mut self, slot: u8, buf: &mut [u8; PAGE]) -> Result<(), FlashError> {
        buf.copy_from_slice(&self.cursors_mut(slot)?.seen);
        Ok(())
    }

    fn write_cursors(&mut self, slot: u8, data: &[u8; PAGE]) -> Result<(), FlashError> {
        let good = self.step(Operation::WriteCursors, u64::from(slot))?;
        self.cursors_mut(slot)?.write(0, data);
        good.then_some(())
            .ok_or(error(Operation::WriteCursors, u64::from(slot)))
    }

    fn sync_cursors(&mut self, slot: u8) -> Result<(), FlashError> {
        let good = self.step(Operation::SyncCursors, u64::from(slot))?;
        if good {
            self.cursors_mut(slot)?.sync();
            return Ok(());
        }
        Err(error(Operation::SyncCursors, u64::from(slot)))
    }
}

impl Medium {
    fn new(size: usize) -> Self {
        Self {
            seen: vec![0; size],
            durable: vec![0; size],
            unsynced: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.seen
            .get_mut(at..at.saturating_add(data.len()))
            .expect("the ring writes within its run")
            .copy_from_slice(data);
        let sectors = at / SECTOR..(at + data.len()).div_ceil(SECTOR);
        self.unsynced.extend(sectors);
    }

    fn sync(&mut self) {
        for sector in core::mem::take(&mut self.unsynced) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            if let (Some(to), Some(from)) =
                (self.durable.get_mut(range.clone()), self.seen.get(range))
            {
                to.copy_from_slice(from);
            }
        }
    }

    /// A sync failed half-way.
    fn forget(&mut self) {
        let mut all = core::mem::take(&mut self.unsynced);
        self.forgotten.extend_from_slice(&all);
        all.retain(|sector| mix(*sector as u64).is_multiple_of(2));
        self.unsynced = all;
        self.sync();
    }

    fn lose(&mut self, loss: Loss, salt: u64) {
        self.unsynced.sort_unstable();
        self.unsynced.dedup();
        for sector in core::mem::take(&mut self.unsynced) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let (Some(seen), Some(durable)) = (
                self.seen.get_mut(range.clone()),
                self.durable.get_mut(range),
            ) else {
                continue;
            };
            let (kept, garbage) = match loss {
                Loss::All => (0, 0),
                Loss::None => (SECTOR, 0),
                Loss::Seeded(seed) => {
                    let random = mix(seed ^ mix(salt ^ mix(sector as u64)));
                    let torn = usize::try_from(random >> 8).unwrap_or(0) % SECTOR;
                    match random % 8 {
                        0..=2 => (0, 0),
                        3..=5 => (SECTOR, 0),
                        6 => (torn, 0),
                        _ => (torn, SECTOR - torn),
                    }
                }
            };
            for (i, (new, old)) in seen.iter_mut().zip(durable.iter_mut()).enumerate() {
                if i < kept {
                    *old = *new;
                } else if i < kept + garbage {
                    *old ^= 0xA5;
                }
                *new = *old;
            }
        }
        for sector in core::mem::take(&mut self.forgotten) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            if let (Some(to), Some(from)) =
                (self.seen.get_mut(range.clone()), self.durable.get(range))
            {
                to.copy_from_slice(from);
            }
        }
    }
}

const fn error(operation: Operation, at: u64) -> FlashError {
    FlashError {
        operation,
        at,
        code: 5,
    }
}

/// SplitMix64: a random number for each input.
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}
