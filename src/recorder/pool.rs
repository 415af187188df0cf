//! The media memory of all cameras: one area of blocks, handed around by move.
//!
//! The pool belongs to the event loop. Blocks travel in [`Fragment`]s to the flash thread and
//! come back with them. Last in, first out, so that only what is used becomes resident.

use super::fragment::Fragment;
use crate::limits::{BLOCK_SIZE, FRAGMENTS_IN_FLIGHT, POOL_BLOCKS, VIDEO_CHAIN_BLOCKS};
use crate::rtp::{AccessUnitBuffer, Full};

/// One block of [`BLOCK_SIZE`] bytes. There are only as many as the pool was made with.
#[derive(Debug)]
pub struct Block(&'static mut [u8]);

impl core::ops::Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl core::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

/// The free blocks, and the free fragments that carry blocks in use.
#[derive(Debug)]
pub struct Pool {
    free: heapless::Vec<Block, POOL_BLOCKS>,
    fragments: heapless::Vec<Box<Fragment>, FRAGMENTS_IN_FLIGHT>,
    blocks: usize,
}

impl Pool {
    /// Takes the memory of `blocks` blocks, for the life of the process. Untouched blocks cost
    /// address space only.
    pub fn new(blocks: usize) -> Self {
        assert!(
            blocks <= POOL_BLOCKS,
            "{blocks} blocks are more than the limit"
        );
        let area = vec![0; blocks * BLOCK_SIZE].leak();
        let mut free: heapless::Vec<_, POOL_BLOCKS> =
            area.chunks_exact_mut(BLOCK_SIZE).map(Block).collect();
        free.reverse();
        let fragments = (0..FRAGMENTS_IN_FLIGHT).map(|_| Box::default()).collect();
        Self {
            free,
            fragments,
            blocks,
        }
    }

    /// A free block, or none: the pool is full.
    pub fn take(&mut self) -> Option<Block> {
        self.free.pop()
    }

    /// Takes a block back.
    pub fn give(&mut self, block: Block) {
        self.free
            .push(block)
            .expect("a pool gets back only its own blocks");
    }

    /// Takes back all blocks of `chain` and leaves it empty.
    pub fn give_chain<const N: usize>(&mut self, chain: &mut Chain<N>) {
        while let Some(block) = chain.blocks.pop() {
            self.give(block);
        }
        (chain.offset, chain.len) = (0, 0);
    }

    /// An empty fragment with a block for its head, or none: the pool is full.
    pub fn take_fragment(&mut self) -> Option<Box<Fragment>> {
        let head = self.take()?;
        match self.fragments.pop() {
            Some(mut fragment) => {
                fragment.head = Some(head);
                Some(fragment)
            }
            None => {
                self.give(head);
                None
            }
        }
    }

    /// Takes back a fragment with all its blocks.
    pub fn give_fragment(&mut self, mut fragment: Box<Fragment>) {
        self.give_chain(&mut fragment.video);
        self.give_chain(&mut fragment.audio);
        let start = fragment.start.take();
        [fragment.head.take(), start.map(|start| start.init)]
            .into_iter()
            .flatten()
            .for_each(|block| self.give(block));
        assert!(
            self.fragments.push(fragment).is_ok(),
            "a pool gets back only its own fragments"
        );
    }

    /// Blocks free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Blocks in all.
    pub fn blocks(&self) -> usize {
        self.blocks
    }
}

/// A run of bytes in pool blocks: the first block is used from `offset` on, all others from
/// their beginning, all but the last to their end. At most `N` blocks.
#[derive(Debug, Default)]
pub struct Chain<const N: usize> {
    blocks: heapless::Vec<Block, N>,
    offset: usize,
    len: usize,
}

impl<const N: usize> Chain<N> {
    /// An empty chain; holds no block.
    pub const fn new() -> Self {
        Self {
            blocks: heapless::Vec::new(),
            offset: 0,
            len: 0,
        }
    }

    /// Bytes in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// No byte in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `data`, all of it or nothing.
    pub fn append(&mut self, pool: &mut Pool, mut data: &[u8]) -> Result<(), Full> {
        let before = self.len;
        while !data.is_empty() {
            let at = (self.offset + self.len) % BLOCK_SIZE;
            if self.offset + self.len == self.blocks.len() * BLOCK_SIZE {
                let Some(block) = (!self.blocks.is_full()).then(|| pool.take()).flatten() else {
                    self.truncate(pool, before);
                    return Err(Full);
                };
                assert!(
                    self.blocks.push(block).is_ok(),
                    "there was room for a block"
                );
            }
            let Some(room) = self.blocks.last_mut().and_then(|block| block.get_mut(at..)) else {
                return Err(Full);
            };
            let n = room.len().min(data.len());
            let (now, later) = data.split_at(n);
            if let Some(to) = room.get_mut(..n) {
                to.copy_from_slice(now);
            }
            (data, self.len) = (later, self.len + n);
        }
        Ok(())
    }

    /// Writes `data` over what is at `at`. What lies past the end is left out.
    pub fn overwrite(&mut self, at: usize, data: &[u8]) {
        debug_assert!(at + data.len() <= self.len);
        for (at, byte) in (self.offset + at..self.offset + self.len).zip(data) {
            let block = self.blocks.get_mut(at / BLOCK_SIZE);
            if let Some(to) = block.and_then(|block| block.get_mut(at % BLOCK_SIZE)) {
                *to = *byte;
            }
        }
    }

    /// Shortens it to `len` bytes; blocks no longer needed go back.
    pub fn truncate(&mut self, pool: &mut Pool, len: usize) {
        self.len = self.len.min(len);
        let needed = if self.len == 0 {
            0
        } else {
            (self.offset + self.len).div_ceil(BLOCK_SIZE)
        };
        while self.blocks.len() > needed {
            self.blocks
                .pop()
                .into_iter()
                .for_each(|block| pool.give(block));
        }
        if self.len == 0 {
            self.offset = 0;
        }
    }

    /// Cuts at `at`: keeps what is before, gives what is behind as a chain of its own.
    ///
    /// Copies at most one block, the one that both share. `Full`: no block was free for that,
    /// and nothing has changed.
    pub fn split_off(&mut self, pool: &mut Pool, at: usize) -> Result<Self, Full> {
        let mut tail = Self::new();
        if at >= self.len {
            return Ok(tail);
        }
        let cut = self.offset + at;
        let (first, shared) = (cut / BLOCK_SIZE, !cut.is_multiple_of(BLOCK_SIZE));
        if shared {
            let mut copy = pool.take().ok_or(Full)?;
            let from = self
                .blocks
                .get(first)
                .and_then(|block| block.get(cut % BLOCK_SIZE..));
            let to = copy.get_mut(cut % BLOCK_SIZE..);
            if let (Some(from), Some(to)) = (from, to) {
                to.copy_from_slice(from);
            }
            assert!(tail.blocks.push(copy).is_ok(), "the tail was empty");
        }
        let mut moved: heapless::Vec<Block, N> = heapless::Vec::new();
        while self.blocks.len() > first + usize::from(shared) {
            self.blocks.pop().into_iter().for_each(|block| {
                assert!(moved.push(block).is_ok(), "no more blocks than there were");
            });
        }
        while let Some(block) = moved.pop() {
            assert!(
                tail.blocks.push(block).is_ok(),
                "no more blocks than there were"
            );
        }
        (tail.offset, tail.len) = (cut % BLOCK_SIZE, self.len - at);
        self.len = at;
        if at == 0 {
            self.truncate(pool, 0);
        }
        Ok(tail)
    }

    /// The bytes, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let end = self.offset + self.len;
        self.blocks
            .iter()
            .enumerate()
            .filter_map(move |(i, block)| {
                let from = if i == 0 { self.offset } else { 0 };
                block.get(from..(end - i * BLOCK_SIZE).min(BLOCK_SIZE))
            })
    }
}

