//! The published state (`statusPath`), and its table for people (`cvr status`). Pure.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// The state of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Status {
    pub gateway: String,
    pub version: String,
    /// When this was written, UTC.
    pub time: String,
    /// When `cvr` started, UTC.
    pub started: String,
    /// `synchronized`, `corrected` or `unsynchronized`.
    pub clock: String,
    /// What an operator must know of the configuration; empty if there is nothing.
    pub message: String,
    pub upload: Upload,
    pub cameras: Vec<Camera>,
}

/// The way to the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Upload {
    /// `idle`, `uploading`, `waiting` (trying again) or `refused` (needs a person).
    pub state: String,
    pub message: String,
    /// Without its SAS.
    pub container: String,
    /// Since `cvr` started.
    pub segments: u64,
    pub bytes: u64,
    /// Blob on its way, and how far.
    pub blob: String,
    pub sent_bytes: u64,
    pub total_bytes: u64,
}

/// One camera, or a ring whose camera has left the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Camera {
    pub name: String,
    pub asset: String,
    /// `inactive`, `connecting`, `waiting`, `recording` or `failed`.
    pub state: String,
    pub message: String,
    pub video: String,
    pub audio: String,
    pub received: Received,
    /// Since `cvr` started.
    pub recorded: Amount,
    pub cache: Cache,
    /// Since `cvr` started.
    pub uploaded: Amount,
    pub evicted: Evicted,
    /// Blobs that Blob storage refuses for themselves; tried again daily and on SIGHUP.
    pub set_aside: Vec<String>,
    /// The latest gaps, oldest first.
    pub gaps: Vec<StatusGap>,
}

/// Gaps kept in the state.
const GAPS_SHOWN: usize = 16;

impl Camera {
    /// Shows one more gap.
    pub fn add_gap(&mut self, start: UtcMillis, end: UtcMillis, cause: &str) {
        if self.gaps.len() >= GAPS_SHOWN {
            self.gaps.remove(0);
        }
        let (start, end) = (start.to_string(), end.to_string());
        self.gaps.push(StatusGap {
            start,
            end,
            cause: cause.into(),
        });
    }
}

/// What came from the camera since `cvr` started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Received {
    pub bytes: u64,
    pub packets: u64,
    pub lost_packets: u64,
    pub reconnects: u64,
}

/// Video, in three measures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Amount {
    pub segments: u64,
    pub milliseconds: u64,
    pub bytes: u64,
}

/// The camera's ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Cache {
    /// Its folder.
    pub folder: String,
    pub size_bytes: u64,
    pub prepared_bytes: u64,
    pub used_bytes: u64,
    pub unsent_segments: u64,
    pub unsent_bytes: u64,
    pub unsent_milliseconds: u64,
    /// What is wrong with the card; empty if nothing is.
    pub message: String,
    /// Start of the oldest segment not in the container, UTC; empty if all are.
    pub oldest_unsent: String,
}

/// What had to make room before it was in the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Evicted {
    pub unsent_segments: u64,
}

/// Missing video.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StatusGap {
    pub start: String,
    pub end: String,
    pub cause: String,
}

/// The state could not be read or written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStatus;

/// Most bytes of the published state.
pub const STATUS_MAX: usize = 256 * 1024;

impl Status {
    /// As JSON, into `out`.
    pub fn write_json<'a>(&self, out: &'a mut [u8]) -> Result<&'a [u8], BadStatus> {
        let len = serde_json_core::to_slice(self, out).map_err(|_| BadStatus)?;
        out.get(..len).ok_or(BadStatus)
    }

    /// From the JSON that [`Status::write_json`] wrote.
    pub fn read_json(json: &[u8]) -> Result<Self, BadStatus> {
        let mut unescaped = vec![0; json.len()];
        serde_json_core::from_slice_escaped(json, &mut unescaped)
            .map(|(status, _)| status)
            .map_err(|_| BadStatus)
    }

    /// The state as a table, a line a camera and what is wrong under it.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} at {}, clock {}\ncontainer {}: {}{}\n",
            self.gateway,
            self.time,
            self.clock,
            self.upload.container,
            self.upload.state,
            after(&self.upload.message),
        );
        if !self.message.is_empty() {
            text += &format!("attention: {}\n", self.message);
        }
        text += &format!(
            "\n{:<24} {:<11} {:>11} {:>17} {:>18} {:>11}\n",
            "camera", "state", "recorded", "ring used", "waiting to upload", "uploaded"
        );
        for camera in &self.cameras {
            let cache = &camera.cache;
            text += &format!(
                "{:<24} {:<11} {:>11} {:>17} {:>18} {:>11}\n",
                camera.name,
                camera.state,
                length(camera.recorded.milliseconds),
                format!("{} of {}", mib(cache.used_bytes), mib(cache.size_bytes)),
                format!(
                    "{} ({})",
                    length(cache.unsent_milliseconds),
                    cache.unsent_segments
                ),
                length(camera.uploaded.milliseconds),
            );
            for message in [&camera.message, &cache.message] {
                if !message.is_empty() {
                    text += &format!("    {message}\n");
                }
            }
            for blob in &camera.set_aside {
                text += &format!("    refused by Blob storage, set aside: {blob}\n");
            }
        }
        text
    }
}

fn after(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / crate::limits::MIB)
}

/// Hours, minutes and seconds.
pub fn length(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let camera = Camera {
            name: "front-door".into(),
            state: "recording".into(),
            message: "a \"quoted\"\nline \\ with ü".into(),
            recorded: Amount {
                segments: 3,
                milliseconds: 3_723_000,
                bytes: 9,
            },
            set_aside: vec!["a/b.mp4".into()],
            gaps: vec![StatusGap {
                start: "a".into(),
                end: "b".into(),
                cause: "c".into(),
            }],
            ..Camera::default()
        };
        Status {
            gateway: "warehouse-3".into(),
            cameras: vec![camera],
            ..Status::default()
        }
    }

    #[test]
    fn the_state_is_read_back_as_written() {
        let mut buffer = vec![0; STATUS_MAX];
        let json = status().write_json(&mut buffer).unwrap();
        assert_eq!(Status::read_json(json), Ok(status()));
        assert_eq!(Status::read_json(b"{\"gateway\": 3}"), Err(BadStatus));
    }

    #[test]
    fn the_table_has_a_line_a_camera() {
        let table = status().table();
        let line = table
            .lines()
            .find(|line| line.starts_with("front-door"))
            .unwrap();
        assert!(
            line.contains("recording") && line.contains("1 h 02 min"),
            "{line}"
        );
        assert!(table.ends_with("\n    refused by Blob storage, set aside: a/b.mp4\n"));
        assert_eq!(length(59_999), "59 s");
        assert_eq!(length(61_000), "1 min 01 s");
    }
}
