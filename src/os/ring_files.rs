//! One camera's ring as files: `ring.000`, `ring.001`, ... of equal size, allocated in full and
//! written once, and two cursor files. Afterwards none is created, grown, renamed or removed.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::O_NOFOLLOW;
use nix::sys::uio::pwritev;
use nix::unistd::fdatasync;

use crate::limits::{BLOCK_SIZE, MIB, PAGE};
use crate::ring::{Flash, FlashError, Operation, ReadAt, RingError};

/// How a ring's bytes are laid over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of files.
    pub files: u64,
    /// Bytes of each, a multiple of the page.
    pub file_bytes: u64,
}

/// The files of one ring, for the flash thread.
#[derive(Debug)]
pub struct RingFiles {
    geometry: Geometry,
    files: Vec<RingFile>,
    cursors: [File; 2],
    prepared: u64,
    zeros: Vec<u8>,
}

#[derive(Debug)]
struct RingFile {
    file: File,
    dirty: bool,
}

/// The same files, read only, for the upload thread.
#[derive(Debug)]
pub struct RingReader {
    geometry: Geometry,
    files: Vec<File>,
}

/// Files are about this large, so that recording can begin when the first is prepared and
/// every file system takes them.
const FILE_BYTES: u64 = 64 * MIB;
const FILES_MAX: u64 = 512;

/// Written at once while preparing.
const STEP: usize = 16 * BLOCK_SIZE;

/// Most pieces of one vectored write.
const PIECES: usize = 128;

impl Geometry {
    /// The layout of a ring of `ring_bytes`: it loses less than a page a file.
    pub fn of(ring_bytes: u64) -> Self {
        let files = ring_bytes.div_ceil(FILE_BYTES).clamp(1, FILES_MAX);
        let page = PAGE as u64;
        Self {
            files,
            file_bytes: ring_bytes / files / page * page,
        }
    }

    /// Bytes of the run.
    pub const fn bytes(self) -> u64 {
        self.files * self.file_bytes
    }

    /// The layout of a ring that exists; `None` where there is none. It was noted when the
    /// ring was made.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(folder.join("ring.size")) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        Ok(match (numbers.next(), numbers.next()) {
            (Some(files), Some(file_bytes)) if (1..=FILES_MAX).contains(&files) => {
                Some(Self { files, file_bytes })
            }
            _ => None,
        })
    }

    /// The file and the offset in it of `at`.
    fn place(self, at: u64) -> (usize, u64) {
        (
            usize::try_from(at / self.file_bytes).unwrap_or(usize::MAX),
            at % self.file_bytes,
        )
    }
}

