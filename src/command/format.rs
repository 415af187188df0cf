//! `cvr format CONFIG`: makes the rings ahead of time.

use lexopt::Parser;

use super::{Command, Console, Failure};
use crate::os::config_file;
use crate::os::progress::Progress;
use crate::os::ring_files::{Geometry, RingFiles};
use crate::ring::{Flash, ReadAt};

pub(super) const COMMAND: Command = Command {
    name: "format",
    arguments: "CONFIG",
    does: "makes the rings ahead of time; run does the same where they are missing",
    main,
};

fn main(arguments: &mut Parser, console: &mut Console<'_>) -> Result<(), Failure> {
    let path = super::arguments::config_path(arguments)?;
    let judged = config_file::load(&path)?;
    config_file::judge_storage(&judged)?;
    let config = judged.config;
    let _lock = crate::os::process::lock(&config.local_media_cache_path)?;
    let mut progress = Progress::to_standard_error();
    for camera in &config.cameras {
        let folder = config.local_media_cache_path.join(&camera.name);
        let failed = |error| Failure::Ring(camera.name.clone(), error);
        // A ring that exists keeps its size and its video.
        let existing = Geometry::read(&folder).map_err(failed)?;
        let geometry = existing.unwrap_or_else(|| Geometry::of(camera.ring_bytes));
        let mut files = RingFiles::open(&folder, geometry).map_err(failed)?;
        while !files.prepare().map_err(failed)? {
            progress.preparing(&camera.name, files.prepared(), files.size());
        }
        progress.preparing(&camera.name, files.size(), files.size());
        writeln!(
            console.out,
            "{}: the ring is made, {} MiB",
            camera.name,
            files.size() >> 20
        )?;
    }
    Ok(())
}
