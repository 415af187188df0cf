//! Reads a ring's files.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::ring_files::{Geometry, error, file_path};
use crate::ring::{FlashError, Operation, ReadAt};

/// A ring as the upload thread reads it: one file is open at a time.
#[derive(Debug)]
pub struct RingReader {
    geometry: Geometry,
    folder: PathBuf,
    /// The file that was read last, and its number.
    open: RefCell<Option<(usize, File)>>,
}

impl RingReader {
    /// Reads a ring that the flash thread has opened before.
    pub fn open(folder: &Path, geometry: Geometry) -> io::Result<Self> {
        let first = File::open(file_path(folder, 0))?;
        Ok(Self {
            geometry,
            folder: folder.to_owned(),
            open: RefCell::new(Some((0, first))),
        })
    }
}

impl ReadAt for RingReader {
    fn size(&self) -> u64 {
        self.geometry.bytes()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        let mut open = self.open.borrow_mut();
        read(self.geometry, at, buf, |index, at, buf| {
            match &*open {
                Some((number, file)) if *number == index => return fill(file, at, buf),
                _ => *open = None,
            }
            let file = File::open(file_path(&self.folder, index as u64))?;
            let (_, file) = open.insert((index, file));
            fill(file, at, buf)
        })
    }
}

/// Reads over the ends of files: `fill` reads from one of them, its number and the offset in it.
pub(super) fn read(
    geometry: Geometry,
    at: u64,
    buf: &mut [u8],
    mut fill: impl FnMut(usize, u64, &mut [u8]) -> io::Result<()>,
) -> Result<(), FlashError> {
    let mut at = at;
    let mut rest = buf;
    while !rest.is_empty() {
        let (index, offset) = geometry.place(at);
        let room = usize::try_from(geometry.file_bytes - offset).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at_mut(room.min(rest.len()));
        fill(index, offset, now).map_err(|e| error(Operation::Read, at, &e))?;
        at += now.len() as u64;
        rest = later;
    }
    Ok(())
}

/// Fills `buf` from one file; what was never prepared reads as zeros.
pub(super) fn fill(file: &File, at: u64, buf: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(left) = buf.get_mut(filled..).filter(|left| !left.is_empty()) {
        match file.read_at(left, at + filled as u64) {
            Ok(0) => {
                left.fill(0);
                break;
            }
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
