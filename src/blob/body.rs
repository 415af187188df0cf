//! The body of a Put Blob: an ordinary MP4's front, then the ring's bytes as they are.

use core::fmt;
use std::io;

use md5::{Digest, Md5};

/// A blob's bytes in order: `front`, then `length` bytes of `source`.
///
/// `source(offset, piece)` fills `piece` with the ring's bytes from `offset` on, verifying them;
/// offsets only grow, by what was asked for before, until the body is rewound.
#[derive(Clone)]
pub struct BlobBody<'a, S> {
    front: &'a [u8],
    source: S,
    source_length: u64,
    position: u64,
}

impl<'a, S, E> BlobBody<'a, S>
where
    S: FnMut(u64, &mut [u8]) -> Result<(), E>,
{
    /// A body at its first byte.
    pub const fn new(front: &'a [u8], source: S, length: u64) -> Self {
        Self {
            front,
            source,
            source_length: length,
            position: 0,
        }
    }

    /// Bytes in all: `Content-Length`.
    pub const fn length(&self) -> u64 {
        self.front.len() as u64 + self.source_length
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Back to the first byte.
    pub const fn rewind(&mut self) {
        self.position = 0;
    }

    /// Fills the beginning of `piece` with what comes next; the bytes filled, 0 at the end.
    ///
    /// After an error the position is what it was.
    pub fn next_piece(&mut self, piece: &mut [u8]) -> Result<usize, E> {
        let in_front = usize::try_from(self.position).ok();
        let filled = match in_front.and_then(|at| self.front.get(at..)) {
            Some(rest) if !rest.is_empty() => {
                let n = rest.len().min(piece.len());
                for (to, from) in piece.iter_mut().zip(rest) {
                    *to = *from;
                }
                n
            }
            _ => {
                let offset = self.position - self.front.len() as u64;
                let left = usize::try_from(self.source_length - offset).unwrap_or(usize::MAX);
                let n = left.min(piece.len());
                match piece.get_mut(..n) {
                    Some(piece) if n > 0 => (self.source)(offset, piece)?,
                    _ => return Ok(0),
                }
                n
            }
        };
        self.position += filled as u64;
        Ok(filled)
    }

    /// Reads the body to its end, through `piece`, for its MD5; then rewinds.
    ///
    /// `piece` must not be empty.
    pub fn md5(&mut self, piece: &mut [u8]) -> Result<[u8; 16], E> {
        assert!(!piece.is_empty(), "an empty piece makes no progress");
        self.rewind();
        let mut md5 = Md5::new();
        loop {
            let n = self.next_piece(piece)?;
            if n == 0 {
                self.rewind();
                return Ok(md5.finalize().into());
            }
            md5.update(piece.get(..n).unwrap_or_default());
        }
    }
}

/// Hash of the codec data, from an init segment, which holds nothing else: the `initid` metadata.
pub fn init_id(init: &[u8]) -> u64 {
    let md5: [u8; 16] = Md5::digest(init).into();
    md5.first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// For the HTTP client; an error of the source is passed on as it is.
impl<S, E> io::Read for BlobBody<'_, S>
where
    S: FnMut(u64, &mut [u8]) -> Result<(), E>,
    E: core::error::Error + Send + Sync + 'static,
{
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.next_piece(piece).map_err(io::Error::other)
    }
}

impl<S> fmt::Debug for BlobBody<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("front", &self.front.len())
            .field("source_length", &self.source_length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Damage;

    impl fmt::Display for Damage {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("damage")
        }
    }

    impl core::error::Error for Damage {}

    fn ring(ring: &[u8]) -> impl FnMut(u64, &mut [u8]) -> Result<(), Damage> {
        let mut expected = 0;
        move |offset, piece| {
            if offset == 0 {
                expected = 0;
            }
            assert_eq!(offset, expected);
            expected += piece.len() as u64;
            let at = usize::try_from(offset).unwrap();
            piece.copy_from_slice(&ring[at..at + piece.len()]);
            Ok(())
        }
    }

    #[test]
    fn front_and_ring_follow_each_other_whatever_the_pieces() {
        for (front, rest) in [
            ("", ""),
            ("front", ""),
            ("", "ring bytes"),
            ("front", "ring bytes"),
        ] {
            let whole = format!("{front}{rest}");
            for size in [1, 2, 5, 7, 100] {
                let length = rest.len() as u64;
                let mut body = BlobBody::new(front.as_bytes(), ring(rest.as_bytes()), length);
                assert_eq!(body.length(), whole.len() as u64);
                let mut piece = vec![0; size];
                let digest = body.md5(&mut piece).unwrap();
                assert_eq!(digest, <[u8; 16]>::from(Md5::digest(&whole)));
                let mut read = Vec::new();
                while let n @ 1.. = body.next_piece(&mut piece).unwrap() {
                    read.extend_from_slice(&piece[..n]);
                    assert_eq!(body.position(), read.len() as u64);
                }
                assert_eq!(read, whole.as_bytes());
                assert_eq!(body.next_piece(&mut piece), Ok(0));
            }
        }
    }

    #[test]
    fn a_source_error_stops_where_it_is() {
        let fails_at_4 = |offset, _: &mut [u8]| if offset < 4 { Ok(()) } else { Err(Damage) };
        let mut body = BlobBody::new(b"fr", fails_at_4, 10);
        assert_eq!(body.md5(&mut [0; 4]), Err(Damage));
        body.rewind();
        assert_eq!(body.next_piece(&mut [0; 2]), Ok(2));
        assert_eq!(body.next_piece(&mut [0; 4]), Ok(4));
        let error = body.read(&mut [0; 4]).unwrap_err();
        assert_eq!(
            error.get_ref().and_then(|e| e.downcast_ref()),
            Some(&Damage)
        );
        assert_eq!(body.position(), 6);
        assert_eq!(
            format!("{body:?}"),
            "BlobBody { front: 2, source_length: 10, position: 6, .. }"
        );
    }
}
