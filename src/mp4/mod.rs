//! MP4 (ISO/IEC 14496-12): init segment, fragments, and the front of a blob. Pure.
//!
//! All tracks count in [`crate::time::TIMESCALE`] and all memory is fixed: each writer fills a
//! buffer it is given, or the one it took when it was made.
//!
//! - [`boxes`]: a box writer and a bounds-checked reader
//! - [`sample_entry`]: `avc1` and `mp4a`, from what is known of a track
//! - [`init`]: the init segment, written and read
//! - [`fragment`]: `moof` and the header of its `mdat`, written
//! - [`moof`]: the same, read
//! - [`front`]: the ordinary MP4 in front of a blob, made of the heads of its fragments

pub mod boxes;
pub mod fragment;
pub mod front;
mod header;
pub mod init;
pub mod moof;
pub mod sample_entry;
mod sample_table;
