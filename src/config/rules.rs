//! The rules of single values, each with the words that say what is allowed.

use core::time::Duration;
use std::path::PathBuf;

use super::duration;
use crate::limits::{MIB, NAME_MAX, RING_BYTES_MIN};

/// Largest ring, bytes: the largest file system the gateway's kernels mount.
const RING_BYTES_MAX: u64 = 16 * 1024 * 1024 * MIB;

pub(super) const NAME: &str = "1 to 32 letters, digits and inner dashes";
pub(super) const PATH: &str = "a path";
pub(super) const RING_SIZE: &str = "a whole number of MiB in quotes, from \"16\" to \"16777216\"";
pub(super) const SYNC_INTERVAL: &str = "a whole number of seconds from PT1S to PT1M";
#[cfg(not(feature = "short-segments"))]
pub(super) const SEGMENT_LENGTH: &str = "a multiple of 30 s between PT30S and PT5M";
#[cfg(feature = "short-segments")]
pub(super) const SEGMENT_LENGTH: &str = "a multiple of 1 s between PT1S and PT5M";

/// LVA's rule for names.
pub(super) fn name(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let good = (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-');
    good.then(|| text.to_owned())
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.trim().is_empty()).then(|| PathBuf::from(text))
}

pub(super) fn segment_length(text: &str) -> Option<Duration> {
    let step = if cfg!(feature = "short-segments") {
        1
    } else {
        30
    };
    let length = duration::parse(text)?;
    let seconds = length.as_secs();
    ((step..=300).contains(&seconds) && seconds.is_multiple_of(step)).then_some(length)
}

pub(super) fn sync_interval(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|interval| (1..=60).contains(&interval.as_secs()))
}

pub(super) fn ring_bytes(text: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bytes = text.parse::<u64>().ok()?.checked_mul(MIB)?;
    (RING_BYTES_MIN..=RING_BYTES_MAX)
        .contains(&bytes)
        .then_some(bytes)
}
