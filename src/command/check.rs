//! `cvr check CONFIG [--kbps N]`: judges the file, and says how long each ring lasts.

use core::fmt;
use core::time::Duration;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::{Command, Console, Failure, UsageError};
use crate::config::{Camera, Config, State};
use crate::limits::MIB;
use crate::os::config_file;
use crate::os::storage_check;
use crate::status::Status;
use crate::time::UtcMillis;

pub(super) const COMMAND: Command = Command {
    name: "check",
    arguments: "CONFIG [--kbps N]",
    does: "judges the file, and says how long each ring lasts at N kbit/s a camera (2128)",
    main,
};

/// 2 Mbit/s of video and 128 kbit/s of audio.
const KBPS: u64 = 2000 + 128;

/// Per cent of a full ring that is video (README, "On flash").
const VIDEO_PERCENT: u64 = 98;

/// A ring that holds fewer segments gets a warning.
const SEGMENTS_MIN: u64 = 8;

fn main(arguments: &mut Parser, console: &mut Console<'_>) -> Result<(), Failure> {
    let (mut path, mut kbps) = (None, KBPS);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("kbps") => kbps = bit_rate(&arguments.value()?)?,
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let path = path.ok_or(UsageError::MissingArgument("CONFIG"))?;
    let judged = config_file::load(&path)?;
    let storage = config_file::judge_storage(&judged)?;
    let config = &judged.config;
    let prepared = |camera: &Camera| {
        let present = storage_check::prepared_bytes(&config.local_media_cache_path, &camera.name);
        present.min(camera.ring_bytes)
    };
    let report = Report {
        config,
        kbps,
        missing_bytes: ring_bytes(config) - config.cameras.iter().map(prepared).sum::<u64>(),
        available_bytes: storage.available_bytes,
        left_behind: left_behind(config, published(config)),
        now: (console.now)(),
    };
    Ok(write!(console.out, "{report}")?)
}

/// The state of a `cvr` that runs, or ran since the gateway's start, on this computer.
fn published(config: &Config) -> Status {
    let json = fs::read(&config.status_path).unwrap_or_default();
    Status::read_json(&json).unwrap_or_default()
}

/// Rings outside the configured folder that hold unsent segments.
fn left_behind(config: &Config, status: Status) -> Vec<(PathBuf, u64)> {
    let rings = status.cameras.into_iter().map(|camera| camera.cache);
    rings
        .filter(|ring| ring.unsent_segments > 0 && !ring.folder.is_empty())
        .map(|ring| (PathBuf::from(ring.folder), ring.unsent_segments))
        .filter(|(folder, _)| folder.parent() != Some(&config.local_media_cache_path))
        .collect()
}

fn bit_rate(value: &OsStr) -> Result<u64, UsageError> {
    let kbps = value.to_str().and_then(|text| text.parse().ok());
    kbps.filter(|kbps| (1..=1_000_000).contains(kbps))
        .ok_or_else(|| {
            let allowed = "a whole number of kbit/s from 1 to 1000000";
            UsageError::value("--kbps", value, allowed)
        })
}

fn ring_bytes(config: &Config) -> u64 {
    config.cameras.iter().map(|camera| camera.ring_bytes).sum()
}

/// What is printed of a right configuration.
struct Report<'a> {
    config: &'a Config,
    /// Of each camera.
    kbps: u64,
    /// Bytes of the rings that are still to be made.
    missing_bytes: u64,
    available_bytes: u64,
    /// Rings in a former `localMediaCachePath`, and their unsent segments.
    left_behind: Vec<(PathBuf, u64)>,
    /// By the clock of this computer.
    now: UtcMillis,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        writeln!(f, "gateway    {}", config.gateway_name)?;
        writeln!(f, "container  {}", config.container)?;
        if let Some(expiry) = config.container.expiry() {
            writeln!(f, "SAS until  {expiry}")?;
        }
        writeln!(f, "cache      {}", config.local_media_cache_path.display())?;
        let (rings, missing) = (ring_bytes(config) / MIB, self.missing_bytes / MIB);
        let free = self.available_bytes / MIB;
        writeln!(
            f,
            "rings      {rings} MiB, of which {missing} MiB are to be made; {free} MiB free"
        )?;
        writeln!(f, "\nAt {} kbit/s a camera:", self.kbps)?;
        self.table(f)?;
        self.warnings(f)
    }
}

impl Report<'_> {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["camera", "state", "ring", "lasts", "segments", "asset"].map(str::to_owned);
        let rows: Vec<_> = core::iter::once(heads)
            .chain(self.config.cameras.iter().map(|camera| self.row(camera)))
            .collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            let cells = row.iter().zip(widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn row(&self, camera: &Camera) -> [String; 6] {
        let state = match camera.state {
            State::Active => "Active",
            State::Inactive => "Inactive",
        };
        let length = camera.segment_length.as_secs();
        [
            camera.name.clone(),
            state.to_owned(),
            format!("{} MiB", camera.ring_bytes / MIB),
            Length(self.lasts(camera)).to_string(),
            format!("{} of {length} s", self.segments(camera)),
            camera.asset.resolve(self.now),
        ]
    }

    /// How much video the ring holds.
    fn lasts(&self, camera: &Camera) -> Duration {
        let bits = camera.ring_bytes / 100 * VIDEO_PERCENT * 8;
        Duration::from_secs(bits / (self.kbps * 1000))
    }

    /// How many segments of full length the ring holds.
    fn segments(&self, camera: &Camera) -> u64 {
        self.lasts(camera).as_secs() / camera.segment_length.as_secs().max(1)
    }

    fn warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |camera: &&Camera| self.segments(camera) < SEGMENTS_MIN;
        for camera in self.config.cameras.iter().filter(few) {
            writeln!(
                f,
                "\nWarning: the ring of {} holds fewer than {SEGMENTS_MIN} segments; make \
                 localMediaCacheMaximumSizeMiB larger or segmentLength shorter.",
                camera.name
            )?;
        }
        if self.missing_bytes > self.available_bytes {
            let short = (self.missing_bytes - self.available_bytes).div_ceil(MIB);
            writeln!(
                f,
                "\nWarning: the rings do not fit: {short} MiB more must be free."
            )?;
        }
        for (folder, segments) in &self.left_behind {
            writeln!(
                f,
                "\nWarning: {segments} segment(s) in {} are not uploaded and stay behind; change \
                 localMediaCachePath once they are.",
                folder.display()
            )?;
        }
        for warning in self.config.container.warnings(Some(self.now)) {
            writeln!(f, "\nWarning: {warning}.")?;
        }
        Ok(())
    }
}