impl RingFiles {
    /// Opens the ring in `folder`, or begins one. Nothing is prepared yet: [`Self::prepare`].
    pub fn open(folder: &Path, geometry: Geometry) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        if Geometry::read(folder)? != Some(geometry) {
            let note = format!(
                "{} files of {} bytes\n",
                geometry.files, geometry.file_bytes
            );
            std::fs::write(folder.join("ring.size"), note)?;
        }
        let files = (0..geometry.files)
            .map(|i| open(&file_path(folder, i)).map(|file| RingFile { file, dirty: false }))
            .collect::<io::Result<Vec<_>>>()?;
        let cursors = [
            open(&folder.join("cursors.0"))?,
            open(&folder.join("cursors.1"))?,
        ];
        let mut prepared = 0;
        for file in &files {
            let len = file.file.metadata()?.len().min(geometry.file_bytes);
            prepared += len / PAGE as u64 * PAGE as u64;
            if len < geometry.file_bytes {
                break;
            }
        }
        for folder in [Some(folder), folder.parent()].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            geometry,
            files,
            cursors,
            prepared,
            zeros: Vec::new(),
        })
    }

    /// Prepares up to a MiB more; true when all is prepared. Zeros are written because extents
    /// that were only allocated would change, and cost writes, when they are first used.
    pub fn prepare(&mut self) -> io::Result<bool> {
        if self.prepared >= self.geometry.bytes() {
            self.zeros = Vec::new();
            return Ok(true);
        }
        self.zeros.resize(STEP, 0);
        let (index, at) = self.geometry.place(self.prepared);
        let file = self
            .files
            .get_mut(index)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if at == 0 {
            allocate(&file.file, self.geometry.file_bytes)?;
        }
        let left = usize::try_from(self.geometry.file_bytes - at).unwrap_or(STEP);
        let zeros = self.zeros.get(..STEP.min(left)).unwrap_or_default();
        file.file.write_all_at(zeros, at)?;
        self.prepared += zeros.len() as u64;
        let file_done = self.prepared.is_multiple_of(self.geometry.file_bytes);
        if file_done {
            file.file.sync_all()?;
        } else if self.prepared.is_multiple_of(4 * MIB) {
            fdatasync(file.file.as_fd())?;
        }
        Ok(self.prepared >= self.geometry.bytes())
    }

    /// All is prepared.
    pub fn is_prepared(&self) -> bool {
        self.prepared >= self.geometry.bytes()
    }

    /// A failed [`RingFiles::prepare`] as the ring's error.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub fn prepare_error(error_: io::Error) -> RingError {
        error(Operation::Write, 0, &error_).into()
    }

    /// One file's part of a vectored write.
    fn write_within(&mut self, at: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let (index, mut offset) = self.geometry.place(at);
        let file = self
            .files
            .get_mut(index)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        file.dirty = true;
        let mut slices: heapless::Vec<IoSlice<'_>, PIECES> = heapless::Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let pushed = slices.push(IoSlice::new(piece));
            assert!(pushed.is_ok(), "a fragment has fewer pieces");
        }
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let place = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            match pwritev(file.file.as_fd(), rest, place) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl RingReader {
    /// Opens the files of a ring that [`RingFiles`] has opened before.
    pub fn open(folder: &Path, geometry: Geometry) -> io::Result<Self> {
        let files = (0..geometry.files)
            .map(|i| File::open(file_path(folder, i)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { geometry, files })
    }
}

impl ReadAt for RingFiles {
    fn size(&self) -> u64 {
        self.geometry.bytes()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        read(self.geometry, at, buf, |index| {
            self.files.get(index).map(|file| &file.file)
        })
    }
}

impl ReadAt for RingReader {
    fn size(&self) -> u64 {
        self.geometry.bytes()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        read(self.geometry, at, buf, |index| self.files.get(index))
    }
}

impl Flash for RingFiles {
    fn prepared(&self) -> u64 {
        self.prepared
    }

    fn write(&mut self, at: u64, pieces: &[&[u8]]) -> Result<(), FlashError> {
        let failed = |e: io::Error| error(Operation::Write, at, &e);
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let (_, offset) = self.geometry.place(at);
        let here = self.geometry.file_bytes - offset;
        if len <= here {
            return self.write_within(at, pieces).map_err(failed);
        }
        // Rare: one write in a file's length crosses its end. Piece by piece then.
        let mut at = at;
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (_, offset) = self.geometry.place(at);
                let room = usize::try_from(self.geometry.file_bytes - offset).unwrap_or(usize::MAX);
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.write_within(at, &[now]).map_err(failed)?;
                at += now.len() as u64;
                rest = later;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        for (index, file) in self
            .files
            .iter_mut()
            .enumerate()
            .filter(|(_, file)| file.dirty)
        {
            let at = index as u64 * self.geometry.file_bytes;
            fdatasync(file.file.as_fd()).map_err(|e| error(Operation::Sync, at, &e.into()))?;
            file.dirty = false;
        }
        Ok(())
    }

    fn read_cursors(&mut self, slot: u8, buf: &mut [u8; PAGE]) -> Result<(), FlashError> {
        let failed = |e: io::Error| error(Operation::ReadCursors, slot.into(), &e);
        let file = self.cursors(slot);
        if file.metadata().map_err(failed)?.len() < PAGE as u64 {
            buf.fill(0);
            return Ok(());
        }
        file.read_exact_at(buf, 0).map_err(failed)
    }

    fn write_cursors(&mut self, slot: u8, data: &[u8; PAGE]) -> Result<(), FlashError> {
        let failed = |e: io::Error| error(Operation::WriteCursors, slot.into(), &e);
        self.cursors(slot).write_all_at(data, 0).map_err(failed)
    }

    fn sync_cursors(&mut self, slot: u8) -> Result<(), FlashError> {
        fdatasync(self.cursors(slot).as_fd())
            .map_err(|e| error(Operation::SyncCursors, slot.into(), &e.into()))
    }
}

impl RingFiles {
    fn cursors(&self, slot: u8) -> &File {
        let [first, second] = &self.cursors;
        if slot == 0 { first } else { second }
    }
}

/// Reads over the ends of files; what was never prepared reads as zeros.
fn read<'a>(
    geometry: Geometry,
    at: u64,
    buf: &mut [u8],
    file: impl Fn(usize) -> Option<&'a File>,
) -> Result<(), FlashError> {
    let failed = |e: io::Error| error(Operation::Read, at, &e);
    let mut at = at;
    let mut rest = buf;
    while !rest.is_empty() {
        let (index, offset) = geometry.place(at);
        let room = usize::try_from(geometry.file_bytes - offset).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at_mut(room.min(rest.len()));
        let file = file(index).ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
        let mut filled = 0;
        while let Some(left) = now.get_mut(filled..).filter(|left| !left.is_empty()) {
            match file.read_at(left, offset + filled as u64) {
                Ok(0) => left.fill(0),
                Ok(n) => {
                    filled += n;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(e)),
            }
            break;
        }
        at += now.len() as u64;
        rest = later;
    }
    Ok(())
}

