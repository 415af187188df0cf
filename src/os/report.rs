//! What a camera's engine tells, as log lines and in the published state.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::recorder::{Event, Stats};
use crate::rtsp::{IgnoreReason, TrackCodec};
use crate::status::{Camera, Received};
use crate::time::Instant;

/// One camera's place in log and state.
#[derive(Debug)]
pub struct CameraReport {
    name: String,
    shared: Arc<Shared>,
    lost: Repeated,
    away: Repeated,
}

/// A line that comes again and again is told once in [`REPEAT`], with how often it came.
#[derive(Debug, Default)]
struct Repeated {
    last: Option<(String, Instant)>,
    held_back: u32,
}

/// The same trouble is told again after this.
const REPEAT: Duration = Duration::from_secs(600);

impl Repeated {
    fn tell(&mut self, now: Instant, name: &str, line: &str) {
        let again = self.last.as_ref().is_some_and(|(last, _)| last == line);
        let soon = self
            .last
            .as_ref()
            .is_some_and(|(_, at)| now.since(*at) < REPEAT);
        if again && soon {
            self.held_back += 1;
            return;
        }
        match core::mem::take(&mut self.held_back) {
            count if again && count > 0 => log::warn!("{name}: {line} ({count} times more since)"),
            _ => log::warn!("{name}: {line}"),
        }
        self.last = Some((line.to_owned(), now));
    }
}

impl CameraReport {
    /// For the camera `name`, which the state has already.
    pub fn new(name: String, shared: Arc<Shared>) -> Self {
        Self {
            name,
            shared,
            lost: Repeated::default(),
            away: Repeated::default(),
        }
    }

    /// Shows what happened.
    pub fn event(&mut self, now: Instant, event: &Event) {
        let name = &self.name;
        match event {
            Event::Connected => {
                log::debug!("{name}: connected");
                self.change(|camera| camera.state = "connecting".into());
            }
            Event::Described { sdp } => log::debug!("{name}: the camera describes itself: {sdp}"),
            Event::TrackIgnored { codec, reason } => {
                let why = match reason {
                    IgnoreReason::Codec => "only H.264 and AAC are recorded".to_owned(),
                    IgnoreReason::Further => "one track of its kind is recorded".to_owned(),
                    IgnoreReason::Refused(status) => format!("the camera refused it ({status})"),
                };
                log::warn!("{name}: track {codec} is not recorded: {why}");
            }
            Event::Playing { tracks } => {
                let codecs: Vec<&str> = tracks.iter().map(|track| track.codec.name()).collect();
                log::info!("{name}: the camera sends {}", codecs.join(" and "));
                let audio = tracks.iter().find_map(|track| match &track.codec {
                    TrackCodec::Aac { description, .. } => {
                        Some(format!("AAC {} Hz", description.sample_rate))
                    }
                    _ => None,
                });
                self.change(|camera| {
                    camera.state = "recording".into();
                    camera.message.clear();
                    camera.audio = audio.unwrap_or_default();
                });
            }
            Event::Recording {
                size: (width, height),
            } => {
                log::info!("{name}: recording H.264 {width}x{height}");
                self.change(|camera| camera.video = format!("H.264 {width}x{height}"));
            }
            Event::MediaLost(loss) => {
                self.lost
                    .tell(now, name, &format!("{loss}: waiting for a sync sample"));
            }
            Event::Lost { reason, wait } => {
                self.away
                    .tell(now, name, &format!("{reason}; tried again, for ever"));
                log::debug!(
                    "{name}: {reason}; tried again in {:.1} s",
                    wait.as_secs_f32()
                );
                self.change(|camera| {
                    camera.state = "waiting".into();
                    camera.message = reason.to_string();
                });
            }
            Event::Inactive => {
                log::info!("{name}: inactive");
                self.change(|camera| camera.state = "inactive".into());
            }
        }
    }

    /// Shows the counters.
    pub fn stats(&self, stats: &Stats) {
        self.change(|camera| {
            camera.received = Received {
                bytes: stats.bytes,
                packets: stats.packets,
                lost_packets: stats.lost_packets,
                reconnects: stats.reconnects,
            };
        });
    }

    fn change(&self, change: impl FnOnce(&mut Camera)) {
        self.shared.change_camera(&self.name, change);
    }
}
