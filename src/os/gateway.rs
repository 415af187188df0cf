//! `cvr run`: starts the threads and the cameras, applies a changed configuration, and stops.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel as unbounded, sync_channel};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use smol::{Async, LocalExecutor, Task, Timer, channel, future};

use super::activation::{names_of, ring_bytes};
use super::clock::Clock;
use super::config_file;
use super::event_loop::{CameraTask, Control, Loop};
use super::flash_thread::{FlashHandle, FlashMessage, FlashThread};
use super::https::TrustedCertificates;
use super::logger;
use super::opening::RingSpec;
use super::report::CameraReport;
use super::ring_files::Geometry;
use super::shared::{RingId, Shared};
use super::status_file::StatusFile;
use super::upload_thread::{UploadSettings, UploadThread};
use crate::config::{Camera, Config, State};
use crate::gap::Cause;
use crate::limits::FRAGMENTS_IN_FLIGHT;
use crate::recorder::engine::{Recorder, RecorderConfig};
use crate::recorder::segmenter::Cutting;
use crate::rtsp::SessionConfig;
use crate::status;

/// Why `cvr run` ends without success.
#[derive(Debug)]
pub enum RunError {
    /// Another `cvr run` uses the rings.
    InUse(PathBuf),
    /// The system refuses something that is needed.
    System(&'static str, io::Error),
}

impl core::fmt::Display for RunError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::InUse(folder) => write!(
                f,
                "another cvr run uses the rings in {}: stop it first",
                folder.display()
            ),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// A camera whose task runs.
struct Running {
    camera: Camera,
    control: channel::Sender<Control>,
    task: Task<()>,
}

/// Everything that runs.
struct Gateway<'e, 'a> {
    path: &'e Path,
    config: Config,
    clock: Clock,
    shared: Arc<Shared>,
    flash: SyncSender<FlashMessage>,
    uploads: Sender<UploadSettings>,
    executor: &'e LocalExecutor<'a>,
    common: &'a Loop,
    /// Cameras and former cameras; the index is the ring's identifier.
    rings: Vec<String>,
    running: Vec<Running>,
}

/// The queue takes every fragment there is, with its end, and what cameras tell besides.
const QUEUE: usize = 3 * FRAGMENTS_IN_FLIGHT;

/// Address space of a thread's stack; what is not used costs nothing.
const STACK: usize = 1024 * 1024;

/// The camera's farewell may take so long when `cvr` stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// The card may take so long when `cvr` stops: with the farewell less than the 5 s allowed.
const CLOSING: Duration = Duration::from_millis(3500);

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path, config: Config) -> Result<(), RunError> {
    let signals = block_signals().map_err(|e| RunError::System("signals", e.into()))?;
    logger::init(config.log_level, super::clock::utc_now);
    let _lock = lock(&config.local_media_cache_path)?;
    let clock = Clock::start();
    let shared = Arc::new(Shared::default());
    let (flash, inbox) = sync_channel(QUEUE);
    let (returned, back) = sync_channel(FRAGMENTS_IN_FLIGHT);
    let thread = FlashThread::new(
        clock,
        Arc::clone(&shared),
        inbox,
        returned,
        config.flash_sync_interval,
    );
    spawn("flash", move || thread.run())?;
    let (uploads, changes) = unbounded();
    let upload = UploadThread::new(
        clock,
        Arc::clone(&shared),
        FlashHandle(flash.clone()),
        settings_of(&config),
        changes,
        seed(),
    )
    .map_err(|e| RunError::System("trustedCertificatesPath", io::Error::other(e)))?;
    spawn("upload", move || upload.run())?;
    let common = Loop::new(clock, flash.clone(), back);
    let executor = LocalExecutor::new();
    let mut gateway = Gateway {
        path,
        clock,
        shared,
        flash,
        uploads,
        executor: &executor,
        common: &common,
        rings: Vec::new(),
        running: Vec::new(),
        config,
    };
    future::block_on(executor.run(gateway.main(signals)))
}

impl Gateway<'_, '_> {
    async fn main(&mut self, signals: Async<SignalFd>) -> Result<(), RunError> {
        self.begin_status();
        for camera in self.config.cameras.clone() {
            self.start(camera);
        }
        self.open_former_rings();
        log::info!(
            "gateway {} records {} camera(s) to {}",
            self.config.gateway_name,
            self.config.cameras.len(),
            self.config.container,
        );
        let mut file = StatusFile::new(self.config.status_path.clone());
        let mut tick = Timer::interval(Duration::from_secs(1));
        loop {
            let signal = async {
                let readable = signals.readable().await;
                readable
                    .ok()
                    .and_then(|()| signals.get_ref().read_signal().ok().flatten())
            };
            let time = async {
                smol::stream::StreamExt::next(&mut tick).await;
                None
            };
            match future::or(signal, time).await.map(|info| info.ssi_signo) {
                None => file.write(&self.shared, &self.clock),
                Some(number) if number == Signal::SIGHUP as u32 => self.reload().await,
                Some(_) => break,
            }
        }
        self.stop().await;
        file.write(&self.shared, &self.clock);
        Ok(())
    }

    fn begin_status(&self) {
        let mut status = self.shared.status();
        status.gateway.clone_from(&self.config.gateway_name);
        status.version = env!("CARGO_PKG_VERSION").into();
        status.started = super::clock::utc_now().to_string();
        status.upload.state = "idle".into();
        status.upload.container = self.config.container.to_string();
    }

