//! One camera's ring as files: `ring.000`, `ring.001`, ... of equal size, allocated in full and
//! written once, and two cursor files. Afterwards none is created, grown, renamed or removed.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::O_NOFOLLOW;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::uio::pwritev;
use nix::unistd::fdatasync;

pub use super::ring_reader::RingReader;
use super::ring_reader::{fill, read};
use super::steps::Prepare;
use crate::limits::{MIB, PAGE};
use crate::ring::{Flash, FlashError, Operation, ReadAt};

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
}

#[derive(Debug)]
struct RingFile {
    file: File,
    dirty: bool,
}

/// Files are at least about this large.
const FILE_BYTES_MIN: u64 = 64 * MIB;

/// Larger files are made rather than more, as each costs the flash thread a descriptor...
const FILES_MAX: u64 = 16;

/// ...up to what every file system takes: vfat less than 4 GiB.
const FILE_BYTES_MAX: u64 = 4095 * MIB;

/// Files of a ring that an earlier version made, or of one larger than 64 GiB.
const FILES_READ_MAX: u64 = 512;

static ZEROS: [u8; 4 * PAGE] = [0; 4 * PAGE];

/// Written at once while preparing.
const STEP: usize = 64 * ZEROS.len();

/// Most pieces of one vectored write.
const PIECES: usize = 128;

impl Geometry {
    /// The layout of a ring of `ring_bytes`: it loses less than a page a file.
    pub fn of(ring_bytes: u64) -> Self {
        let files = ring_bytes
            .div_ceil(FILE_BYTES_MIN)
            .clamp(1, FILES_MAX)
            .max(ring_bytes.div_ceil(FILE_BYTES_MAX));
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
        let (files, file_bytes) = (numbers.next(), numbers.next());
        Ok(files.zip(file_bytes).and_then(|(files, file_bytes)| {
            let sound = (1..=FILES_READ_MAX).contains(&files)
                && (PAGE as u64..=FILE_BYTES_MAX).contains(&file_bytes)
                && file_bytes.is_multiple_of(PAGE as u64);
            sound.then_some(Self { files, file_bytes })
        }))
    }

    /// The two hold as much, but for what rounding costs.
    pub const fn same_size(self, other: Self) -> bool {
        self.bytes().abs_diff(other.bytes()) < MIB
    }

    /// The file and the offset in it of `at`.
    pub(super) fn place(self, at: u64) -> (usize, u64) {
        (
            usize::try_from(at / self.file_bytes).unwrap_or(usize::MAX),
            at % self.file_bytes,
        )
    }
}

impl RingFiles {
    /// Opens the ring in `folder`, or begins one. Nothing is prepared yet: [`Self::prepare`].
    ///
    /// # Errors
    ///
    /// Of the file system; `InvalidInput` if the ring there has another layout.
    pub fn open(folder: &Path, geometry: Geometry) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        match Geometry::read(folder)? {
            Some(there) if there == geometry => {}
            Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
            None => {
                let (files, file_bytes) = (geometry.files, geometry.file_bytes);
                let note = format!("{files} files of {file_bytes} bytes\n");
                write_durably(folder, "ring.size", note.as_bytes())?;
            }
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
        })
    }

    /// Removes the ring in `folder`, its layout last: whatever a power cut leaves is still found,
    /// and removed then.
    pub fn remove(folder: &Path) -> io::Result<()> {
        let files = Geometry::read(folder)?.map_or(0, |geometry| geometry.files);
        for index in (0..files).rev() {
            remove_file(&file_path(folder, index))?;
        }
        for name in ["cursors.0", "cursors.1", "ring.size"] {
            File::open(folder)?.sync_all()?;
            remove_file(&folder.join(name))?;
        }
        File::open(folder)?.sync_all()
    }

    /// Prepares up to a MiB more; true when all is prepared. Zeros are written because extents
    /// that were only allocated would change, and cost writes, when they are first used.
    pub fn prepare(&mut self) -> io::Result<bool> {
        if self.is_prepared() {
            return Ok(true);
        }
        let (index, at) = self.geometry.place(self.prepared);
        let file = self
            .files
            .get_mut(index)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if at == 0 {
            allocate(&file.file, self.geometry.file_bytes)?;
        }
        let left = usize::try_from(self.geometry.file_bytes - at).unwrap_or(STEP);
        let step = STEP.min(left);
        let zeros = (0..step).step_by(ZEROS.len()).map(|done| {
            let (zeros, _) = ZEROS.split_at(ZEROS.len().min(step - done));
            IoSlice::new(zeros)
        });
        let mut zeros: heapless::Vec<IoSlice<'_>, PIECES> = zeros.collect();
        write_vectored(&file.file, at, &mut zeros)?;
        self.prepared += step as u64;
        let file_done = self.prepared.is_multiple_of(self.geometry.file_bytes);
        if file_done {
            file.file.sync_all()?;
        } else if self.prepared.is_multiple_of(4 * MIB) {
            fdatasync(file.file.as_fd())?;
        }
        Ok(self.is_prepared())
    }

    /// How the run is laid over the files.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// All is prepared.
    pub fn is_prepared(&self) -> bool {
        self.prepared >= self.geometry.bytes()
    }

    /// One file's part of a vectored write.
    fn write_within(&mut self, at: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let (index, offset) = self.geometry.place(at);
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
        write_vectored(&file.file, offset, &mut slices)
    }
}

