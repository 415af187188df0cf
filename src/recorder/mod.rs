//! The recorder.
pub mod decode_time;
pub mod fragment;
pub mod pool;
pub mod segmenter;
