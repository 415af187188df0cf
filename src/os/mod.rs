//! The operating system: event loop, flash thread, upload thread, clock, signals.

pub mod activation;
pub mod clock;
pub mod config_file;
pub mod event_loop;
pub mod flash_thread;
pub mod gateway;
pub mod host_time;
pub mod https;
pub mod logger;
mod making;
pub mod next_segment;
pub mod opening;
pub mod process;
pub mod progress;
pub mod put;
pub mod put_body;
pub mod report;
pub mod ring_files;
pub mod ring_reader;
pub mod shared;
pub mod slot;
pub mod status_file;
pub mod steps;
pub mod storage_check;
mod teller;
pub mod upload_state;
pub mod upload_thread;
