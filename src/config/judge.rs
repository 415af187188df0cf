//! Holds every value of the file against its rule.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::asset::{AssetPattern, Names};
use super::error::{Error, PatternProblem, Problem, Shown};
use super::file::{CameraEntry, File};
use super::model::{Camera, Config, LogLevel, State};
use super::not_built;
use super::places::Places;
use super::rules::{
    NAME, PATH, RING_SIZE, SEGMENT_LENGTH, SYNC_INTERVAL, name, path, ring_bytes, segment_length,
    sync_interval,
};
use super::secret::SecretString;
use crate::blob::headers::AccessTier;
use crate::blob::sas::ContainerUrl;
use crate::limits::CAMERAS_MAX;
use crate::rtsp::{CameraAddress, Credentials};
use crate::time::UtcMillis;

/// Stands for a name that is wrong or open, so that a pattern can be judged all the same.
const STAND_IN: &str = "-";

/// Judges every value of `file`; relative paths start at `folder`.
pub(super) fn judge(file: File, folder: &Path, places: &Places) -> Result<Config, Error> {
    let mut judge = Judge {
        places,
        folder,
        first: None,
    };
    let config = judge.file(file);
    match (judge.first, config) {
        (Some((_, error)), _) => Err(error),
        (None, Some(config)) => Ok(config),
        (None, None) => unreachable!("a value without a result has an error"),
    }
}

struct Judge<'a> {
    places: &'a Places,
    folder: &'a Path,
    /// The first error in the order of the file, with its rank there.
    first: Option<(usize, Error)>,
}

/// What cameras take from the top if they do not say it themselves.
struct Defaults {
    segment_length: Duration,
    /// As the file has it; [`Self::ring_bytes`] is none if it is wrong.
    ring_size: Option<String>,
    ring_bytes: Option<u64>,
    asset_pattern: Option<String>,
}

