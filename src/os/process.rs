//! The process: its signals, its threads, and its sole right to the rings.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use smol::Async;

use super::gateway::RunError;

/// Address space of a thread's stack; what is not used costs nothing.
const STACK: usize = 1024 * 1024;

/// All threads that are started later inherit the mask; signals are read by the event loop.
pub(super) fn block_signals() -> nix::Result<Async<SignalFd>> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&set, flags)?;
    Async::new(signals).map_err(|_| nix::errno::Errno::EIO)
}

/// The sole right to the rings in `folder`, until it is dropped: two writers on one ring would
/// destroy it.
pub fn lock(folder: &Path) -> Result<Flock<File>, RunError> {
    let system = |e| RunError::System("localMediaCachePath", e);
    std::fs::create_dir_all(folder).map_err(system)?;
    let file = File::open(folder).map_err(system)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| RunError::InUse(folder.to_owned()))
}

/// Starts a thread that ends with the process.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let thread = std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK);
    thread
        .spawn(work)
        .map(|_| ())
        .map_err(|e| RunError::System("thread", e))
}

/// Spreads the attempts of many gateways after a power cut.
pub(super) fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}
