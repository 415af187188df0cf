//! One thin file a command.

mod arguments;
pub mod check;
pub mod format;
pub mod run;
pub mod status;

use core::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

pub use arguments::UsageError;

use crate::os::config_file::LoadError;
use crate::os::gateway::RunError;
use crate::time::UtcMillis;

/// A command of `cvr`.
struct Command {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    main: fn(&mut Parser, &mut Console<'_>) -> Result<(), Failure>,
}

/// All commands, in the order of the help.
const COMMANDS: &[Command] = &[
    run::COMMAND,
    check::COMMAND,
    format::COMMAND,
    status::COMMAND,
];

/// Where a command writes to, and what time it is.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Errors.
    pub error: &'a mut dyn Write,
    /// UTC.
    pub now: fn() -> UtcMillis,
}

/// Why a command ends without success. Each is one line without a secret.
#[derive(Debug)]
pub enum Failure {
    /// Wrong arguments.
    Usage(UsageError),
    /// A wrong configuration.
    Configuration(LoadError),
    /// Recording could not begin.
    Run(RunError),
    /// The ring of this camera cannot be made.
    Ring(String, io::Error),
    /// There is no published state.
    NoStatus(PathBuf, io::Error),
    /// What is published is no state.
    BadStatus(PathBuf),
    /// Standard output does not take the result.
    Output(io::Error),
}

impl Failure {
    /// The exit code: 1 failed, 2 wrong arguments or configuration.
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Configuration(_) => 2,
            Self::Run(_)
            | Self::Ring(..)
            | Self::NoStatus(..)
            | Self::BadStatus(_)
            | Self::Output(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "cvr: {error}; see cvr --help"),
            Self::Configuration(error) => error.fmt(f),
            Self::Run(error) => write!(f, "cvr: {error}"),
            Self::Ring(camera, error) => write!(f, "{camera}: the ring cannot be made: {error}"),
            Self::NoStatus(path, error) => {
                write!(f, "{}: {error}; is cvr running?", path.display())
            }
            Self::BadStatus(path) => write!(f, "{}: not the state of cvr", path.display()),
            Self::Output(error) => write!(f, "cvr: standard output: {error}"),
        }
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.into())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Configuration(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs the command of `arguments`; returns the exit code.
pub fn main(mut arguments: Parser, console: &mut Console<'_>) -> u8 {
    let done = dispatch(&mut arguments, console).and_then(|()| Ok(console.out.flush()?));
    match done {
        Ok(()) => 0,
        // Whoever reads has seen enough, as in `cvr check cvr.json | head -1`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            // Where standard error is gone, the exit code has to do.
            let _gone = writeln!(console.error, "{failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(arguments: &mut Parser, console: &mut Console<'_>) -> Result<(), Failure> {
    match arguments.next()? {
        Some(Arg::Short('h') | Arg::Long("help")) => help(console.out),
        Some(Arg::Short('V') | Arg::Long("version")) => {
            Ok(writeln!(console.out, "cvr {}", env!("CARGO_PKG_VERSION"))?)
        }
        Some(Arg::Value(name)) => {
            let command = COMMANDS.iter().find(|command| name == command.name);
            let command = command.ok_or_else(|| UsageError::unknown_command(&name))?;
            (command.main)(arguments, console)
        }
        Some(option) => Err(option.unexpected().into()),
        None => Err(UsageError::NoCommand.into()),
    }
}

fn help(out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "cvr {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "Records cameras to flash, and from there to blob storage.\n\nUsage:"
    )?;
    for command in COMMANDS {
        writeln!(out, "  cvr {} {}", command.name, command.arguments)?;
        writeln!(out, "      {}", command.does)?;
    }
    writeln!(out, "  cvr --help\n  cvr --version\n")?;
    writeln!(
        out,
        "Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration."
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit code, standard output, standard error.
    fn run(arguments: &[&str]) -> (u8, String, String) {
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            error: &mut error,
            now: || UtcMillis(0),
        };
        let code = main(Parser::from_args(arguments), &mut console);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(error))
    }

    #[test]
    fn wrong_arguments_are_told_in_one_line() {
        for (arguments, line) in [
            (&[][..], "the command is missing"),
            (&["record"], "\"record\" is not a command"),
            (&["-x"], "-x is not an option here"),
            (&["--x=https://a/?sig=hidden"], "--x is not an option here"),
            (
                &["https://a/?sig=hidden"],
                "a value that is not shown is not a command",
            ),
            (&["check"], "CONFIG is missing"),
            (
                &["check", "a", "b"],
                "there is one argument too many: \"b\"",
            ),
            (
                &["check", "a", "https://a/?sig=hidden"],
                "there is one argument too many: a value that is not shown",
            ),
            (&["check", "--kbps"], "--kbps needs a value"),
            (
                &["check", "--kbps", "0"],
                "--kbps: \"0\" is not a whole number of kbit/s from 1 to 1000000",
            ),
            (
                &["check", "--kbps", "1e3"],
                "--kbps: \"1e3\" is not a whole number of kbit/s from 1 to 1000000",
            ),
            (&["check", "--probe"], "--probe is not an option here"),
        ] {
            let expected = (2, String::new(), format!("cvr: {line}; see cvr --help\n"));
            assert_eq!(run(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let (code, out, error) = run(&["--help"]);
        assert_eq!((code, error.as_str()), (0, ""));
        for command in COMMANDS {
            assert!(out.contains(&format!("  cvr {} ", command.name)), "{out}");
        }
        let version = format!("cvr {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(&["--version"]), (0, version, String::new()));
    }

    #[test]
    fn a_wrong_configuration_is_exit_code_2() {
        let expected = "no-such.json: No such file or directory (os error 2)\n";
        assert_eq!(
            run(&["check", "no-such.json"]),
            (2, String::new(), expected.to_owned())
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
        struct Full(io::ErrorKind);
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, code, line) in [
            (io::ErrorKind::BrokenPipe, 0, ""),
            (
                io::ErrorKind::StorageFull,
                1,
                "cvr: standard output: no storage space\n",
            ),
        ] {
            let mut error = Vec::new();
            let mut console = Console {
                out: &mut Full(kind),
                error: &mut error,
                now: || UtcMillis(0),
            };
            assert_eq!(main(Parser::from_args(["--help"]), &mut console), code);
            assert_eq!(String::from_utf8(error).unwrap(), line);
        }
    }
}