impl Judge<'_> {
    fn file(&mut self, file: File) -> Option<Config> {
        let gateway_name = self.required("gatewayName", file.gateway_name.as_deref(), name, NAME);
        let container = self.container(file.container_sas_url.as_deref());
        let certificates = self.path(
            "trustedCertificatesPath",
            file.trusted_certificates_path.as_deref(),
        );
        let upload_maximum_kbps = self.upload_maximum(file.upload_maximum_kbps);
        let cache = file.local_media_cache_path.as_deref();
        let cache = self.required("localMediaCachePath", cache, path, PATH);
        let status_path = self
            .path("statusPath", file.status_path.as_deref())
            .unwrap_or_else(|| PathBuf::from("/run/cvr/status.json"));
        let log_level = self.word("logLevel", file.log_level.as_deref(), &LogLevel::ALL);
        let sync = file.flash_sync_interval.as_deref();
        let sync = self.value("flashSyncInterval", sync, sync_interval, SYNC_INTERVAL);
        let tiers = AccessTier::ALL.map(|tier| (tier.as_str(), tier));
        let access_tier = self.word("accessTier", file.access_tier.as_deref(), &tiers);
        let length = file.segment_length.as_deref();
        let size = file.ring_size.as_deref();
        let defaults = Defaults {
            segment_length: self
                .value("segmentLength", length, segment_length, SEGMENT_LENGTH)
                .unwrap_or(Duration::from_secs(30)),
            ring_bytes: self.value("localMediaCacheMaximumSizeMiB", size, ring_bytes, RING_SIZE),
            ring_size: file.ring_size,
            asset_pattern: file.asset_name_pattern,
        };
        // Judged here too, for it may be that no camera takes it.
        let any = Names {
            gateway: STAND_IN,
            instance: STAND_IN,
            topology: None,
        };
        if let Some(pattern) = &defaults.asset_pattern {
            let pattern = AssetPattern::parse(pattern, any).map_err(Problem::Pattern);
            self.right("assetNamePattern", pattern);
        }
        let gateway = gateway_name.as_deref().unwrap_or(STAND_IN);
        let cameras = self.cameras(file.cameras, &defaults, gateway);
        Some(Config {
            gateway_name: gateway_name?,
            container: container?,
            trusted_certificates_path: certificates,
            upload_maximum_kbps,
            local_media_cache_path: self.folder.join(cache?),
            status_path,
            log_level: log_level.unwrap_or_default(),
            flash_sync_interval: sync.unwrap_or(Duration::from_secs(2)),
            access_tier,
            cameras: cameras?,
        })
    }

    fn container(&mut self, url: Option<&str>) -> Option<ContainerUrl> {
        let place = "containerSasUrl";
        let url = self.present(place, url, "the SAS URL of a container")?;
        self.right(place, ContainerUrl::parse(url).map_err(Problem::Container))
    }

    fn upload_maximum(&mut self, kbps: Option<f64>) -> u32 {
        let kbps = kbps.unwrap_or_default();
        if kbps.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&kbps) {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
            return kbps as u32;
        }
        let found = Shown::number(kbps);
        let allowed = "a whole number of kbit/s, or 0 for no limit";
        self.wrong("uploadMaximumKbps", Problem::Value { found, allowed });
        0
    }

    fn cameras(
        &mut self,
        entries: Option<Vec<CameraEntry>>,
        defaults: &Defaults,
        gateway: &str,
    ) -> Option<Vec<Camera>> {
        let entries = self.present("cameras", entries, "a list of objects, [{ ... }]")?;
        if !(1..=CAMERAS_MAX).contains(&entries.len()) {
            let found = entries.len();
            self.wrong("cameras", Problem::CameraCount { found });
            return None;
        }
        let mut names = Vec::new();
        // The first one is the gateway's own name.
        let mut assets = vec![gateway.to_lowercase()];
        let mut cameras = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let place = format!("cameras[{index}]");
            if let Some(camera) = self.camera(&place, &entry, defaults, gateway) {
                self.unique(&place, &camera, &mut names, &mut assets);
                cameras.push(camera);
            }
        }
        Some(cameras)
    }

    /// Two cameras must not share a name or an asset, nor an asset be the gateway's name.
    fn unique(
        &mut self,
        camera_place: &str,
        camera: &Camera,
        names: &mut Vec<String>,
        assets: &mut Vec<String>,
    ) {
        let name = camera.name.to_lowercase();
        // Names with a time in them are compared as if activated at one time.
        let asset = camera.asset.resolve(UtcMillis(0));
        let found = Shown::new(&asset);
        let asset = asset.to_lowercase();
        let same_name = names.iter().position(|other| *other == name);
        let same_asset = assets.iter().position(|other| *other == asset);
        let problem = match (same_name, same_asset) {
            (None, None) => None,
            (Some(other), _) => {
                let found = Shown::new(&camera.name);
                let other = format!("cameras[{other}].name");
                Some(("name", Problem::SameAs { found, other }))
            }
            (None, Some(0)) => {
                let problem = PatternProblem::IsGatewayName(found);
                Some(("assetNamePattern", Problem::Pattern(problem)))
            }
            (None, Some(other)) => {
                let other = format!("the asset of cameras[{}]", other - 1);
                Some(("assetNamePattern", Problem::SameAs { found, other }))
            }
        };
        if let Some((key, problem)) = problem {
            self.wrong(&format!("{camera_place}.{key}"), problem);
        }
        names.push(name);
        assets.push(asset);
    }

    fn camera(
        &mut self,
        camera: &str,
        entry: &CameraEntry,
        defaults: &Defaults,
        gateway: &str,
    ) -> Option<Camera> {
        let at = |key: &str| format!("{camera}.{key}");
        let name = self.required(&at("name"), entry.name.as_deref(), name, NAME);
        let (address, url_credentials) = self.address(&at("rtspUrl"), entry).unzip();
        let credentials = self.credentials(camera, entry, url_credentials.flatten());
        self.transport(&at("transport"), entry.transport.as_deref());
        let length = entry.segment_length.as_deref();
        let length = self.value(&at("segmentLength"), length, segment_length, SEGMENT_LENGTH);
        let place = at("localMediaCacheMaximumSizeMiB");
        let size = entry.ring_size.as_deref();
        let ring_bytes = match (size, &defaults.ring_size) {
            (None, Some(_)) => defaults.ring_bytes,
            _ => self.required(&place, size, ring_bytes, RING_SIZE),
        };
        let state = self.word(&at("state"), entry.state.as_deref(), &State::ALL);
        let pattern = match (&entry.asset_name_pattern, &defaults.asset_pattern) {
            (Some(pattern), _) => (at("assetNamePattern"), pattern.as_str()),
            (None, Some(pattern)) => ("assetNamePattern".to_owned(), pattern.as_str()),
            (None, None) => (at("assetNamePattern"), AssetPattern::DEFAULT),
        };
        let names = Names {
            gateway,
            instance: name.as_deref().unwrap_or(STAND_IN),
            topology: None,
        };
        let asset = AssetPattern::parse(pattern.1, names).map_err(Problem::Pattern);
        let asset = self.right(&pattern.0, asset);
        Some(Camera {
            name: name?,
            address: address?,
            credentials,
            segment_length: length.unwrap_or(defaults.segment_length),
            ring_bytes: ring_bytes?,
            asset: asset?,
            state: state.unwrap_or_default(),
        })
    }

    fn address(
        &mut self,
        place: &str,
        entry: &CameraEntry,
    ) -> Option<(CameraAddress, Option<Credentials>)> {
        let url = self.present(place, entry.rtsp_url.as_deref(), "rtsp://HOST:PORT/PATH")?;
        let parsed = CameraAddress::parse(url).map_err(Problem::Address);
        let (address, credentials) = self.right(place, parsed)?;
        if let Some(problem) = not_built::scheme(address.url().scheme()) {
            self.wrong(place, problem);
        }
        Some((address, credentials))
    }

    /// Brings the credentials of the URL and those of the keys together.
    fn credentials(
        &mut self,
        camera: &str,
        entry: &CameraEntry,
        url: Option<Credentials>,
    ) -> Option<Credentials> {
        let in_url = url.as_ref();
        let user_place = format!("{camera}.rtspUserName");
        let key = entry.rtsp_user_name.as_deref();
        let user = self.credential(&user_place, key, in_url.map(|url| &url.user));
        let place = format!("{camera}.rtspPassword");
        let key = entry.rtsp_password.as_deref();
        let password = self.credential(&place, key, in_url.map(|url| &url.password));
        if user.is_none() && password.is_some() {
            let allowed = "given where there is a password";
            self.wrong(&user_place, Problem::Missing { allowed });
        }
        Some(Credentials::new(user?, password.unwrap_or_default()))
    }

    fn credential<'a>(
        &mut self,
        place: &str,
        key: Option<&'a str>,
        url: Option<&'a SecretString>,
    ) -> Option<&'a str> {
        let url = url.map(|url| url.expose().as_str());
        let url = url.filter(|value| !value.is_empty());
        if let (Some(key), Some(url)) = (key, url)
            && key != url
        {
            self.wrong(place, Problem::CredentialsDiffer);
        }
        let value = key.or(url).filter(|value| !value.is_empty())?;
        if value.contains(char::is_control) {
            let allowed = "free of control characters";
            self.wrong(place, Problem::HiddenValue { allowed });
        }
        Some(value)
    }

    fn transport(&mut self, place: &str, transport: Option<&str>) {
        let Some(transport) = transport else { return };
        match not_built::transport(transport) {
            Some(problem) => self.wrong(place, problem),
            None => {
                self.word(place, Some(transport), &[("tcp", ())]);
            }
        }
    }

    fn path(&mut self, place: &str, text: Option<&str>) -> Option<PathBuf> {
        let path = self.value(place, text, path, PATH)?;
        Some(self.folder.join(path))
    }

    /// The value of a word, letter case ignored.
    fn word<T: Copy>(
        &mut self,
        place: &str,
        text: Option<&str>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = text?;
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        if found.is_none() {
            let allowed = words.iter().map(|(word, _)| *word).collect();
            let found = Shown::new(text);
            self.wrong(place, Problem::Word { found, allowed });
        }
        found.map(|(_, value)| *value)
    }

    /// What `parse` makes of a value that may be missing.
    fn value<T>(
        &mut self,
        place: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
        allowed: &'static str,
    ) -> Option<T> {
        let text = text?;
        let found = || Shown::new(text);
        let parsed = parse(text).ok_or_else(|| Problem::Value {
            found: found(),
            allowed,
        });
        self.right(place, parsed)
    }

    /// What `parse` makes of a value that must be there.
    fn required<T>(
        &mut self,
        place: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
        allowed: &'static str,
    ) -> Option<T> {
        let text = self.present(place, text, allowed)?;
        self.value(place, Some(text), parse, allowed)
    }

    fn present<T>(&mut self, place: &str, value: Option<T>, allowed: &'static str) -> Option<T> {
        self.right(place, value.ok_or(Problem::Missing { allowed }))
    }

    fn right<T>(&mut self, place: &str, value: Result<T, Problem>) -> Option<T> {
        value.map_err(|problem| self.wrong(place, problem)).ok()
    }

    /// Notes a problem, if none is known that stands before it in the file.
    fn wrong(&mut self, path: &str, problem: Problem) {
        let order = self.places.order(path);
        if self.first.as_ref().is_none_or(|(first, _)| order < *first) {
            let place = self.places.place(path);
            self.first = Some((order, Error { place, problem }));
        }
    }
}
