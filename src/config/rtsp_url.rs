//! `rtspUrl`: where a camera is, with its credentials taken out.

use core::fmt;

use url::{Host, Url};

use super::error::Problem;
use super::not_built;
use super::secret::SecretString;

/// RTSP's port (RFC 2326 section 3.2).
const PORT: u16 = 554;

/// Where a camera is. Nothing of it is printed: some cameras take passwords in the path.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl {
    host: String,
    port: u16,
    url: SecretString,
}

/// User name and password out of a URL, percent-decoded.
#[derive(Default)]
pub(super) struct UrlCredentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl RtspUrl {
    /// Takes a URL apart.
    pub(super) fn parse(text: &str) -> Result<(Self, UrlCredentials), Problem> {
        let mut url = Url::parse(text.trim()).map_err(|_| RtspProblem::NotAUrl)?;
        if let Some(problem) = not_built::scheme(url.scheme()) {
            return Err(problem);
        }
        if url.scheme() != "rtsp" {
            return Err(RtspProblem::NotAUrl.into());
        }
        // An unescaped # in a password ends the URL; no camera needs a fragment.
        if url.fragment().is_some() {
            return Err(RtspProblem::Fragment.into());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if is_host_name(name) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(RtspProblem::Host.into()),
        };
        let port = url.port().unwrap_or(PORT);
        if port == 0 {
            return Err(RtspProblem::Host.into());
        }
        let user = (!url.username().is_empty()).then(|| url.username());
        let credentials = UrlCredentials {
            user: user.map(percent_decode).transpose()?,
            password: url.password().map(percent_decode).transpose()?,
        };
        url.set_username("")
            .and_then(|()| url.set_password(None))
            .map_err(|()| RtspProblem::Host)?;
        let url = SecretString::new(url.into());
        Ok((Self { host, port, url }, credentials))
    }

    /// Name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 554 if the URL has none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The whole URL without credentials, for the request line.
    pub const fn url(&self) -> &SecretString {
        &self.url
    }
}

impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RtspUrl").field(&self.url).finish()
    }
}

fn is_host_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.chars().all(allowed)
}

/// RFC 3986 section 2.1. A `%` without two digits behind it stands for itself.
fn percent_decode(text: &str) -> Result<String, RtspProblem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| RtspProblem::Credentials)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Why an `rtspUrl` is wrong. The value is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtspProblem {
    /// Not an `rtsp://` URL.
    NotAUrl,
    /// No host, or one that is neither name nor address, or port 0.
    Host,
    /// It has a `#`.
    Fragment,
    /// Its credentials are not UTF-8.
    Credentials,
}

impl From<RtspProblem> for Problem {
    fn from(problem: RtspProblem) -> Self {
        Self::Rtsp(problem)
    }
}

impl fmt::Display for RtspProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "the value is not a URL of the allowed form",
            Self::Host => "the URL has no host name or address, or a wrong port",
            Self::Fragment => "the URL has a #",
            Self::Credentials => "the credentials in the URL are not in UTF-8",
        })?;
        f.write_str(
            "; allowed is rtsp://HOST:PORT/PATH, with credentials best in rtspUserName and \
             rtspPassword",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (
        &'static str,
        &'static str,
        u16,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
    );

    const RIGHT: &[Case] = &[
        (
            "rtsp://192.0.2.10:554/stream1",
            "192.0.2.10",
            554,
            "rtsp://192.0.2.10:554/stream1",
            None,
            None,
        ),
        (
            "RTSP://cam_1.local",
            "cam_1.local",
            554,
            "rtsp://cam_1.local",
            None,
            None,
        ),
        (
            " rtsp://h:8554/a?b=c&d=%20\n",
            "h",
            8554,
            "rtsp://h:8554/a?b=c&d=%20",
            None,
            None,
        ),
        (
            "rtsp://[fe80::1]:9/a",
            "fe80::1",
            9,
            "rtsp://[fe80::1]:9/a",
            None,
            None,
        ),
        (
            "rtsp://admin@h/a",
            "h",
            554,
            "rtsp://h/a",
            Some("admin"),
            None,
        ),
        (
            "rtsp://admin:p%40%3aw%C3%A4@h/a",
            "h",
            554,
            "rtsp://h/a",
            Some("admin"),
            Some("p@:wä"),
        ),
        (
            "rtsp://admin:p@w@h/a",
            "h",
            554,
            "rtsp://h/a",
            Some("admin"),
            Some("p@w"),
        ),
        (
            "rtsp://admin:100%@h/a",
            "h",
            554,
            "rtsp://h/a",
            Some("admin"),
            Some("100%"),
        ),
        (
            "rtsp://admin:%zz1@h/a",
            "h",
            554,
            "rtsp://h/a",
            Some("admin"),
            Some("%zz1"),
        ),
        (
            "rtsp://h/user=a&password=b.sdp?x",
            "h",
            554,
            "rtsp://h/user=a&password=b.sdp?x",
            None,
            None,
        ),
    ];

    #[test]
    fn urls_are_taken_apart() {
        for &(text, host, port, url, user, password) in RIGHT {
            let Ok((parsed, credentials)) = RtspUrl::parse(text) else {
                panic!("{text}");
            };
            assert_eq!((parsed.host(), parsed.port()), (host, port), "{text}");
            assert_eq!(parsed.url().expose(), url);
            assert_eq!(credentials.user.as_deref(), user, "{text}");
            assert_eq!(credentials.password.as_deref(), password, "{text}");
            assert_eq!(format!("{parsed:?}"), "RtspUrl({REDACTED})");
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for (text, problem) in [
            ("", RtspProblem::NotAUrl),
            ("192.0.2.10/stream1", RtspProblem::NotAUrl),
            ("http://192.0.2.10/", RtspProblem::NotAUrl),
            ("rtsp://h:65536/", RtspProblem::NotAUrl),
            ("rtsp://[::1/", RtspProblem::NotAUrl),
            ("rtsp://", RtspProblem::Host),
            ("rtsp:h", RtspProblem::Host),
            ("rtsp:///a", RtspProblem::Host),
            ("rtsp://h:0/", RtspProblem::Host),
            ("rtsp://k%C3%BCche/", RtspProblem::Host),
            ("rtsp://h/a#b", RtspProblem::Fragment),
            ("rtsp://admin:%ff@h/", RtspProblem::Credentials),
        ] {
            let Err(found) = RtspUrl::parse(text) else {
                panic!("{text}");
            };
            assert_eq!(found, Problem::Rtsp(problem), "{text}");
        }
    }
}
