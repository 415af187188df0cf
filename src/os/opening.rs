//! Opens the rings: what is there wins over what is configured.

use core::fmt;
use std::io;
use std::path::PathBuf;

use nix::libc::ENOSPC;

use super::clock::{Clock, machine_boot_id};
use super::progress::Progress;
use super::ring_files::{Geometry, RingFiles};
use crate::limits::MIB;
use crate::ring::record::Names;
use crate::ring::{FlashError, Recovered, Ring, RingError, RingSetup, Source};

/// A ring to open.
#[derive(Clone, Debug)]
pub struct RingSpec {
    /// What its segments are recorded as.
    pub names: Names,
    /// Its folder.
    pub folder: PathBuf,
    /// The layout that the configuration asks for; `None`: its camera has left it.
    pub wanted: Option<Geometry>,
}

/// An open ring.
#[derive(Debug)]
pub struct Opened {
    /// The ring.
    pub ring: Ring<RingFiles>,
    /// What the state says while nothing else is to be said.
    pub message: String,
}

impl RingSpec {
    /// Opens the ring, or makes it.
    ///
    /// A ring of another size than wanted is made anew if nothing unsent is left in it; else it
    /// stays as it is.
    pub fn open(&self, clock: Clock, progress: &mut Progress) -> Result<Opened, OpenError> {
        let name = self.names.camera.as_str();
        let existing = Geometry::read(&self.folder)?;
        let geometry = existing.or(self.wanted).ok_or(io::ErrorKind::NotFound)?;
        let files = RingFiles::open(&self.folder, geometry)?;
        let (offset, quality) = clock.utc_offset();
        let setup = RingSetup {
            names: self.names.clone(),
            offset,
            clock: quality,
            machine: machine_boot_id(),
            identity: getrandom::u32()?,
            nonce: getrandom::u32()?,
        };
        let (ring, recovered) =
            Ring::open(files, setup, &mut |step| progress.recovery(name, step))?;
        tell_recovered(name, &recovered);
        let (is, message) = (geometry.bytes() / MIB, String::new());
        let Some(wanted) = self.wanted.filter(|wanted| !wanted.same_size(geometry)) else {
            return Ok(Opened { ring, message });
        };
        let size = wanted.bytes() / MIB;
        if unsent(&ring) {
            let message = format!(
                "the ring keeps its {is} MiB: {size} MiB take effect at a start of cvr with \
                 nothing left to upload in it"
            );
            log::warn!("{name}: {message}");
            return Ok(Opened { ring, message });
        }
        RingFiles::remove(&self.folder)?;
        let files = RingFiles::open(&self.folder, wanted)?;
        let ring = ring.remade(files, getrandom::u32()?)?;
        log::info!(
            "{name}: all of the ring of {is} MiB is uploaded; it is made anew with {size} MiB"
        );
        Ok(Opened { ring, message })
    }
}

/// Something in the ring is not in the container.
pub fn unsent(ring: &Ring<RingFiles>) -> bool {
    let cursors = ring.cursors();
    ring.open_place().is_some() || cursors.upload != cursors.write || !cursors.set_aside.is_empty()
}

/// A ring could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Its folder or its files.
    Io(io::Error),
    /// What is in them.
    Ring(RingError),
    /// The system has no random numbers.
    Random(getrandom::Error),
}

impl OpenError {
    /// The file system is full.
    pub fn lacks_room(&self) -> bool {
        match self {
            Self::Io(error) => error.raw_os_error() == Some(ENOSPC),
            Self::Ring(error) => {
                matches!(error, RingError::Flash(FlashError { code: ENOSPC, .. }))
            }
            Self::Random(_) => false,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<io::ErrorKind> for OpenError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl From<RingError> for OpenError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl From<getrandom::Error> for OpenError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// What was found of the run before this one.
fn tell_recovered(name: &str, recovered: &Recovered) {
    match (recovered.source, recovered.restart) {
        (Source::New, _) => log::info!("{name}: a new ring"),
        (Source::Records, _) => log::warn!("{name}: both cursors were lost; the ring was searched"),
        (Source::First | Source::Second, None) => log::info!("{name}: the ring is empty"),
        (Source::First | Source::Second, Some(cause)) => {
            log::info!(
                "{name}: the ring goes on after a restart ({})",
                cause.as_str()
            );
        }
    }
    if let Some(cut) = &recovered.cut {
        let sequence = cut.place.sequence;
        log::info!("{name}: segment {sequence} was open, and ends after its last whole fragment");
        if cut.damaged {
            log::warn!("{name}: segment {sequence} is damaged in its middle");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::limits::PAGE;
    use crate::media::Tracks;
    use crate::segment::{Holes, SegmentEnd, SegmentStart};
    use crate::time::Ticks;

    fn spec(folder: &Path, wanted: Option<Geometry>) -> RingSpec {
        RingSpec {
            names: Names::default(),
            folder: folder.to_owned(),
            wanted,
        }
    }

    fn open(folder: &Path, pages: u64) -> Opened {
        let file_bytes = pages * PAGE as u64;
        let wanted = Geometry {
            files: 1,
            file_bytes,
        };
        let opened =
            spec(folder, Some(wanted)).open(Clock::start(), &mut Progress::to_standard_error());
        let mut opened = opened.unwrap();
        while !opened.ring.flash_mut().prepare().unwrap() {}
        opened
    }

    /// Seals a segment of one fragment of no samples.
    pub(in crate::os) fn record(ring: &mut Ring<RingFiles>) {
        let start = SegmentStart {
            start: Ticks(90_000),
            holes: Holes::new(),
            continues: false,
            tracks: Tracks::default(),
        };
        ring.begin(&start, &[9; 700], &mut |_| {}).unwrap();
        let fragment = [&[0, 0, 0, 8][..], b"moof", &[0, 0, 0, 8], b"mdat"];
        ring.append(&Default::default(), &fragment, true, &mut |_| {})
            .unwrap();
        ring.seal(&SegmentEnd {
            end: Ticks(180_000),
        })
        .unwrap();
    }

    #[test]
    fn another_size_waits_until_nothing_unsent_is_left() {
        const PAGES: u64 = 512;
        let folder = std::env::temp_dir().join(format!("cvr-opening-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let bytes = |opened: &Opened| opened.ring.view().cursors.ring_size / PAGE as u64;
        let mut opened = open(&folder, PAGES);
        record(&mut opened.ring);
        drop(opened);
        let mut opened = open(&folder, 2 * PAGES);
        assert_eq!(bytes(&opened), PAGES);
        assert!(
            opened
                .message
                .contains("keeps its 2 MiB: 4 MiB take effect"),
            "{}",
            opened.message
        );
        opened.ring.give_up(0).unwrap();
        drop(opened);
        let opened = open(&folder, 2 * PAGES);
        assert_eq!((bytes(&opened), opened.message.as_str()), (2 * PAGES, ""));
        assert_eq!(opened.ring.view().cursors.boots.len(), 3);
        drop(opened);
        let former = spec(&folder, None).open(Clock::start(), &mut Progress::to_standard_error());
        assert_eq!(bytes(&former.unwrap()), 2 * PAGES);
        std::fs::remove_dir_all(&folder).unwrap();
        let none = spec(&folder, None).open(Clock::start(), &mut Progress::to_standard_error());
        assert!(matches!(none, Err(OpenError::Io(_))));
    }
}
