//! Basic and Digest authentication (RFC 2617, RFC 7616), the strongest that the camera offers.

use core::fmt;

use http_auth::digest::Algorithm;
use http_auth::{ChallengeParser, ChallengeRef, DigestClient, ParamValue, PasswordParams};

use crate::config::SecretString;

/// User name and password of a camera; any Unicode in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// May be empty only where a URL says so.
    pub user: SecretString,
    /// Empty if there is none.
    pub password: SecretString,
}

impl Credentials {
    /// Takes both as they are, not escaped.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: SecretString::new(user.into()),
            password: SecretString::new(password.into()),
        }
    }
}

/// How requests of one connection are authenticated.
#[derive(Debug)]
pub(super) struct Authenticator {
    credentials: Option<Credentials>,
    scheme: Scheme,
}

impl Authenticator {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            scheme: Scheme::None,
        }
    }

    /// Forgets the credentials: the next server is not the one they were meant for.
    pub(super) fn forget(&mut self) {
        self.credentials = None;
        self.scheme = Scheme::None;
    }

    /// Value of the Authorization header; none where nothing was asked for yet.
    pub(super) fn authorization(&mut self, method: &str, url: &str) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        match &mut self.scheme {
            Scheme::None => None,
            Scheme::Basic => Some(http_auth::basic::encode_credentials(
                credentials.user.expose(),
                credentials.password.expose(),
            )),
            Scheme::Digest(client) => {
                let with_body = |body| PasswordParams {
                    username: credentials.user.expose(),
                    password: credentials.password.expose(),
                    uri: url,
                    method,
                    body,
                };
                // Without a body the client chooses `auth`; a camera that offers only
                // `auth-int` gets that, over our empty body.
                let value = client
                    .respond(&with_body(None))
                    .or_else(|_| client.respond(&with_body(Some(b""))))
                    .ok()?;
                Some(with_plain_user(value, credentials.user.expose()))
            }
        }
    }

    /// Takes in the challenge of a 401 answer. `attempt` says how the refused request was
    /// authenticated. `Ok`: send it again.
    pub(super) fn challenge(
        &mut self,
        header: Option<&str>,
        attempt: Attempt,
    ) -> Result<(), AuthError> {
        if self.credentials.is_none() {
            return Err(AuthError::CredentialsMissing);
        }
        let scheme = strongest(header.unwrap_or_default()).ok_or(AuthError::SchemeUnknown)?;
        let again = match (attempt, &scheme, &self.scheme) {
            (Attempt::Without, ..) => true,
            // A nonce from an earlier request may be stale, whether the camera says so or not.
            (Attempt::Reused, Scheme::Digest(_), _) => true,
            // A nonce from the answer to this very request is fresh, unless the camera says
            // otherwise.
            (Attempt::Fresh, Scheme::Digest(new), Scheme::Digest(old)) => {
                new.stale() && new.nonce() != old.nonce()
            }
            (Attempt::Reused | Attempt::Fresh, ..) => false,
            (Attempt::Last, ..) => false,
        };
        if !again {
            return Err(AuthError::Refused);
        }
        self.scheme = scheme;
        Ok(())
    }

    /// What the next request's [`Attempt`] is.
    pub(super) fn first_attempt(&self) -> Attempt {
        match self.scheme {
            Scheme::None => Attempt::Without,
            Scheme::Basic | Scheme::Digest(_) => Attempt::Reused,
        }
    }
}

/// How a request was authenticated; each 401 leads one step on, so no request is repeated for
/// ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Not at all.
    Without,
    /// With a challenge that an earlier request got.
    Reused,
    /// With the challenge that this request got.
    Fresh,
    /// With the second challenge that this request got.
    Last,
}

impl Attempt {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Without | Self::Reused => Self::Fresh,
            Self::Fresh | Self::Last => Self::Last,
        }
    }
}

