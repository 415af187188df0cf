//! What can be wrong in the arguments.

use core::fmt;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use crate::config::Shown;

/// Wrong arguments. A value may be a URL with a SAS: it is shown only where it looks harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says it")]
pub enum UsageError {
    NoCommand,
    UnknownCommand(Shown),
    UnknownOption(String),
    UnexpectedArgument(Shown),
    /// The option takes no value, and has one.
    UnexpectedValue(String),
    MissingArgument(&'static str),
    MissingValue(String),
    /// A value against its rule.
    Value {
        option: &'static str,
        found: Shown,
        allowed: &'static str,
    },
}

/// The only argument of a command: the configuration's path.
pub(super) fn config_path(arguments: &mut Parser) -> Result<PathBuf, UsageError> {
    let mut path = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    path.ok_or(UsageError::MissingArgument("CONFIG"))
}

impl UsageError {
    pub(super) fn unknown_command(name: &OsStr) -> Self {
        Self::UnknownCommand(shown(name))
    }

    pub(super) fn value(option: &'static str, found: &OsStr, allowed: &'static str) -> Self {
        let found = shown(found);
        Self::Value {
            option,
            found,
            allowed,
        }
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::MissingValue { option } => {
                Self::MissingValue(option.unwrap_or_default())
            }
            lexopt::Error::UnexpectedOption(option) => Self::UnknownOption(option),
            lexopt::Error::UnexpectedValue { option, .. } => Self::UnexpectedValue(option),
            lexopt::Error::UnexpectedArgument(value) | lexopt::Error::NonUnicodeValue(value) => {
                Self::UnexpectedArgument(shown(&value))
            }
            lexopt::Error::ParsingFailed { value, .. } => {
                Self::UnexpectedArgument(shown(&OsString::from(value)))
            }
            lexopt::Error::Custom(error) => {
                Self::UnexpectedArgument(Shown::new(&error.to_string()))
            }
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("the command is missing"),
            Self::UnknownCommand(name) => write!(f, "{name} is not a command"),
            Self::UnknownOption(option) => write!(f, "{option} is not an option here"),
            Self::UnexpectedArgument(value) => {
                write!(f, "there is one argument too many: {value}")
            }
            Self::UnexpectedValue(option) => write!(f, "{option} takes no value"),
            Self::MissingArgument(name) => write!(f, "{name} is missing"),
            Self::MissingValue(option) => write!(f, "{option} needs a value"),
            Self::Value {
                option,
                found,
                allowed,
            } => write!(f, "{option}: {found} is not {allowed}"),
        }
    }
}

fn shown(value: &OsStr) -> Shown {
    Shown::new(&value.to_string_lossy())
}
