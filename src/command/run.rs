//! `cvr run CONFIG`: records and uploads until SIGTERM.

use lexopt::Parser;

use super::{Command, Console, Failure};
use crate::os::{config_file, gateway};

pub(super) const COMMAND: Command = Command {
    name: "run",
    arguments: "CONFIG",
    does: "records and uploads until SIGTERM; SIGHUP reads CONFIG again",
    main,
};

fn main(arguments: &mut Parser, _: &mut Console<'_>) -> Result<(), Failure> {
    let path = super::arguments::config_path(arguments)?;
    let judged = config_file::load(&path)?;
    config_file::judge_storage(&judged)?;
    Ok(gateway::run(&path, judged.config)?)
}
