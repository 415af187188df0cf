//! What a right configuration says.

use core::time::Duration;
use std::path::PathBuf;

use super::asset::AssetPattern;
use crate::blob::headers::AccessTier;
use crate::blob::sas::ContainerUrl;
use crate::rtsp::{CameraAddress, Credentials};

/// A judged configuration: every value holds its rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// 1 to 32 letters, digits and inner dashes.
    pub gateway_name: String,
    /// Where the segments go.
    pub container: ContainerUrl,
    /// PEM file that replaces the built-in roots for the container.
    pub trusted_certificates_path: Option<PathBuf>,
    /// Cap on upload speed, kbit/s; 0 is none.
    pub upload_maximum_kbps: u32,
    /// Folder of the rings.
    pub local_media_cache_path: PathBuf,
    /// Where the state is published.
    pub status_path: PathBuf,
    /// What the log tells.
    pub log_level: LogLevel,
    /// 1 s to 1 min: how much video a power cut may cost.
    pub flash_sync_interval: Duration,
    /// `x-ms-access-tier` of each Put Blob; the account's if none.
    pub access_tier: Option<AccessTier>,
    /// 1 to `limits::CAMERAS_MAX`, in the order of the file.
    pub cameras: Vec<Camera>,
}

/// One camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// As a gateway name; unique among the cameras, letter case ignored.
    pub name: String,
    /// Where it is, without credentials.
    pub address: CameraAddress,
    /// From the URL or from their own keys.
    pub credentials: Option<Credentials>,
    /// 30 s to 5 min in steps of 30 s.
    pub segment_length: Duration,
    /// Size of its ring, bytes; a whole number of MiB.
    pub ring_bytes: u64,
    /// Its asset; resolved at activation.
    pub asset: AssetPattern,
    /// Whether it records.
    pub state: State,
}

/// `state` of a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It records.
    #[default]
    Active,
    /// It does not; what is in its ring is still uploaded.
    Inactive,
}

impl State {
    pub(super) const ALL: [(&'static str, Self); 2] =
        [("Active", Self::Active), ("Inactive", Self::Inactive)];
}

/// `logLevel`, in LVA's words. Each level tells those after it, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Verbose,
    #[default]
    Information,
    Warning,
    Error,
    None,
}

impl LogLevel {
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("Verbose", Self::Verbose),
        ("Information", Self::Information),
        ("Warning", Self::Warning),
        ("Error", Self::Error),
        ("None", Self::None),
    ];
}
