//! Continuous video recorder for small ARM gateways: from camera to flash to blob.
//!
//! The modules, in the order in which the video passes them:

pub mod config;

pub mod rtsp;

pub mod rtp;

pub mod recorder;

pub mod mp4;

pub mod ring;

pub mod blob;

pub mod os;

pub mod command;

pub mod backoff;
pub mod gap;
pub mod host_time;
pub mod limits;
pub mod media;
pub mod segment;
pub mod status;
pub mod time;
