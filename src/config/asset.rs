//! `assetNamePattern`: LVA's variables and its rule for characters.

use core::fmt::Write as _;

use super::error::{PatternProblem, Shown};
use crate::time::UtcMillis;

/// Most characters of an asset name (LVA).
const CHARACTERS_MAX: usize = 260;

/// A pattern in which the names are filled in, and only the time is left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetPattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `yyyyMMddTHHmmssZ`
    DateTime,
    /// `yyyyMMddTHHmmss.fffZ`
    PreciseDateTime,
}

/// What stands for the variables of a camera's pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) gateway: &'a str,
    pub(super) instance: &'a str,
    /// None without `graphTopologies`.
    pub(super) topology: Option<&'a str>,
}

impl AssetPattern {
    /// The pattern where none is given.
    pub(super) const DEFAULT: &'static str = "${System.GatewayName}-${System.GraphInstanceName}";

    pub(super) fn parse(pattern: &str, names: Names<'_>) -> Result<Self, PatternProblem> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once("${") {
            let (variable, after) = after.split_once('}').ok_or(PatternProblem::OpenVariable)?;
            parts.push(literal(text)?);
            parts.push(match variable {
                "System.GatewayName" => Part::Text(names.gateway.to_owned()),
                "System.GraphInstanceName" => Part::Text(names.instance.to_owned()),
                "System.GraphTopologyName" => {
                    let topology = names.topology.ok_or(PatternProblem::NoTopology)?;
                    Part::Text(topology.to_owned())
                }
                "System.DateTime" => Part::DateTime,
                "System.PreciseDateTime" => Part::PreciseDateTime,
                _ => return Err(PatternProblem::UnknownVariable(Shown::new(variable))),
            });
            rest = after;
        }
        parts.push(literal(rest)?);
        let pattern = Self(parts);
        // The length is the same at any time.
        match pattern.resolve(UtcMillis(0)).chars().count() {
            1..=CHARACTERS_MAX => Ok(pattern),
            characters => Err(PatternProblem::Length(characters)),
        }
    }

    /// True if the asset is a new one at each activation.
    pub fn has_time(&self) -> bool {
        let Self(parts) = self;
        parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The asset name of an activation at `at`; at most `limits::ASSET_NAME_MAX` bytes.
    pub fn resolve(&self, at: UtcMillis) -> String {
        let mut name = String::new();
        let c = at.civil();
        for part in &self.0 {
            if let Part::Text(text) = part {
                name.push_str(text);
                continue;
            }
            let written = write!(
                name,
                "{:04}{:02}{:02}T{:02}{:02}{:02}",
                c.year, c.month, c.day, c.hour, c.minute, c.second
            );
            debug_assert!(written.is_ok(), "a String takes everything");
            if *part == Part::PreciseDateTime {
                name.push_str(&format!(".{:03}", c.millisecond));
            }
            name.push('Z');
        }
        name
    }
}

/// Text outside of variables: LVA's `^[^<>%&:\\/?*+.']{1,260}$`, and no control characters,
/// which blob names cannot have.
fn literal(text: &str) -> Result<Part, PatternProblem> {
    match text
        .chars()
        .find(|&c| r"<>%&:\/?*+.'".contains(c) || c.is_control())
    {
        Some(c) => Err(PatternProblem::Character(c)),
        None => Ok(Part::Text(text.to_owned())),
    }
}

const _: () = assert!(CHARACTERS_MAX * 4 <= crate::limits::ASSET_NAME_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        gateway: "warehouse-3",
        instance: "front-door",
        topology: None,
    };

    #[test]
    fn variables_are_filled_in() {
        for (pattern, has_time, name) in [
            (AssetPattern::DEFAULT, false, "warehouse-3-front-door"),
            ("Tor 3 {süd}$", false, "Tor 3 {süd}$"),
            ("${System.GraphInstanceName}", false, "front-door"),
            ("x-${System.DateTime}", true, "x-20261121T203000Z"),
            (
                "${System.PreciseDateTime}-y",
                true,
                "20261121T203000.001Z-y",
            ),
        ] {
            let parsed = AssetPattern::parse(pattern, NAMES).unwrap();
            assert_eq!(parsed.resolve(UtcMillis(1_795_293_000_001)), name);
            assert_eq!(parsed.has_time(), has_time, "{pattern}");
        }
        let names = Names {
            topology: Some("cvr"),
            ..NAMES
        };
        let parsed = AssetPattern::parse("${System.GraphTopologyName}", names).unwrap();
        assert_eq!(parsed.resolve(UtcMillis(0)), "cvr");
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for c in r"<>%&:\/?*+.'".chars().chain(['\n']) {
            let problem = AssetPattern::parse(&format!("a{c}b"), NAMES).unwrap_err();
            assert_eq!(problem, PatternProblem::Character(c));
        }
        for (pattern, problem) in [
            ("", PatternProblem::Length(0)),
            (&"ä".repeat(261), PatternProblem::Length(261)),
            ("a${System.DateTime", PatternProblem::OpenVariable),
            ("${System.GraphTopologyName}", PatternProblem::NoTopology),
            (
                "${name}",
                PatternProblem::UnknownVariable(Shown::new("name")),
            ),
        ] {
            assert_eq!(AssetPattern::parse(pattern, NAMES).unwrap_err(), problem);
        }
        assert!(AssetPattern::parse(&"ä".repeat(260), NAMES).is_ok());
    }
}