/// Why a 401 answer is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The camera asks for user name and password, and there are none.
    CredentialsMissing,
    /// User name or password is wrong.
    Refused,
    /// The camera offers no scheme that we know, or an unreadable one.
    SchemeUnknown,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialsMissing => {
                "the camera asks for user name and password (401): \
                 set rtspUserName and rtspPassword"
            }
            Self::Refused => {
                "the camera refuses user name or password (401): \
                 check rtspUserName and rtspPassword"
            }
            Self::SchemeUnknown => {
                "the camera asks for a kind of authentication that is neither Basic nor Digest \
                 (401): allow one of them in the camera's settings"
            }
        })
    }
}

impl core::error::Error for AuthError {}

#[derive(Debug)]
enum Scheme {
    None,
    Basic,
    Digest(DigestClient),
}

impl Scheme {
    fn strength(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Basic => 1,
            Self::Digest(client) => match client.algorithm() {
                Algorithm::Sha512Trunc256 => 4,
                Algorithm::Sha256 => 3,
                // MD5, and what the crate may add.
                _ => 2,
            },
        }
    }
}

/// Writes a user name that is not ASCII in plain UTF-8: cameras know nothing of RFC 7616's
/// `username*`.
fn with_plain_user(value: String, user: &str) -> String {
    let rest = value
        .strip_prefix("Digest username*=")
        .and_then(|rest| rest.split_once(", "))
        .filter(|_| !user.contains(char::is_control));
    match rest {
        Some((_, rest)) => {
            let user = user.replace('\\', "\\\\").replace('"', "\\\"");
            format!("Digest username=\"{user}\", {rest}")
        }
        None => value,
    }
}

/// The strongest challenge of a WWW-Authenticate header; one that cannot be read does not hide
/// the others.
fn strongest(header: &str) -> Option<Scheme> {
    challenges(header)
        .filter_map(|text| ChallengeParser::new(text).next()?.ok().and_then(scheme))
        .max_by_key(Scheme::strength)
}

fn scheme(mut challenge: ChallengeRef<'_>) -> Option<Scheme> {
    if challenge.scheme.eq_ignore_ascii_case("Basic") {
        return Some(Scheme::Basic);
    }
    // Cameras write `md5`; the crate wants the registered spelling.
    for (key, value) in &mut challenge.params {
        if key.eq_ignore_ascii_case("algorithm") {
            let name = ALGORITHMS
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&value.to_unescaped()));
            *value = ParamValue::try_from_escaped(name?).ok()?;
        }
    }
    DigestClient::try_from(&challenge).ok().map(Scheme::Digest)
}

const ALGORITHMS: [&str; 6] = [
    "MD5",
    "MD5-sess",
    "SHA-256",
    "SHA-256-sess",
    "SHA-512-256",
    "SHA-512-256-sess",
];

/// Cuts a header where a scheme that we know begins, outside of quotes.
fn challenges(header: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let mut starts: Vec<usize> = Vec::new();
    for (at, c) in header.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && begins_scheme(header, at) => starts.push(at),
            _ => {}
        }
    }
    let ends = starts.clone().into_iter().skip(1).chain([header.len()]);
    starts.into_iter().zip(ends).filter_map(|(from, to)| {
        let text = header.get(from..to)?;
        Some(text.trim_end_matches([',', ' ', '\t']))
    })
}

