//! `cvr status CONFIG [--json]`: the state that a running `cvr` publishes.

use lexopt::{Arg, Parser};
use std::path::PathBuf;

use super::{Command, Console, Failure, UsageError};
use crate::os::config_file;
use crate::status::Status;

pub(super) const COMMAND: Command = Command {
    name: "status",
    arguments: "CONFIG [--json]",
    does: "shows the state in a table, or as JSON",
    main,
};

fn main(arguments: &mut Parser, console: &mut Console<'_>) -> Result<(), Failure> {
    let (mut path, mut json) = (None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("json") => json = true,
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let path = path.ok_or(UsageError::MissingArgument("CONFIG"))?;
    let config = config_file::load(&path)?.config;
    let read = std::fs::read(&config.status_path);
    let text = read.map_err(|error| Failure::NoStatus(config.status_path.clone(), error))?;
    if json {
        return Ok(console.out.write_all(&text)?);
    }
    let status = Status::read_json(&text).map_err(|_| Failure::BadStatus(config.status_path))?;
    Ok(console.out.write_all(status.table().as_bytes())?)
}