fn error(operation: Operation, at: u64, e: &io::Error) -> FlashError {
    FlashError {
        operation,
        at,
        code: e.raw_os_error().unwrap_or(0),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(O_NOFOLLOW)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn file_path(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("ring.{index:03}"))
}

/// Reserves the file's room in one piece where the file system can; its length stays.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    match fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
        // vfat and a few others cannot; the zeros allocate.
        Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("cvr-ring-files-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_ring_loses_less_than_a_page_a_file_to_its_layout() {
        for mib in [16, 17, 64, 65, 100, 2048, 40_000, 100_000] {
            let bytes = mib * MIB;
            let geometry = Geometry::of(bytes);
            assert!(geometry.bytes() <= bytes);
            assert!(bytes - geometry.bytes() < geometry.files * PAGE as u64);
            assert!(geometry.file_bytes.is_multiple_of(PAGE as u64));
        }
        assert_eq!(
            Geometry::of(16 * MIB),
            Geometry {
                files: 1,
                file_bytes: 16 * MIB
            }
        );
    }

    #[test]
    fn preparing_goes_on_where_it_was_interrupted() {
        let folder = folder("prepare");
        let geometry = Geometry {
            files: 2,
            file_bytes: 3 * MIB,
        };
        let mut files = RingFiles::open(&folder, geometry).unwrap();
        for _ in 0..4 {
            assert!(!files.prepare().unwrap());
        }
        drop(files);
        let mut files = RingFiles::open(&folder, geometry).unwrap();
        assert_eq!(files.prepared(), 4 * MIB);
        assert!(!files.prepare().unwrap());
        assert!(files.prepare().unwrap());
        assert_eq!((files.prepared(), files.size()), (6 * MIB, 6 * MIB));
        assert_eq!(Geometry::read(&folder).unwrap(), Some(geometry));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn writes_and_reads_cross_the_ends_of_files() {
        let folder = folder("cross");
        let geometry = Geometry {
            files: 3,
            file_bytes: 8192,
        };
        let mut files = RingFiles::open(&folder, geometry).unwrap();
        while !files.prepare().unwrap() {}
        let data: Vec<u8> = (0..=250).cycle().take(12_000).collect();
        let (a, b) = data.split_at(5_000);
        files.write(6_000, &[a, b]).unwrap();
        files.sync().unwrap();
        let mut back = vec![0; 12_000];
        RingReader::open(&folder, geometry)
            .unwrap()
            .read_at(6_000, &mut back)
            .unwrap();
        assert_eq!(back, data);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