/// The end of a chain from `start` on, as a depacketizer's buffer for one access unit.
#[derive(Debug)]
pub struct ChainTail<'a> {
    /// The chain it is the end of.
    pub chain: &'a mut Chain<VIDEO_CHAIN_BLOCKS>,
    /// Where its blocks come from.
    pub pool: &'a mut Pool,
    /// Where in the chain the access unit begins.
    pub start: usize,
    /// Most bytes of it.
    pub max: usize,
}

impl AccessUnitBuffer for ChainTail<'_> {
    fn len(&self) -> usize {
        self.chain.len() - self.start
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Full> {
        if self.len() + data.len() > self.max {
            return Err(Full);
        }
        self.chain.append(self.pool, data)
    }

    fn overwrite(&mut self, at: usize, data: &[u8]) {
        self.chain.overwrite(self.start + at, data);
    }

    fn truncate(&mut self, len: usize) {
        self.chain.truncate(self.pool, self.start + len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(chain: &Chain<N>) -> Vec<u8> {
        chain.pieces().flatten().copied().collect()
    }

    fn counting(from: usize, n: usize) -> Vec<u8> {
        (0..=250).cycle().skip(from % 251).take(n).collect()
    }

    #[test]
    fn a_chain_keeps_what_was_appended_and_split() {
        let mut pool = Pool::new(8);
        for cut in [
            0,
            1,
            BLOCK_SIZE - 1,
            BLOCK_SIZE,
            BLOCK_SIZE + 1,
            150_000,
            200_000,
        ] {
            let mut chain = Chain::<VIDEO_CHAIN_BLOCKS>::new();
            chain.append(&mut pool, &counting(0, 100_000)).unwrap();
            chain
                .append(&mut pool, &counting(100_000, 100_000))
                .unwrap();
            let mut tail = chain.split_off(&mut pool, cut).unwrap();
            assert_eq!(bytes(&chain), counting(0, cut));
            assert_eq!(bytes(&tail), counting(cut, 200_000 - cut));
            tail.append(&mut pool, &counting(200_000, 70_000)).unwrap();
            assert_eq!(bytes(&tail), counting(cut, 270_000 - cut));
            tail.truncate(&mut pool, 10.min(tail.len()));
            assert_eq!(bytes(&tail), counting(cut, 10.min(270_000 - cut)));
            pool.give_chain(&mut chain);
            pool.give_chain(&mut tail);
            assert_eq!(pool.free(), 8);
        }
    }

    #[test]
    fn a_full_pool_appends_nothing_and_splits_nothing() {
        let mut pool = Pool::new(2);
        let mut chain = Chain::<VIDEO_CHAIN_BLOCKS>::new();
        chain.append(&mut pool, &counting(0, 100_000)).unwrap();
        assert_eq!(chain.append(&mut pool, &counting(0, 40_000)), Err(Full));
        assert!(chain.split_off(&mut pool, 70_000).is_err());
        assert_eq!(bytes(&chain), counting(0, 100_000));
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn an_access_unit_at_the_tail_can_be_patched_and_dropped() {
        let mut pool = Pool::new(3);
        let mut chain = Chain::<VIDEO_CHAIN_BLOCKS>::new();
        chain
            .append(&mut pool, &counting(0, BLOCK_SIZE - 2))
            .unwrap();
        let start = chain.len();
        let mut tail = ChainTail {
            chain: &mut chain,
            pool: &mut pool,
            start,
            max: 1000,
        };
        tail.append(&[0, 0, 0, 0, 9, 9]).unwrap();
        tail.overwrite(0, &[1, 2, 3, 4]);
        assert_eq!(tail.append(&[0; 995]), Err(Full));
        assert_eq!(tail.len(), 6);
        assert_eq!(bytes(&chain)[start..], [1, 2, 3, 4, 9, 9]);
        ChainTail {
            chain: &mut chain,
            pool: &mut pool,
            start,
            max: 1000,
        }
        .truncate(0);
        assert_eq!(bytes(&chain), counting(0, start));
        assert_eq!(pool.free(), 2);
    }
}