fn begins_scheme(header: &str, at: usize) -> bool {
    let before = header.get(..at).unwrap_or_default();
    (before.is_empty() || before.ends_with([',', ' ', '\t']))
        && ["Digest", "Basic"].iter().any(|scheme| {
            let rest = header.get(at..).unwrap_or_default();
            let (word, after) = rest.split_at_checked(scheme.len()).unwrap_or_default();
            word.eq_ignore_ascii_case(scheme) && (after.is_empty() || after.starts_with([' ', ',']))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "rtsp://192.0.2.1/a";

    fn authenticator() -> Authenticator {
        Authenticator::new(Some(Credentials::new("Mufasa", "Circle of Life")))
    }

    fn digest_of(authenticator: &Authenticator) -> &DigestClient {
        match &authenticator.scheme {
            Scheme::Digest(client) => client,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_sent_before_it_is_asked_for() {
        assert_eq!(authenticator().authorization("OPTIONS", URL), None);
    }

    #[test]
    fn the_strongest_challenge_is_taken() {
        for (header, strength) in [
            ("Basic realm=\"cam\"", 1),
            ("Basic", 1),
            ("basic realm=\"Digest realm\"", 1),
            // gst-rtsp-server: neither algorithm nor qop.
            ("Digest realm=\"GStreamer RTSP Server\", nonce=\"1f2a\"", 2),
            (
                "Digest realm=\"a\", nonce=\"b\", algorithm=md5, stale=FALSE",
                2,
            ),
            (
                "Digest realm=\"a\", nonce=\"b\", algorithm=\"MD5\", qop=auth",
                2,
            ),
            (
                "Digest realm=\"a\", nonce=\"b\", algorithm=MD5-sess, qop=\"auth\"",
                2,
            ),
            (
                "Digest realm=\"a\",nonce=\"b\",algorithm=SHA-256, Basic realm=\"c\"",
                3,
            ),
            (
                "Digest realm=\"a\", nonce=\"b\", Digest realm=\"a\", nonce=\"b\", \
                 algorithm=SHA-256, qop=\"auth\", Basic realm=\"a\"",
                3,
            ),
            ("Digest realm=\"a\", nonce=\"b\", algorithm=SHA-512-256", 4),
            // An unreadable one, and an unknown algorithm, do not hide Basic.
            ("Digest realm=a b, nonce=\"b\", Basic realm=\"c\"", 1),
            (
                "Digest realm=\"a\", nonce=\"b\", algorithm=FOO, Basic realm=\"c\"",
                1,
            ),
            ("Negotiate, Basic realm=\"\\\"\"", 1),
        ] {
            let mut authenticator = authenticator();
            assert_eq!(
                authenticator.challenge(Some(header), Attempt::Without),
                Ok(()),
                "{header}"
            );
            assert_eq!(authenticator.scheme.strength(), strength, "{header}");
            assert!(
                authenticator.authorization("DESCRIBE", URL).is_some(),
                "{header}"
            );
        }
    }

    #[test]
    fn unknown_challenges_are_an_error() {
        for header in [
            None,
            Some(""),
            Some("Negotiate"),
            Some("Digest"),
            Some("Digest realm=x"),
        ] {
            let result = authenticator().challenge(header, Attempt::Without);
            assert_eq!(result, Err(AuthError::SchemeUnknown), "{header:?}");
        }
    }

    #[test]
    fn answers_are_those_of_the_rfcs() {
        // RFC 2069 form (no qop): MD5(MD5(A1):nonce:MD5(A2)), from RFC 2069's errata example.
        let mut authenticator = authenticator();
        let header = "Digest realm=\"testrealm@host.com\", \
                      nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
                      opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        authenticator
            .challenge(Some(header), Attempt::Without)
            .unwrap();
        authenticator.credentials = Some(Credentials::new("Mufasa", "CircleOfLife"));
        let value = authenticator
            .authorization("GET", "/dir/index.html")
            .unwrap();
        assert!(
            value.contains("response=\"1949323746fe6a43ef61f9606e7febea\""),
            "{value}"
        );
        assert!(
            value.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""),
            "{value}"
        );

        // RFC 7617 section 2.1: UTF-8.
        authenticator.credentials = Some(Credentials::new("test", "123\u{a3}"));
        authenticator.scheme = Scheme::Basic;
        assert_eq!(
            authenticator.authorization("GET", URL).unwrap(),
            "Basic dGVzdDoxMjPCow=="
        );
    }

    #[test]
    fn the_nonce_is_counted() {
        let mut authenticator = authenticator();
        let header = "Digest realm=\"a\", nonce=\"b\", qop=\"auth,auth-int\"";
        authenticator
            .challenge(Some(header), Attempt::Without)
            .unwrap();
        for count in ["nc=00000001", "nc=00000002"] {
            let value = authenticator.authorization("OPTIONS", URL).unwrap();
            assert!(
                value.contains(count) && value.contains("qop=auth,"),
                "{value}"
            );
        }
        let header = "Digest realm=\"a\", nonce=\"c\", qop=\"auth-int\"";
        authenticator
            .challenge(Some(header), Attempt::Reused)
            .unwrap();
        let value = authenticator.authorization("OPTIONS", URL).unwrap();
        assert!(
            value.contains("nc=00000001") && value.contains("qop=auth-int"),
            "{value}"
        );
    }

    #[test]
    fn a_401_leads_on_or_is_final() {
        let digest = |nonce: &str, stale: &str| {
            format!("Digest realm=\"a\", nonce=\"{nonce}\", qop=\"auth\"{stale}")
        };
        let refused = Err(AuthError::Refused);
        for (attempt, header, expected) in [
            (Attempt::Without, digest("new", ""), Ok(())),
            (Attempt::Reused, digest("new", ""), Ok(())),
            (Attempt::Reused, digest("old", ""), Ok(())),
            (Attempt::Reused, digest("new", ", stale=true"), Ok(())),
            (Attempt::Fresh, digest("new", ", stale=TRUE"), Ok(())),
            (Attempt::Fresh, digest("old", ", stale=true"), refused),
            (Attempt::Fresh, digest("new", ""), refused),
            (Attempt::Fresh, digest("new", ", stale=false"), refused),
            (Attempt::Last, digest("new", ", stale=true"), refused),
            (Attempt::Reused, "Basic realm=\"a\"".to_owned(), refused),
        ] {
            let mut authenticator = authenticator();
            authenticator
                .challenge(Some(&digest("old", "")), Attempt::Without)
                .unwrap();
            let result = authenticator.challenge(Some(&header), attempt);
            assert_eq!(result, expected, "{attempt:?} {header}");
            let nonce = digest_of(&authenticator).nonce();
            assert_eq!(result.is_ok() && header.contains("\"new\""), nonce == "new");
        }
    }

    #[test]
    fn without_credentials_a_401_is_final() {
        let result = Authenticator::new(None).challenge(Some("Basic"), Attempt::Without);
        assert_eq!(result, Err(AuthError::CredentialsMissing));
        let mut authenticator = authenticator();
        authenticator
            .challenge(Some("Basic"), Attempt::Without)
            .unwrap();
        authenticator.forget();
        assert_eq!(authenticator.authorization("OPTIONS", URL), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut authenticator = authenticator();
        authenticator
            .challenge(Some("Digest realm=\"a\", nonce=\"b\""), Attempt::Without)
            .unwrap();
        let shown = format!("{authenticator:?}");
        assert!(
            !shown.contains("Mufasa") && !shown.contains("Circle"),
            "{shown}"
        );
    }

    #[test]
    fn unicode_and_punctuation_in_credentials_are_sent() {
        for (user, expected) in [
            ("jürgen", "Digest username=\"jürgen\", realm=\"a\", "),
            ("a\"b\\c", "Digest username=\"a\\\"b\\\\c\", realm=\"a\", "),
            ("ü\"\\", "Digest username=\"ü\\\"\\\\\", realm=\"a\", "),
            // Nothing that would end the header.
            (
                "ü\r\nX: y",
                "Digest username*=UTF-8''%C3%BC%0D%0AX%3A%20y, realm=\"a\", ",
            ),
        ] {
            for password in ["", "pä:ss@%", "日本\r\n"] {
                let mut authenticator = Authenticator::new(Some(Credentials::new(user, password)));
                for header in ["Digest realm=\"a\", nonce=\"b\", qop=\"auth\"", "Basic"] {
                    authenticator
                        .challenge(Some(header), Attempt::Without)
                        .unwrap();
                    let value = authenticator.authorization("DESCRIBE", URL).unwrap();
                    assert!(!value.contains(['\r', '\n']), "{value}");
                    assert!(header == "Basic" || value.starts_with(expected), "{value}");
                }
            }
        }
    }
}
