//! The published state, on a RAM disk, once a second.

use std::path::{Path, PathBuf};

use super::clock::Clock;
use super::shared::{Shared, SharedRing};
use crate::status::{Camera, STATUS_MAX, Status};
use crate::time::UtcMillis;

/// `statusPath`.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    json: Vec<u8>,
    failed: bool,
}

impl StatusFile {
    /// Nothing is written yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            json: vec![0; STATUS_MAX],
            failed: false,
        }
    }

    /// Writes the state as it is now; a reader sees the old one or the new one.
    pub fn write(&mut self, shared: &Shared, clock: &Clock) {
        let rings = shared.rings().clone();
        let status = {
            let mut status = shared.status();
            status.time = clock.utc_now().to_string();
            status.clock = clock.utc_offset().1.as_str().into();
            for ring in rings.iter().flatten() {
                if let Some(camera) = status.cameras.iter_mut().find(|c| c.name == ring.name) {
                    fill_cache(camera, ring);
                }
            }
            status.clone()
        };
        let status = with_failures(status, &rings);
        let Ok(json) = status.write_json(&mut self.json) else {
            return;
        };
        let result = replace(&self.path, json);
        if let Err(error) = &result
            && !self.failed
        {
            log::warn!("statusPath {}: {error}", self.path.display());
        }
        self.failed = result.is_err();
    }
}

/// A camera whose ring could not be opened records nothing, whatever its session does.
fn with_failures(mut status: Status, rings: &[Option<SharedRing>]) -> Status {
    for camera in &mut status.cameras {
        let open = rings.iter().flatten().any(|ring| ring.name == camera.name);
        if !open && !camera.cache.message.is_empty() && camera.state != "inactive" {
            camera.state = "failed".into();
        }
    }
    status
}

fn fill_cache(camera: &mut Camera, ring: &SharedRing) {
    let (view, cursors, cache) = (&ring.view, &ring.view.cursors, &mut camera.cache);
    cache.folder = ring.folder.display().to_string();
    cache.size_bytes = cursors.ring_size;
    cache.prepared_bytes = view.prepared;
    cache.used_bytes = view.written.saturating_sub(cursors.oldest.position);
    cache.unsent_segments = cursors.unsent_segments;
    cache.unsent_bytes = view.unsent_bytes;
    let oldest = UtcMillis::parse(&cache.oldest_unsent);
    let end = cursors.accounted.map(|point| cursors.resolve(point));
    cache.unsent_milliseconds = match (oldest, end) {
        (Some(oldest), Some(end)) => u64::try_from(end.0 - oldest.0).unwrap_or(0),
        _ => 0,
    };
}

fn replace(path: &Path, json: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, json)?;
    std::fs::rename(&new, path)
}
