//! `cvr`: arguments and exit codes.

use std::io;
use std::process::ExitCode;

use cvr::command::{self, Console};
use cvr::os::clock;

fn main() -> ExitCode {
    let mut console = Console {
        out: &mut io::stdout().lock(),
        error: &mut io::stderr(),
        now: clock::utc_now,
    };
    command::main(lexopt::Parser::from_env(), &mut console).into()
}
