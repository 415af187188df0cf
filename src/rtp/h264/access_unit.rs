//! Access units of H.264: what is known of one, complete or in progress.

use crate::rtp::nal;

/// One coded picture, or what is known of a lost one. Its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// RTP time of presentation.
    pub timestamp: u32,
    /// Decoding can begin here.
    ///
    /// An IDR picture; of a camera that has sent none in this session, also a picture of I slices
    /// with a recovery point SEI of `recovery_frame_cnt` 0 (open GOP).
    pub sync: bool,
    /// Bytes in the buffer.
    pub len: usize,
    /// A part of it is missing; the buffer is empty.
    pub damaged: bool,
    /// Packets were lost before it: whole access units may be missing.
    pub preceded_by_loss: bool,
    /// [`parameters`](super::Depacketizer::parameters) are others than at the access unit before.
    pub new_parameters: bool,
    /// Other pictures may refer to it (`nal_ref_idc` is not 0).
    pub reference: bool,
}

/// The access unit in progress.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) timestamp: u32,
    pub(super) has_slice: bool,
    pub(super) idr: bool,
    pub(super) all_intra: bool,
    pub(super) recovery_point: bool,
    pub(super) reference: bool,
    /// A marker came, with or after a slice.
    pub(super) marker: bool,
    /// A slice came behind a marker: the camera sets it on each.
    pub(super) slice_after_marker: bool,
    pub(super) damaged: bool,
    pub(super) preceded_by_loss: bool,
}

impl Unit {
    /// No NAL unit of it yet.
    pub(super) const fn new(timestamp: u32, preceded_by_loss: bool) -> Self {
        Self {
            timestamp,
            has_slice: false,
            idr: false,
            all_intra: true,
            recovery_point: false,
            reference: false,
            marker: false,
            slice_after_marker: false,
            damaged: false,
            preceded_by_loss,
        }
    }

    /// A NAL unit with this header begins in it; `rest` is what is there of its payload.
    pub(super) fn add_nal(&mut self, header: u8, rest: &[u8]) {
        let kind = nal::kind(header);
        if nal::is_slice(kind) {
            self.add_slice(header, rest);
        }
        self.recovery_point |= kind == nal::SEI && nal::has_recovery_point(rest);
    }

    fn add_slice(&mut self, header: u8, rest: &[u8]) {
        self.slice_after_marker |= self.marker && !nal::is_first_slice(rest);
        // No camera uses arbitrary slice order: the first slice is missing.
        self.damaged |= !self.has_slice && !nal::is_first_slice(rest);
        self.has_slice = true;
        self.idr |= nal::kind(header) == nal::IDR_SLICE;
        self.reference |= header & 0x60 != 0;
        self.all_intra &= nal::is_intra(rest);
    }
}