impl ReadAt for RingFiles {
    fn size(&self) -> u64 {
        self.geometry.bytes()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), FlashError> {
        read(self.geometry, at, buf, |index, at, buf| {
            let file = self.files.get(index).ok_or(io::ErrorKind::UnexpectedEof)?;
            fill(&file.file, at, buf)
        })
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

impl Prepare for RingFiles {
    fn prepare_to(&mut self, needed: u64) -> Result<(), FlashError> {
        while self.prepared < needed.min(self.geometry.bytes()) {
            let at = self.prepared;
            self.prepare()
                .map_err(|e| error(Operation::Write, at, &e))?;
        }
        Ok(())
    }
}

impl RingFiles {
    fn cursors(&self, slot: u8) -> &File {
        let [first, second] = &self.cursors;
        if slot == 0 { first } else { second }
    }
}

fn write_vectored(file: &File, mut at: u64, mut rest: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !rest.is_empty() {
        let place = i64::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        match pwritev(file.as_fd(), rest, place) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes the small file `name` so that a power cut leaves the old one or the new one, whole.
pub fn write_durably(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// The rings' files and the sockets of all cameras may need more descriptors than the usual
/// limit allows.
pub fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("the limit of open files stays as it is: {error}");
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

pub(super) fn error(operation: Operation, at: u64, e: &io::Error) -> FlashError {
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

pub(super) fn file_path(folder: &Path, index: u64) -> PathBuf {
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
        for mib in [
            16, 17, 64, 65, 100, 2048, 40_000, 65_535, 100_000, 1_000_000,
        ] {
            let bytes = mib * MIB;
            let geometry = Geometry::of(bytes);
            assert!(geometry.bytes() <= bytes);
            assert!(bytes - geometry.bytes() < geometry.files * PAGE as u64);
            assert!(geometry.file_bytes.is_multiple_of(PAGE as u64));
            assert!(geometry.file_bytes < 4096 * MIB, "vfat takes it");
            let larger = bytes > FILES_MAX * FILE_BYTES_MAX;
            assert!(geometry.files <= FILES_MAX || larger, "{geometry:?}");
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
        let reader = RingReader::open(&folder, geometry).unwrap();
        for _ in 0..2 {
            back.fill(0);
            reader.read_at(6_000, &mut back).unwrap();
            assert_eq!(back, data);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_ring_is_never_laid_out_anew_over_another() {
        let folder = folder("layout");
        let small = Geometry::of(16 * MIB);
        RingFiles::open(&folder, small).unwrap();
        let error = RingFiles::open(&folder, Geometry::of(17 * MIB)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Geometry::read(&folder).unwrap(), Some(small));
        RingFiles::remove(&folder).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        RingFiles::open(&folder, Geometry::of(17 * MIB)).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_layout_that_makes_no_sense_is_none() {
        let folder = folder("nonsense");
        for text in [
            "",
            "3",
            "0 files of 4096 bytes",
            "1 files of 0 bytes",
            "1 files of 4097 bytes",
            "9999 files of 4096 bytes",
            "1 files of 18446744073709547520 bytes",
        ] {
            std::fs::write(folder.join("ring.size"), text).unwrap();
            assert_eq!(Geometry::read(&folder).unwrap(), None, "{text}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
