//! The body of a Put Blob on its way.

use std::io::{self, Read};

use super::clock::Clock;
use super::flash_thread::FlashHandle;
use super::shared::{RingId, Shared};
use crate::blob::body::BlobBody;
use crate::blob::speed::{Pace, UploadSpeed};
use crate::ring::ReadError;

/// The body on its way: paced, counted, and noted on flash before its last byte leaves.
pub struct Sending<'a, S> {
    /// What is sent.
    pub body: BlobBody<'a, S>,
    /// For pace and speed.
    pub clock: &'a Clock,
    /// Learns from it.
    pub speed: &'a mut UploadSpeed,
    /// Shows how far it is.
    pub shared: &'a Shared,
    /// Notes the last byte.
    pub flash: &'a FlashHandle,
    /// The cap on upload speed.
    pub pace: Pace,
    /// Bytes that the state shows.
    pub shown: u64,
    /// The segment whose last byte is to be noted, unless it was before.
    pub mark: Option<(RingId, u64)>,
}

impl<S> Read for Sending<'_, S>
where
    S: FnMut(u64, &mut [u8]) -> Result<(), ReadError>,
{
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(self.pace.wait(self.clock.now(), piece.len()));
        let n = self.body.next_piece(piece).map_err(io::Error::other)?;
        let sent = self.body.position();
        self.speed.progress(self.clock.now(), sent);
        if sent - self.shown >= SHOWN_EVERY {
            self.shown = sent;
            self.shared.status().upload.sent_bytes = sent;
        }
        if sent >= self.body.length()
            && let Some((ring, sequence)) = self.mark.take()
        {
            let noted = self
                .flash
                .with_ring(ring, move |ring| ring.mark_attempted(sequence));
            noted.and_then(Result::ok).ok_or(io::ErrorKind::Other)?;
        }
        Ok(n)
    }
}

/// The state shows progress in steps of so many bytes.
const SHOWN_EVERY: u64 = 128 * 1024;
