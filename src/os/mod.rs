//! The operating system: event loop, flash thread, upload thread, clock, signals.

pub mod clock;
pub mod config_file;
pub mod https;
pub mod logger;
pub mod storage_check;
