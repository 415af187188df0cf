//! `cvr run`: starts the threads and the cameras, applies a changed configuration, and stops.

mod reload;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel as unbounded, sync_channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use smol::{Async, LocalExecutor, Task, Timer, channel, future};

use super::activation::names_of;
use super::clock::Clock;
use super::event_loop::{CameraTask, Control, Loop};
use super::flash_thread::{FlashHandle, FlashMessage, FlashThread};
use super::host_time::{Host, HostTime};
use super::logger;
use super::opening::RingSpec;
use super::process::{block_signals, lock, seed, spawn};
use super::report::CameraReport;
use super::ring_files::Geometry;
use super::shared::{RingId, Shared};
use super::status_file::StatusFile;
use super::upload_thread::{UploadSettings, UploadThread};
use crate::config::{AssetPattern, Camera, Config, State};
use crate::gap::Cause;
use crate::limits::FRAGMENTS_IN_FLIGHT;
use crate::recorder::engine::Recorder;
use crate::ring::CLOCK_STEP_MILLIS;
use crate::status;
use crate::time::{ClockQuality, Ticks, UtcOffset};

use settings::{host_of, recorder_config, settings_of};

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
    /// Size of the ring and asset as they were when the ring was opened; only a restart of `cvr`
    /// changes them.
    activated: (u64, AssetPattern),
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
    host: Sender<Host>,
    executor: &'e LocalExecutor<'a>,
    common: &'a Loop,
    /// Cameras and former cameras; the index is the ring's identifier.
    rings: Vec<String>,
    running: Vec<Running>,
    /// UTC of tick 0, as the rings know it.
    utc: (UtcOffset, ClockQuality),
}

/// The queue takes every fragment there is, with its end, and what cameras tell besides.
const QUEUE: usize = 3 * FRAGMENTS_IN_FLIGHT;

/// The camera's farewell may take so long when `cvr` stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// A full queue of the flash thread is tried again after this.
const QUEUE_RETRY: Duration = Duration::from_millis(50);

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
    let settings = settings_of(&config);
    let (host, other_host) = unbounded();
    let host_time = HostTime::new(
        clock,
        Arc::clone(&shared),
        flash.clone(),
        host_of(&settings),
        other_host,
    );
    spawn("host-time", move || host_time.run())?;
    let upload = UploadThread::new(
        clock,
        Arc::clone(&shared),
        FlashHandle(flash.clone()),
        settings,
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
        host,
        executor: &executor,
        common: &common,
        rings: Vec::new(),
        running: Vec::new(),
        utc: clock.utc_offset(),
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
                None => {
                    self.watch_clock();
                    file.write(&self.shared, &self.clock);
                }
                Some(number) if number == Signal::SIGHUP as u32 => self.reload().await,
                Some(_) => break,
            }
        }
        self.stop().await;
        file.write(&self.shared, &self.clock);
        Ok(())
    }

    /// A clock that was set, or stepped, gives what is not uploaded yet its true times.
    fn watch_clock(&mut self) {
        let (offset, quality) = self.clock.utc_offset();
        let (known, before) = self.utc;
        let step = offset.utc(Ticks(0)).0 - known.utc(Ticks(0)).0;
        if step.unsigned_abs() < CLOCK_STEP_MILLIS && quality == before {
            return;
        }
        self.utc = (offset, quality);
        log::warn!("the clock was set by {step} ms; it is {}", quality.as_str());
        self.tell_flash(FlashMessage::Clock(offset, quality));
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
        // A camera that comes back was not wanted meanwhile; at the start of `cvr` it is a restart.
        let cause = if known.is_some() {
            Cause::Inactive
        } else {
            Cause::Restarted
        };
        let recorder = Recorder::new(
            recorder_config(&self.config, &camera),
            Rc::clone(&self.common.pool),
            self.clock.now(),
            cause,
            seed(),
        );
        let report = CameraReport::new(camera.name.clone(), Arc::clone(&self.shared));
        let task = CameraTask::new(ring, recorder, told, report);
        let task = self.executor.spawn(task.run(self.common));
        let activated = (camera.ring_bytes, camera.asset.clone());
        self.running.push(Running {
            camera,
            activated,
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

    /// Ends all cameras, seals what is open and notes a clean stop; the upload is left as it is.
    async fn stop(&mut self) {
        log::info!("stopping");
        let farewell = async {
            for running in &self.running {
                let _ = running.control.send(Control::Stop(None)).await;
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
        let begun = self.clock.now();
        let mut message = FlashMessage::Stop(done);
        // A card that stalls may have filled the queue.
        while let Err(TrySendError::Full(back)) = self.flash.try_send(message) {
            if self.clock.now().since(begun) >= CLOSING {
                break;
            }
            message = back;
            Timer::after(QUEUE_RETRY).await;
        }
        let left = CLOSING.saturating_sub(self.clock.now().since(begun));
        if closed.recv_timeout(left).is_err() {
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
