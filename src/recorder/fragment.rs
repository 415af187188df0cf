//! A fragment on its way from the event loop to the flash thread.

use super::pool::{Block, Chain};
use crate::limits::{AUDIO_CHAIN_BLOCKS, VIDEO_CHAIN_BLOCKS};
use crate::segment::{FragmentInfo, SegmentStart};

/// The first fragment of a segment brings its start and its init segment.
#[derive(Debug)]
pub struct Start {
    /// What the ring's open record says.
    pub segment: SegmentStart,
    /// The init segment's bytes, from the block's first on.
    pub init: Block,
    /// How many of them.
    pub init_len: usize,
}

/// A fragment on its way to flash.
#[derive(Debug, Default)]
pub struct Fragment {
    /// A segment begins with it.
    pub start: Option<Start>,
    /// `moof` and the `mdat` header, from the block's first byte on.
    pub head: Option<Block>,
    /// Bytes of the head.
    pub head_len: usize,
    /// Video samples, one after the other.
    pub video: Chain<VIDEO_CHAIN_BLOCKS>,
    /// Audio samples, behind the video.
    pub audio: Chain<AUDIO_CHAIN_BLOCKS>,
    /// What the ring's check says.
    pub info: FragmentInfo,
}

impl Fragment {
    /// The fragment's bytes in file order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let head = self
            .head
            .as_ref()
            .and_then(|block| block.get(..self.head_len));
        head.into_iter()
            .chain(self.video.pieces())
            .chain(self.audio.pieces())
    }
}
