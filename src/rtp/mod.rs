//! RTP packets to access units (RFC 3550, RFC 6184, RFC 3640). Pure.

pub mod aac;
pub mod frame_clock;
pub mod h264;
pub mod nal;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod sets;
pub mod sps;
pub mod timeline;

/// No room: the pool, or the largest access unit, is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Where a depacketizer puts the bytes of the access unit in progress.
pub trait AccessUnitBuffer {
    /// Bytes of the access unit so far.
    fn len(&self) -> usize;
    /// No byte yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Appends `data`, all of it or nothing.
    fn append(&mut self, data: &[u8]) -> Result<(), Full>;
    /// Writes `data` over what is at `at` (a NAL unit's length, once it is known).
    fn overwrite(&mut self, at: usize, data: &[u8]);
    /// Shortens the access unit to `len` bytes.
    fn truncate(&mut self, len: usize);
}
