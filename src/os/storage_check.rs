//! What only the system can say of the paths in a configuration.

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use ureq::tls::{PemItem, parse_pem};

/// `RAMFS_MAGIC` of linux/magic.h, which nix does not name.
const RAMFS_MAGIC: FsType = FsType(0x8584_58F6_u32 as _);

/// Largest file of certificates, bytes: far more than all public roots.
const CERTIFICATES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a path of the configuration is refused.
#[derive(Debug)]
pub enum StorageError {
    /// Rings in RAM would be lost at each power cut, and fill the memory.
    RamFileSystem(PathBuf),
    /// Something that is not a folder stands there.
    NotAFolder(PathBuf),
    /// It cannot be looked at.
    Unreachable(PathBuf, io::Error),
    /// It is not PEM, or too large for it.
    NotPem(PathBuf),
    /// It has no certificate in it.
    NoCertificate(PathBuf),
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RamFileSystem(path) => write!(
                f,
                "{path:?} is on a RAM file system, perhaps because the card is not mounted; \
                 allowed is a folder on flash"
            ),
            Self::NotAFolder(path) => write!(f, "{path:?} is not a folder"),
            Self::Unreachable(path, error) => write!(f, "{path:?} cannot be reached: {error}"),
            Self::NotPem(path) => write!(f, "{path:?} is not a file of certificates in PEM"),
            Self::NoCertificate(path) => write!(f, "{path:?} has no certificate in it"),
        }
    }
}

impl std::error::Error for StorageError {}

/// The file system of the rings.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// Bytes that are free for an ordinary user.
    pub available_bytes: u64,
}

/// Judges the folder of the rings, or, where it is still to be made, the folder it will be in.
///
/// # Errors
///
/// It is on a RAM file system, is not a folder, or cannot be reached.
pub fn judge_cache_folder(folder: &Path) -> Result<Storage, StorageError> {
    let unreachable = |error| StorageError::Unreachable(folder.to_owned(), error);
    let mut existing = folder;
    let metadata = loop {
        match (fs::metadata(existing), existing.parent()) {
            (Ok(metadata), _) => break metadata,
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                existing = parent;
            }
            (Err(error), _) => return Err(unreachable(error)),
        }
    };
    if !metadata.is_dir() {
        return Err(StorageError::NotAFolder(existing.to_owned()));
    }
    let status = statfs(existing).map_err(|errno| unreachable(errno.into()))?;
    if [TMPFS_MAGIC, RAMFS_MAGIC].contains(&status.filesystem_type()) {
        return Err(StorageError::RamFileSystem(folder.to_owned()));
    }
    // Its type differs from target to target.
    let block_bytes = u64::try_from(status.optimal_transfer_size()).unwrap_or_default();
    Ok(Storage {
        available_bytes: status.blocks_available().saturating_mul(block_bytes),
    })
}

/// Bytes of the ring files that camera `name` already has in `folder`.
pub fn prepared_bytes(folder: &Path, name: &str) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join(name)) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ring."))
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Judges a file of trusted certificates.
///
/// # Errors
///
/// It cannot be read, is not PEM, or has no certificate in it.
pub fn judge_certificates(path: &Path) -> Result<(), StorageError> {
    let unreachable = |error| StorageError::Unreachable(path.to_owned(), error);
    let not_pem = || StorageError::NotPem(path.to_owned());
    let metadata = fs::metadata(path).map_err(unreachable)?;
    if !metadata.is_file() || metadata.len() > CERTIFICATES_BYTES_MAX {
        return Err(not_pem());
    }
    let mut certificates = 0;
    for item in parse_pem(&fs::read(path).map_err(unreachable)?) {
        match item.map_err(|_| not_pem())? {
            // Each certificate is a DER SEQUENCE (RFC 5280 section 4.1).
            PemItem::Certificate(certificate) if certificate.der().first() == Some(&0x30) => {
                certificates += 1;
            }
            PemItem::Certificate(_) => return Err(not_pem()),
            _ => {}
        }
    }
    if certificates == 0 {
        return Err(StorageError::NoCertificate(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own below target/, which is not a RAM file system.
    fn folder(name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/storage-check")
            .join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_folder_to_be_made_is_judged_by_the_one_it_will_be_in() {
        let folder = folder("cache");
        assert!(judge_cache_folder(&folder).unwrap().available_bytes > 0);
        assert!(judge_cache_folder(&folder.join("a/b")).is_ok());
        let file = folder.join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(
            judge_cache_folder(&file),
            Err(StorageError::NotAFolder(_))
        ));
        assert!(matches!(
            judge_cache_folder(&file.join("a")),
            Err(StorageError::Unreachable(..))
        ));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_ram_file_system_is_refused() {
        let is_ram = statfs("/dev/shm").is_ok_and(|status| status.filesystem_type() == TMPFS_MAGIC);
        if !is_ram {
            return;
        }
        let error = judge_cache_folder(Path::new("/dev/shm/cvr")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"/dev/shm/cvr\" is on a RAM file system, perhaps because the card is not mounted; \
             allowed is a folder on flash"
        );
    }

    #[test]
    fn only_ring_files_count_as_prepared() {
        let folder = folder("rings");
        fs::create_dir_all(folder.join("dock")).unwrap();
        fs::write(folder.join("dock/ring.000"), [0; 3]).unwrap();
        fs::write(folder.join("dock/ring.001"), [0; 4]).unwrap();
        fs::write(folder.join("dock/cursors.0"), [0; 100]).unwrap();
        assert_eq!(prepared_bytes(&folder, "dock"), 7);
        assert_eq!(prepared_bytes(&folder, "front-door"), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn certificates_are_pem_with_der_in_it() {
        let folder = folder("certificates");
        let path = folder.join("roots.pem");
        let pem =
            |base64| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        for (text, error) in [
            (pem("MAA="), None),
            (
                pem("MAA=") + &pem("AAAA"),
                Some("is not a file of certificates in PEM"),
            ),
            (pem("!"), Some("is not a file of certificates in PEM")),
            (String::new(), Some("has no certificate in it")),
        ] {
            fs::write(&path, &text).unwrap();
            let found = judge_certificates(&path)
                .err()
                .map(|error| error.to_string());
            assert_eq!(
                found,
                error.map(|error| format!("{path:?} {error}")),
                "{text}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            judge_certificates(&path),
            Err(StorageError::Unreachable(..))
        ));
        fs::remove_dir_all(folder).unwrap();
    }
}
