//! Reading the configuration file.

use core::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::{self, FILE_BYTES_MAX, Judged, Place};
use crate::os::storage_check::{self, Storage, StorageError};

/// Why a configuration is refused. Each is one line without a secret; exit code 2.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It says something wrong.
    Wrong(config::Error),
    /// A path in it leads to something wrong.
    Storage(Place, StorageError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Wrong(error) => error.fmt(f),
            Self::Storage(place, error) => write!(f, "{place}: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads and judges the file at `path`; relative paths in it start at its folder.
///
/// # Errors
///
/// What is wrong with it; [`judge_storage`] is not asked.
pub fn load(path: &Path) -> Result<Judged, LoadError> {
    let unreadable = |error| LoadError::Unreadable(path.to_owned(), error);
    let mut text = Vec::new();
    // One byte more than allowed, so that a larger file is told as such.
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text))
        .map_err(unreadable)?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    config::read(&path.display().to_string(), &text, folder).map_err(LoadError::Wrong)
}

/// Judges what the paths of a configuration lead to: the folder of the rings, the certificates.
///
/// # Errors
///
/// The first that is wrong.
pub fn judge_storage(judged: &Judged) -> Result<Storage, LoadError> {
    let wrong = |key: &str, error| LoadError::Storage(judged.places.place(key), error);
    if let Some(path) = &judged.config.trusted_certificates_path {
        storage_check::judge_certificates(path)
            .map_err(|error| wrong("trustedCertificatesPath", error))?;
    }
    storage_check::judge_cache_folder(&judged.config.local_media_cache_path)
        .map_err(|error| wrong("localMediaCachePath", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_from_its_folder() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/board/cvr.json");
        let judged = load(Path::new(path)).unwrap();
        assert_eq!(
            judged.config.local_media_cache_path,
            Path::new("/media/data/cvr")
        );
    }

    #[test]
    fn a_file_that_is_not_there_or_no_file_is_told_with_its_name() {
        for (path, error) in [
            (
                "no-such.json",
                "no-such.json: No such file or directory (os error 2)",
            ),
            (".", ".: Is a directory (os error 21)"),
            ("/dev/zero", "/dev/zero:1: the file is larger than 1 MiB"),
        ] {
            assert_eq!(load(Path::new(path)).unwrap_err().to_string(), error);
        }
    }
}
