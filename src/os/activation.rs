//! What a camera's ring is made as: its layout, and the names its segments carry.

use std::path::Path;

use super::clock::utc_now;
use super::ring_files::Geometry;
use crate::config::Camera;
use crate::ring::record::Names;

/// The layout of a camera's ring.
pub fn geometry_of(ring_bytes: u64) -> Geometry {
    Geometry::of(ring_bytes)
}

/// The names that the camera's segments carry. Time variables of its asset are resolved once, at
/// activation, and kept beside the ring.
pub fn names_of(gateway: &str, camera: &Camera, folder: &Path) -> Names {
    let mut asset = camera.asset.resolve(utc_now());
    if camera.asset.has_time() {
        let kept = folder.join("asset");
        match std::fs::read_to_string(&kept) {
            Ok(before) => asset = before,
            Err(_) => {
                let written =
                    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&kept, &asset));
                if let Err(error) = written {
                    log::warn!("{}: {}: {error}", camera.name, kept.display());
                }
            }
        }
    }
    names(gateway, &camera.name, &asset)
}

/// Rings in `folder` that are none of `known`.
pub fn former_rings(folder: &Path, known: &[String]) -> Vec<(String, Names, Geometry)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let names_there = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut former: Vec<_> = names_there
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            let geometry = Geometry::read(&folder.join(&name)).ok().flatten()?;
            Some((name.clone(), names("", &name, ""), geometry))
        })
        .collect();
    former.sort_by(|(a, ..), (b, ..)| a.cmp(b));
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
