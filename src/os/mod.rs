//! The operating system: event loop, flash thread, upload thread, clock, signals.

pub mod https;
