//! Blob storage: names, Put Blob, verdicts, back-off, what to send next. Pure.
//!
//! - [`name`]: what a blob is called.
//! - [`sas`]: the container's SAS URL.
//! - [`headers`]: the headers of a Put Blob.
//! - [`body`]: its body, and the MD5 of it.
//! - [`verdict`]: what an answer means.
//! - [`retry`]: when to try again.
//! - [`speed`], [`queue`], [`refusals`]: which segment is next.

pub mod body;
pub mod headers;
pub mod name;
pub mod queue;
pub mod refusals;
pub mod retry;
pub mod sas;
pub mod speed;
pub mod verdict;
