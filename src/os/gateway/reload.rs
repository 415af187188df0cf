//! SIGHUP: a changed configuration, camera by camera.

use super::settings::{host_of, recorder_config, settings_of};
use super::{FAREWELL, Gateway};
use crate::config::Config;
use crate::gap::Cause;
use crate::os::config_file::{self, LoadError};
use crate::os::event_loop::Control;
use crate::os::flash_thread::FlashMessage;
use crate::os::logger;

use smol::{Timer, future};

impl Gateway<'_, '_> {
    /// SIGHUP: reads the configuration again. A wrong one changes nothing.
    pub(super) async fn reload(&mut self) {
        let path = self.path.to_owned();
        // The card may take its time, and other cameras send meanwhile.
        let loaded = smol::unblock(move || {
            let judged = config_file::load(&path)?;
            config_file::judge_storage(&judged)?;
            Ok::<_, LoadError>((settings_of(&judged.config), judged.config))
        });
        let loaded = loaded.await;
        let (settings, new) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                log::error!("{error}; recording goes on with the configuration before");
                self.shared.status().message = error.to_string();
                return;
            }
        };
        let message = self.needs_restart(&new);
        if !message.is_empty() {
            log::warn!("{message}");
        }
        self.shared.status().message = message;
        let old = core::mem::replace(&mut self.config, new);
        // What only a restart can change stays as it was.
        self.config.gateway_name = old.gateway_name;
        self.config.local_media_cache_path = old.local_media_cache_path;
        self.config.status_path = old.status_path;
        logger::set_level(self.config.log_level);
        self.tell_flash(FlashMessage::SyncInterval(self.config.flash_sync_interval));
        self.shared.status().upload.container = self.config.container.to_string();
        let _ = self.host.send(host_of(&settings));
        let _ = self.uploads.send(settings);
        // A Put to where nothing more is to be sent would hold up the next.
        if old.container != self.config.container
            || old.trusted_certificates_path != self.config.trusted_certificates_path
        {
            self.shared.cancel_put();
        }
        self.shared.ring_bell();
        self.apply_cameras().await;
        log::info!("the configuration was read again");
    }

    /// Stops, changes and starts cameras; an unchanged one notices nothing.
    async fn apply_cameras(&mut self) {
        let wanted = self.config.cameras.clone();
        let mut gone = Vec::new();
        for running in core::mem::take(&mut self.running) {
            if wanted
                .iter()
                .any(|camera| camera.name == running.camera.name)
            {
                self.running.push(running);
            } else {
                gone.push(running);
            }
        }
        for running in gone {
            log::info!("{}: left the configuration", running.camera.name);
            let stop = Control::Stop(Some(Cause::Inactive));
            let _ = running.control.send(stop).await;
            // A camera that does not take its farewell must not hold up the signals.
            let mut task = running.task;
            let ended = async {
                (&mut task).await;
                true
            };
            let late = async {
                Timer::after(FAREWELL).await;
                false
            };
            if !future::or(ended, late).await {
                task.detach();
            }
            let name = &running.camera.name;
            self.shared
                .change_camera(name, |camera| camera.state = "inactive".into());
            if let Some(ring) = self.rings.iter().position(|ring| ring == name) {
                self.tell_flash(FlashMessage::Former(ring));
            }
        }
        for camera in wanted {
            let config = recorder_config(&self.config, &camera);
            match self
                .running
                .iter_mut()
                .find(|running| running.camera.name == camera.name)
            {
                Some(running) => {
                    let _ = running
                        .control
                        .send(Control::Reconfigure(Box::new(config)))
                        .await;
                    running.camera = camera;
                }
                None => self.start(camera),
            }
        }
    }

    /// What of a new configuration needs a restart; empty if nothing does.
    fn needs_restart(&self, new: &Config) -> String {
        let old = &self.config;
        let top = [
            ("gatewayName", old.gateway_name != new.gateway_name),
            (
                "localMediaCachePath",
                old.local_media_cache_path != new.local_media_cache_path,
            ),
            ("statusPath", old.status_path != new.status_path),
        ];
        let mut keys: Vec<String> = top
            .iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| (*key).to_owned())
            .collect();
        for camera in &new.cameras {
            let running = self
                .running
                .iter()
                .find(|running| running.camera.name == camera.name);
            let Some((ring_bytes, asset)) = running.map(|running| &running.activated) else {
                continue;
            };
            if *ring_bytes != camera.ring_bytes {
                keys.push(format!("{}: localMediaCacheMaximumSizeMiB", camera.name));
            }
            if *asset != camera.asset {
                keys.push(format!("{}: assetNamePattern", camera.name));
            }
        }
        if keys.is_empty() {
            return String::new();
        }
        format!("takes effect at the next start of cvr: {}", keys.join(", "))
    }
}
