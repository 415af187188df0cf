//! What of the configuration each part of the gateway needs.

use crate::config::{Camera, Config, State};
use crate::os::activation::ring_bytes;
use crate::os::host_time::Host;
use crate::os::https::TrustedCertificates;
use crate::os::upload_thread::UploadSettings;
use crate::recorder::engine::RecorderConfig;
use crate::recorder::segmenter::Cutting;
use crate::rtsp::SessionConfig;

/// For the camera's engine.
pub(super) fn recorder_config(config: &Config, camera: &Camera) -> RecorderConfig {
    RecorderConfig {
        session: SessionConfig {
            address: camera.address.clone(),
            credentials: camera.credentials.clone(),
        },
        cutting: Cutting {
            segment_length: camera.segment_length,
            fragment_length: config.flash_sync_interval / 2,
            ring_bytes: ring_bytes(
                &config.local_media_cache_path.join(&camera.name),
                camera.ring_bytes,
            ),
        },
        active: camera.state == State::Active,
    }
}

/// For the upload thread.
pub(super) fn settings_of(config: &Config) -> UploadSettings {
    // It was judged when the configuration was; one that is gone since is told by TLS.
    let pem = config.trusted_certificates_path.as_ref().map(std::fs::read);
    UploadSettings {
        container: config.container.clone(),
        trusted: match pem {
            Some(pem) => TrustedCertificates::Pem(pem.unwrap_or_default()),
            None => TrustedCertificates::BuiltIn,
        },
        maximum_kbps: config.upload_maximum_kbps,
        access_tier: config.access_tier,
        gateway: config.gateway_name.clone(),
    }
}

/// For the thread that asks for the time.
pub(super) fn host_of(settings: &UploadSettings) -> Host {
    Host {
        container: settings.container.clone(),
        trusted: settings.trusted.clone(),
    }
}
