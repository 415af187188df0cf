//! What a camera's ring is made as: its layout, and the names its segments carry.

use std::io;
use std::path::Path;

use super::clock::utc_now;
use super::ring_files::{Geometry, RingFiles, write_durably};
use crate::config::{AssetPattern, Camera};
use crate::ring::record::Names;
use crate::time::UtcMillis;

/// The file beside a ring that keeps its camera's asset.
const ASSET: &str = "asset";

/// The size by which segments of the ring in `folder` are cut, where `configured` is wanted: the
/// smaller one while another size waits for the ring to be sent.
pub fn ring_bytes(folder: &Path, configured: u64) -> u64 {
    let existing = Geometry::read(folder).ok().flatten();
    existing.map_or(configured, |existing| existing.bytes().min(configured))
}

/// The names that the camera's segments carry. Time variables of its asset are resolved once, at
/// activation, and kept beside the ring until the pattern is another.
pub fn names_of(gateway: &str, camera: &Camera, folder: &Path) -> Names {
    let asset = if camera.asset.has_time() {
        kept_asset(&camera.asset, folder, utc_now()).unwrap_or_else(|error| {
            log::warn!("{}: {}: {error}", camera.name, folder.display());
            camera.asset.resolve(utc_now())
        })
    } else {
        camera.asset.resolve(utc_now())
    };
    names(gateway, &camera.name, &asset)
}

/// The asset that was resolved for this pattern before, or one of `now`, kept from here on: two
/// lines, the pattern as of 1970 and the asset.
fn kept_asset(pattern: &AssetPattern, folder: &Path, now: UtcMillis) -> io::Result<String> {
    let key = pattern.resolve(UtcMillis(0));
    if let Ok(text) = std::fs::read_to_string(folder.join(ASSET))
        && let Some((kept_key, asset)) = text.trim_end().split_once('\n')
        && kept_key == key
        && !asset.is_empty()
    {
        return Ok(asset.to_owned());
    }
    let asset = pattern.resolve(now);
    std::fs::create_dir_all(folder)?;
    write_durably(folder, ASSET, format!("{key}\n{asset}\n").as_bytes())?;
    Ok(asset)
}

/// Removes a former camera's ring and its folder.
pub fn remove_ring(folder: &Path) -> io::Result<()> {
    RingFiles::remove(folder)?;
    match std::fs::remove_file(folder.join(ASSET)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::fs::remove_dir(folder)
}

/// Rings in `folder` that are none of `known`.
pub fn former_rings(folder: &Path, known: &[String]) -> Vec<(String, Names)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let names_there = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut former: Vec<_> = names_there
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            Geometry::read(&folder.join(&name)).ok().flatten()?;
            Some((name.clone(), names("", &name, "")))
        })
        .collect();
    former.sort_by(|(a, _), (b, _)| a.cmp(b));
    former.truncate(crate::limits::RINGS_MAX.saturating_sub(known.len()));
    former
}

/// The configuration has judged the lengths.
fn names(gateway: &str, camera: &str, asset: &str) -> Names {
    Names {
        gateway: gateway.try_into().unwrap_or_default(),
        camera: camera.try_into().unwrap_or_default(),
        asset: asset.try_into().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;
    use crate::limits::MIB;

    const EXAMPLE: &str = include_str!("../../board/cvr.json");
    const EARLIER: UtcMillis = UtcMillis(1_795_293_000_000);
    const LATER: UtcMillis = UtcMillis(1_795_300_000_000);

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("cvr-activation-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    /// The pattern of the example's second camera, which has a time in it.
    fn pattern(prefix: &str) -> AssetPattern {
        let text = EXAMPLE.replace("\"dock-", &format!("\"{prefix}-"));
        let judged = config::read("cvr.json", text.as_bytes(), Path::new("/")).unwrap();
        let camera = judged.config.cameras.last().unwrap();
        assert!(camera.asset.has_time());
        camera.asset.clone()
    }

    #[test]
    fn an_asset_with_a_time_is_kept_until_its_pattern_changes() {
        let folder = folder("asset");
        let (dock, gate) = (pattern("dock"), pattern("gate"));
        let first = kept_asset(&dock, &folder, EARLIER).unwrap();
        assert_eq!(first, "dock-20261121T203000Z");
        assert_eq!(kept_asset(&dock, &folder, LATER).unwrap(), first);
        let other = kept_asset(&gate, &folder, LATER).unwrap();
        assert_eq!(other, gate.resolve(LATER));
        assert_eq!(kept_asset(&gate, &folder, EARLIER).unwrap(), other);
        // What a power cut may leave of a file that was not written durably.
        let key = gate.resolve(UtcMillis(0));
        for left in [String::new(), key.clone(), key + "\n", "\n\n".into()] {
            std::fs::write(folder.join(ASSET), left).unwrap();
            let asset = kept_asset(&gate, &folder, EARLIER).unwrap();
            assert_eq!(asset, gate.resolve(EARLIER));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_smaller_of_two_sizes_cuts_the_segments() {
        let folder = folder("size");
        assert_eq!(ring_bytes(&folder, 20 * MIB), 20 * MIB);
        RingFiles::open(&folder, Geometry::of(32 * MIB)).unwrap();
        assert_eq!(ring_bytes(&folder, 20 * MIB), 20 * MIB);
        assert_eq!(ring_bytes(&folder, 64 * MIB), 32 * MIB);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn former_rings_are_found_and_removed() {
        let folder = folder("former");
        for name in ["yard", "gate", "front-door"] {
            RingFiles::open(&folder.join(name), Geometry::of(16 * MIB)).unwrap();
        }
        std::fs::create_dir_all(folder.join("lost+found")).unwrap();
        let former = || -> Vec<String> {
            let rings = former_rings(&folder, &["front-door".to_owned()]);
            rings.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(former(), ["gate", "yard"]);
        remove_ring(&folder.join("gate")).unwrap();
        assert_eq!(former(), ["yard"]);
        assert!(!folder.join("gate").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
