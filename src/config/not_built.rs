//! What the contract has and this version does not: refused by name, for an option that does
//! nothing would be worse. Whoever builds one takes its line out.

use super::error::{Error, Problem, Shown};
use super::places::Places;

enum Item {
    /// A key at the top.
    Top(&'static str),
    /// A key of a camera.
    Camera(&'static str),
    /// A word of `transport`.
    Transport(&'static str),
    /// A scheme of `rtspUrl`.
    Scheme(&'static str),
}

/// Each with what to do instead.
const NOT_BUILT: [(Item, &str); 8] = [
    (Item::Top("metricsListen"), TAKE_OUT),
    (Item::Top("memoryCacheMaximumSizeMiB"), TAKE_OUT),
    (Item::Top("graphTopologies"), USE_CAMERAS),
    (Item::Top("graphInstances"), USE_CAMERAS),
    (Item::Camera("trustedCertificatesPath"), TAKE_OUT),
    (Item::Transport("http"), "allowed is \"tcp\""),
    (Item::Transport("udp"), "allowed is \"tcp\""),
    (Item::Scheme("rtsps"), "allowed is rtsp://"),
];
const TAKE_OUT: &str = "take the key out";
const USE_CAMERAS: &str = "describe the cameras in \"cameras\"";

/// Refuses the first key of the file that is not built.
pub(super) fn refuse_keys(places: &Places) -> Result<(), Error> {
    for path in places.paths() {
        let camera_key = path
            .strip_prefix("cameras[")
            .and_then(|rest| rest.split_once("]."))
            .map(|(_, key)| key);
        let found = NOT_BUILT.iter().find(|(item, _)| match item {
            Item::Top(key) => path == *key,
            Item::Camera(key) => camera_key == Some(*key),
            Item::Transport(_) | Item::Scheme(_) => false,
        });
        if let Some((_, allowed)) = found {
            return Err(Error {
                place: places.place(path),
                problem: Problem::NotBuilt {
                    found: None,
                    allowed,
                },
            });
        }
    }
    Ok(())
}

/// The problem with `transport`, if it is one that is not built.
pub(super) fn transport(transport: &str) -> Option<Problem> {
    word(transport, |item| match item {
        Item::Transport(word) => Some(word),
        _ => None,
    })
}

/// The problem with the scheme of an RTSP URL, if it is one that is not built.
pub(super) fn scheme(scheme: &str) -> Option<Problem> {
    word(scheme, |item| match item {
        Item::Scheme(word) => Some(word),
        _ => None,
    })
}

fn word(found: &str, of: impl Fn(&Item) -> Option<&'static str>) -> Option<Problem> {
    let is_found = |item: &Item| of(item).is_some_and(|word| word.eq_ignore_ascii_case(found));
    let (_, allowed) = NOT_BUILT.iter().find(|(item, _)| is_found(item))?;
    Some(Problem::NotBuilt {
        found: Some(Shown::new(found)),
        allowed,
    })
}
