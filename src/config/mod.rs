//! The configuration file: reading, judging, and its words. Pure.
//!
//! The way of a file: `scanner` finds what is no JSON and where each value stands, `file` gives
//! each value its key, `judge` holds every value against its rule (`rules`). The first error in
//! the order of the file is the one that is told.

mod asset;
mod duration;
mod error;
mod file;
mod judge;
mod model;
mod not_built;
mod places;
mod rules;
mod scanner;
mod secret;

use std::path::Path;

pub use asset::AssetPattern;
pub use error::{Error, PatternProblem, Problem, Shown, Syntax};
pub use model::{Camera, Config, LogLevel, State};
pub use places::{Kind, Place, Places};
pub use secret::{Secret, SecretString};

/// Largest configuration file, bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A judged file, and where each of its values stands.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What the file says.
    pub config: Config,
    /// Where it says so, for what only the operating system can judge.
    pub places: Places,
}

/// Judges a configuration file as a whole.
///
/// `name` is the file's name as errors shall show it, `text` its bytes, `folder` where relative
/// paths start.
///
/// # Errors
///
/// The first error in the order of the file; it never holds a secret.
pub fn read(name: &str, text: &[u8], folder: &Path) -> Result<Judged, Error> {
    let scan = scanner::scan(text).map_err(|error| error.in_file(name))?;
    let places = Places::new(name, scan.entries);
    not_built::refuse_keys(&places)?;
    let file = file::deserialize(&scan.json, &places)?;
    let config = judge::judge(file, folder, &places)?;
    Ok(Judged { config, places })
}

#[cfg(test)]
mod tests;
