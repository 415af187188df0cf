//! What can be wrong in a configuration file, in one line that says what is allowed.

use core::fmt;

use super::places::{Kind, Place};
use crate::blob::sas::SasError;
use crate::rtsp::AddressError;

/// The first thing wrong in a file: `cvr.json:14: cameras[1].segmentLength: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What is there, and what is allowed.
    pub problem: Problem,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for Error {}

/// What is wrong at a place. `allowed` is a noun phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields' names say it, Display says the rest"
)]
pub enum Problem {
    /// Not JSON.
    Syntax(Syntax),
    /// The key is not one of this place.
    UnknownKey { nearest: Option<&'static str> },
    /// The key is one of another place.
    MisplacedKey { home: &'static str },
    /// A number instead of a text, and the like.
    WrongKind { found: Kind, allowed: &'static str },
    /// A size as a bare number.
    SizeWithoutQuotes,
    /// A required value is not there.
    Missing { allowed: &'static str },
    /// A value against its rule.
    Value { found: Shown, allowed: &'static str },
    /// A word that is not one of a few.
    Word {
        found: Shown,
        allowed: Vec<&'static str>,
    },
    /// A value against its rule which is not shown.
    HiddenValue { allowed: &'static str },
    /// A part of the contract that this version does not have.
    NotBuilt {
        found: Option<Shown>,
        allowed: &'static str,
    },
    /// Two cameras of one name, or of one asset; letter case is ignored.
    SameAs { found: Shown, other: String },
    /// More or fewer cameras than the gateway can have.
    CameraCount { found: usize },
    /// A wrong `assetNamePattern`.
    Pattern(PatternProblem),
    /// A wrong `containerSasUrl`.
    Container(SasError),
    /// A wrong `rtspUrl`.
    Address(AddressError),
    /// `rtspUrl` and the keys for credentials say different things.
    CredentialsDiffer,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(syntax) => syntax.fmt(f),
            Self::UnknownKey { nearest: None } => f.write_str("is not a known key"),
            Self::UnknownKey { nearest: Some(key) } => {
                write!(f, "is not a known key; did you mean \"{key}\"?")
            }
            Self::MisplacedKey { home } => write!(f, "is not a key of this place, but of {home}"),
            Self::WrongKind { found, allowed } => write!(f, "{found} is not {allowed}"),
            Self::SizeWithoutQuotes => {
                f.write_str("a size stands in quotes, as in LVA; write for instance \"2048\"")
            }
            Self::Missing { allowed } => write!(f, "is missing; it must be {allowed}"),
            Self::Value { found, allowed } => write!(f, "{found} is not {allowed}"),
            Self::Word { found, allowed } => {
                write!(f, "{found} is not one of {}", allowed.join(", "))
            }
            Self::HiddenValue { allowed } => write!(f, "the value is not {allowed}"),
            Self::NotBuilt {
                found: None,
                allowed,
            } => {
                write!(f, "is not built into this version; {allowed}")
            }
            Self::NotBuilt {
                found: Some(found),
                allowed,
            } => {
                write!(f, "{found} is not built into this version; {allowed}")
            }
            Self::SameAs { found, other } => {
                write!(
                    f,
                    "{found} is the same as {other}; each must be its own, case ignored"
                )
            }
            Self::CameraCount { found } => {
                let max = crate::limits::CAMERAS_MAX;
                write!(f, "{found} cameras are not 1 to {max} cameras")
            }
            Self::Pattern(problem) => problem.fmt(f),
            Self::Container(problem) => problem.fmt(f),
            Self::Address(problem) => problem.fmt(f),
            Self::CredentialsDiffer => {
                f.write_str("differs from the one in rtspUrl; write it in one place only")
            }
        }
    }
}

/// A value that may be shown: escaped, cut to 64 characters, and hidden if it looks like a URL
/// or a part of a SAS that got into the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Option<String>);

impl Shown {
    const CHARACTERS_MAX: usize = 64;

    /// `value`, if it may be shown.
    pub fn new(value: &str) -> Self {
        if value.contains("://") || value.contains("sig=") {
            return Self(None);
        }
        let mut shown: String = value.chars().take(Self::CHARACTERS_MAX).collect();
        if shown.len() < value.len() {
            shown.push_str("...");
        }
        Self(Some(format!("{shown:?}")))
    }

    pub(super) fn number(value: f64) -> Self {
        Self(Some(value.to_string()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => f.write_str(value),
            None => f.write_str("a value that is not shown"),
        }
    }
}

/// Why a file is not JSON (RFC 8259).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says it")]
pub enum Syntax {
    TooLarge,
    TooDeep,
    TooManyValues,
    Empty,
    Utf16,
    NotUtf8,
    Comment,
    TrailingComma,
    MissingComma,
    ExtraComma,
    MissingColon,
    MissingValue,
    WrongQuotes,
    KeyWithoutQuotes,
    TextWithoutQuotes,
    OpenText,
    ControlCharacter,
    Escape,
    LoneSurrogate,
    Number,
    Open { bracket: char, line: u32 },
    WrongBracket { bracket: char, line: u32 },
    AfterEnd,
    DuplicateKey { line: u32 },
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::TooLarge => "the file is larger than 1 MiB",
            Self::TooDeep => "more than 32 brackets stand in each other",
            Self::TooManyValues => "the file has more than 16384 values",
            Self::Empty => "the file is empty; it must hold one object in { }",
            Self::Utf16 => "the file is in UTF-16; save it as UTF-8",
            Self::NotUtf8 => "this line is not in UTF-8; save the file as UTF-8",
            Self::Comment => "JSON has no comments; take this one out",
            Self::TrailingComma => "the comma before the closing bracket must go",
            Self::MissingComma => "a comma is missing after this value",
            Self::ExtraComma => "there is one comma too many here",
            Self::MissingColon => "a colon is missing between key and value",
            Self::MissingValue => "the value is missing",
            Self::WrongQuotes => "keys and texts stand in straight double quotes, \"like this\"",
            Self::KeyWithoutQuotes => "a key stands in double quotes, \"like this\"",
            Self::TextWithoutQuotes => "a text stands in double quotes, \"like this\"",
            Self::OpenText => "the double quote at the end of this text is missing",
            Self::ControlCharacter => {
                "a control character stands in this text; a tab is written as \\t"
            }
            Self::Escape => "a backslash in a text is written twice, \\\\, as in C:\\\\cvr",
            Self::LoneSurrogate => "half of a \\u surrogate pair stands alone",
            Self::Number => "this is not a number as JSON writes it, such as 2048 or -1.5",
            Self::AfterEnd => "there is something after the end of the object",
            Self::Open { bracket, line } => {
                return write!(
                    f,
                    "the file ends before the {bracket} of line {line} is closed"
                );
            }
            Self::WrongBracket { bracket, line } => {
                return write!(
                    f,
                    "the {bracket} of line {line} is closed by the wrong bracket"
                );
            }
            Self::DuplicateKey { line } => {
                return write!(f, "is there already, in line {line}; each key stands once");
            }
        })
    }
}

/// Why an `assetNamePattern` is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says it")]
pub enum PatternProblem {
    Character(char),
    OpenVariable,
    UnknownVariable(Shown),
    NoTopology,
    Length(usize),
    IsGatewayName(Shown),
}

impl fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(c) => write!(
                f,
                "{c:?} is not allowed in an asset name, nor is any of < > % & : \\ / ? * + . ' \
                 or a control character"
            ),
            Self::OpenVariable => f.write_str("the } after ${ is missing"),
            Self::UnknownVariable(name) => write!(
                f,
                "{name} is not a variable; known are System.GatewayName, \
                 System.GraphInstanceName, System.GraphTopologyName, System.DateTime, \
                 System.PreciseDateTime"
            ),
            Self::NoTopology => {
                f.write_str("\"System.GraphTopologyName\" has no value without graphTopologies")
            }
            Self::Length(found) => {
                write!(
                    f,
                    "the asset name has {found} characters; allowed are 1 to 260"
                )
            }
            Self::IsGatewayName(asset) => {
                write!(
                    f,
                    "the asset {asset} is the same as gatewayName; it must be another one"
                )
            }
        }
    }
}