    /// Opens the camera's ring and starts its task.
    fn start(&mut self, camera: Camera) {
        let folder = self.config.local_media_cache_path.join(&camera.name);
        let names = names_of(&self.config.gateway_name, &camera, &folder);
        let shown = status::Camera {
            name: camera.name.clone(),
            asset: names.asset.as_str().to_owned(),
            state: if camera.state == State::Active {
                "connecting"
            } else {
                "inactive"
            }
            .into(),
            ..status::Camera::default()
        };
        self.show(shown);
        let known = self.rings.iter().position(|name| *name == camera.name);
        let ring = known.unwrap_or(self.rings.len());
        if known.is_none() {
            self.rings.push(camera.name.clone());
        }
        let spec = RingSpec {
            names,
            folder,
            wanted: Some(Geometry::of(camera.ring_bytes)),
        };
        self.tell_flash(FlashMessage::Open(ring, Box::new(spec)));
        let (control, told) = channel::bounded(4);
        let recorder = Recorder::new(
            recorder_config(&self.config, &camera),
            Rc::clone(&self.common.pool),
            self.clock.now(),
            Cause::Restarted,
            seed(),
        );
        let report = CameraReport::new(camera.name.clone(), Arc::clone(&self.shared));
        let task = CameraTask::new(ring, recorder, told, report);
        let task = self.executor.spawn(task.run(self.common));
        self.running.push(Running {
            camera,
            control,
            task,
        });
    }

    /// Rings of cameras that have left the configuration are still uploaded.
    fn open_former_rings(&mut self) {
        let folder = self.config.local_media_cache_path.clone();
        for (name, names) in super::activation::former_rings(&folder, &self.rings) {
            log::info!("{name}: no longer in the configuration; its ring is still uploaded");
            let state = "inactive".into();
            let asset = names.asset.as_str().to_owned();
            self.show(status::Camera {
                name: name.clone(),
                asset,
                state,
                ..Default::default()
            });
            let spec = RingSpec {
                names,
                folder: folder.join(&name),
                wanted: None,
            };
            let ring: RingId = self.rings.len();
            self.rings.push(name);
            self.tell_flash(FlashMessage::Open(ring, Box::new(spec)));
        }
    }

    /// SIGHUP: reads the configuration again. A wrong one changes nothing.
    async fn reload(&mut self) {
        let loaded = config_file::load(self.path)
            .and_then(|judged| config_file::judge_storage(&judged).map(|_| judged.config));
        let new = match loaded {
            Ok(new) => new,
            Err(error) => {
                log::error!("{error}; recording goes on with the configuration before");
                self.shared.status().message = error.to_string();
                return;
            }
        };
        let message = needs_restart(&self.config, &new);
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
        let _ = self.uploads.send(settings_of(&self.config));
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
            let _ = running.control.send(Control::Stop).await;
            running.task.await;
            let name = &running.camera.name;
            self.shared.change_camera(name, |camera| {
                camera.state = "inactive".into();
            });
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

    /// Ends all cameras, seals what is open and notes a clean stop; the upload is left as it is.
    async fn stop(&mut self) {
        log::info!("stopping");
        let farewell = async {
            for running in &self.running {
                let _ = running.control.send(Control::Stop).await;
            }
            for running in self.running.drain(..) {
                running.task.await;
            }
        };
        future::or(farewell, async {
            Timer::after(FAREWELL).await;
        })
        .await;
        let (done, closed) = sync_channel(1);
        self.tell_flash(FlashMessage::Stop(done));
        if closed.recv_timeout(CLOSING).is_err() {
            log::error!("the card did not take the last of the video in time");
        }
    }

    fn show(&self, camera: status::Camera) {
        let mut status = self.shared.status();
        match status
            .cameras
            .iter_mut()
            .find(|shown| shown.name == camera.name)
        {
            Some(shown) => (shown.state, shown.asset) = (camera.state, camera.asset),
            None => status.cameras.push(camera),
        }
    }

    fn tell_flash(&self, message: FlashMessage) {
        if self.flash.send(message).is_err() {
            log::error!("the flash thread has ended");
        }
    }
}

/// What of a new configuration needs a restart; empty if nothing does.
fn needs_restart(old: &Config, new: &Config) -> String {
    let mut keys = Vec::new();
    if old.gateway_name != new.gateway_name {
        keys.push("gatewayName".to_owned());
    }
    if old.local_media_cache_path != new.local_media_cache_path {
        keys.push("localMediaCachePath".to_owned());
    }
    if old.status_path != new.status_path {
        keys.push("statusPath".to_owned());
    }
    for camera in &new.cameras {
        let before = old.cameras.iter().find(|before| before.name == camera.name);
        if let Some(before) = before {
            if before.ring_bytes != camera.ring_bytes {
                keys.push(format!("{}: localMediaCacheMaximumSizeMiB", camera.name));
            }
            if before.asset != camera.asset {
                keys.push(format!("{}: assetNamePattern", camera.name));
            }
        }
    }
    if keys.is_empty() {
        return String::new();
    }
    format!("takes effect at the next start of cvr: {}", keys.join(", "))
}

fn recorder_config(config: &Config, camera: &Camera) -> RecorderConfig {
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

fn settings_of(config: &Config) -> UploadSettings {
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

/// All threads that are started later inherit the mask; signals are read by the event loop.
fn block_signals() -> nix::Result<Async<SignalFd>> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&set, flags)?;
    Async::new(signals).map_err(|_| nix::errno::Errno::EIO)
}

/// Two writers on one ring would destroy it.
pub fn lock(folder: &Path) -> Result<Flock<File>, RunError> {
    let system = |e| RunError::System("localMediaCachePath", e);
    std::fs::create_dir_all(folder).map_err(system)?;
    let file = File::open(folder).map_err(system)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| RunError::InUse(folder.to_owned()))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let thread = std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK);
    thread
        .spawn(work)
        .map(|_| ())
        .map_err(|e| RunError::System("thread", e))
}

/// Spreads the attempts of many gateways after a power cut.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}