/// A length of time in its two largest units.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match (days, hours) {
            (0, 0) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _) => write!(f, "{hours} h {} min", minutes % 60),
            (_, _) => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config, status};

    const EXAMPLE: &str = include_str!("../../board/cvr.json");
    /// 2026-11-21T20:30:00Z
    const NOW: UtcMillis = UtcMillis(1_795_293_000_000);

    fn report(text: &str, kbps: u64, available_mib: u64) -> String {
        let judged = config::read("cvr.json", text.as_bytes(), Path::new("/")).unwrap();
        let report = Report {
            config: &judged.config,
            kbps,
            missing_bytes: ring_bytes(&judged.config),
            available_bytes: available_mib * MIB,
            left_behind: Vec::new(),
            now: NOW,
        };
        report.to_string()
    }

    #[test]
    fn the_example_has_no_warning() {
        let expected = "\
gateway    warehouse-3
container  https://account.blob.core.windows.net/recordings
SAS until  2030-01-01T00:00:00.000Z
cache      /media/data/cvr
rings      6144 MiB, of which 6144 MiB are to be made; 6144 MiB free

At 2128 kbit/s a camera:
camera        state   ring      lasts       segments     asset
front-door    Active  2048 MiB  2 h 11 min  263 of 30 s  warehouse-3-front-door
loading-dock  Active  4096 MiB  4 h 23 min  263 of 60 s  dock-20261121T203000Z
";
        assert_eq!(report(EXAMPLE, KBPS, 6144), expected);
    }

    #[test]
    fn what_will_not_do_gets_a_warning() {
        let few = "Warning: the ring of loading-dock holds fewer than 8 segments";
        let space = "Warning: the rings do not fit: 1 MiB more must be free.";
        let expired = "Warning: the SAS expired at 2026-11-2";
        let soon = "Warning: the SAS expires at 2026-11-28T20:29:00.000Z: put a new one in";
        let rights = "Warning: the SAS has neither the right to create (c) nor";
        let small = EXAMPLE.replace("\"4096\"", "\"120\"");
        let old = |expiry| EXAMPLE.replace("2030-01-01T00:00:00Z", expiry);
        for (text, available_mib, warning) in [
            (EXAMPLE, 6143, Some(space)),
            (&small, 6144, Some(few)),
            (&old("2026-11-21"), 6144, Some(expired)),
            (&old("2026-11-21T20:30Z"), 6144, Some(expired)),
            (&old("2026-11-21T20:30:00Z"), 6144, Some(expired)),
            (&old("2026-11-28T20:29Z"), 6144, Some(soon)),
            (&old("2026-11-28T20:31Z"), 6144, None),
            (&EXAMPLE.replace("sp=c", "sp=rl"), 6144, Some(rights)),
        ] {
            let report = report(text, KBPS, available_mib);
            let found = report.lines().find(|line| line.starts_with("Warning"));
            match (found, warning) {
                (Some(found), Some(warning)) => assert!(found.starts_with(warning), "{found}"),
                (found, warning) => assert_eq!(found, warning),
            }
            assert!(!report.contains("replace-by-your-own"), "{report}");
        }
    }

    #[test]
    fn unsent_video_in_a_former_folder_is_warned_of() {
        let judged = config::read("cvr.json", EXAMPLE.as_bytes(), Path::new("/")).unwrap();
        let config = &judged.config;
        let ring = |folder: &str, unsent_segments| status::Camera {
            cache: status::Cache {
                folder: folder.into(),
                unsent_segments,
                ..status::Cache::default()
            },
            ..status::Camera::default()
        };
        let cameras = vec![
            ring("/media/data/cvr/front-door", 3),
            ring("/media/old/front-door", 3),
            ring("/media/old/loading-dock", 0),
            ring("", 3),
        ];
        let status = Status {
            cameras,
            ..Status::default()
        };
        let report = Report {
            config,
            kbps: KBPS,
            missing_bytes: 0,
            available_bytes: 0,
            left_behind: left_behind(config, status),
            now: NOW,
        };
        let report = report.to_string();
        let warnings: Vec<_> = report
            .lines()
            .filter(|l| l.starts_with("Warning"))
            .collect();
        assert_eq!(
            warnings,
            [
                "Warning: 3 segment(s) in /media/old/front-door are not uploaded and stay behind; \
                 change localMediaCachePath once they are."
            ]
        );
    }

    #[test]
    fn lengths_have_two_units() {
        for (seconds, text) in [
            (0, "0 min 0 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (100 * 86_400 + 7200, "100 d 2 h"),
        ] {
            assert_eq!(Length(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
