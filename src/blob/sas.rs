//! The container's SAS URL: `containerSasUrl` (DESIGN.md section 2).
//!
//! Its query is a secret: `Debug` and `Display` show scheme, host and container only, and errors
//! say what is allowed, never what is there.

use core::fmt;
use core::net::IpAddr;

use url::{Host, Url};

use super::name::percent_encode;
use crate::time::UtcMillis;

/// Longest `containerSasUrl`, bytes.
const URL_MAX: usize = 4096;

/// Before its expiry a SAS is warned of for this long, milliseconds.
const EXPIRY_WARNING: i64 = 7 * 86_400_000;

/// A container and the SAS for it.
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerUrl {
    /// Scheme, host, port and container, without a slash at the end.
    base: String,
    /// The SAS as it was given: decoding and encoding again could break the signature.
    query: String,
    fields: SasFields,
}

/// The fields of a SAS that can be judged without asking the service.
#[derive(Clone, Default, PartialEq, Eq)]
struct SasFields {
    start: Option<UtcMillis>,
    expiry: Option<UtcMillis>,
    permissions: Option<String>,
    resource: Option<String>,
    stored_policy: bool,
}

/// Why a `containerSasUrl` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SasError {
    /// It is no URL, or a very long one.
    NotUrl,
    /// A space or a line end stands within it: the signature would not be the one given.
    WhiteSpace,
    /// Its scheme is another one.
    Scheme,
    /// `http://` to a host that is not this gateway itself.
    PlainHttp,
    /// It has a user name, a password or a fragment.
    Extra,
    /// It does not name one container.
    NotContainer,
    /// It has no signature.
    Unsigned,
    /// It has a parameter that makes the request another operation.
    Operation,
}

impl fmt::Display for SasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUrl => "must be a URL: https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS",
            Self::WhiteSpace => "must have no white space or control character in it",
            Self::Scheme => "must begin with https:// (http:// only to a loopback address)",
            Self::PlainHttp => "must be https://; http:// is allowed to a loopback address only",
            Self::Extra => "must have no user name, password or #fragment",
            Self::NotContainer => {
                "must name one container and no blob: https://ACCOUNT.blob.core.windows.net/\
                 CONTAINER?SAS, 3 to 63 lower-case letters, digits and inner dashes"
            }
            Self::Unsigned => "must carry a SAS: a query with sv=, sp=, se= and sig=",
            Self::Operation => "must not carry restype=, comp= or other parts of an operation",
        })
    }
}

impl core::error::Error for SasError {}

/// What `check` and the state say of a SAS that will not, or not for long, be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SasWarning {
    /// `sp` has neither `c` nor `w`.
    NoRightToCreate,
    /// It is for a blob, not for the container.
    NotForContainer,
    /// It is not valid before this time.
    NotYetValid(UtcMillis),
    /// It expires within 7 days, at this time.
    ExpiresSoon(UtcMillis),
    /// It expired at this time.
    Expired(UtcMillis),
}

impl fmt::Display for SasWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRightToCreate => f.write_str(
                "the SAS has neither the right to create (c) nor to write (w): make one with sp=c",
            ),
            Self::NotForContainer => f.write_str(
                "the SAS is not for a container: make one with sr=c, or an account SAS with srt=o",
            ),
            Self::NotYetValid(at) => write!(f, "the SAS is not valid before {at}"),
            Self::ExpiresSoon(at) => {
                write!(
                    f,
                    "the SAS expires at {at}: put a new one in the configuration in time"
                )
            }
            Self::Expired(at) => {
                write!(
                    f,
                    "the SAS expired at {at}: put a new one in the configuration"
                )
            }
        }
    }
}

/// Where a clock stands to a SAS's validity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SasWindow {
    /// It says nothing, or the clock is not known to be right.
    #[default]
    Unknown,
    /// Before `st`.
    NotYetValid,
    /// Between `st` and `se`.
    Valid,
    /// From `se` on.
    Expired,
}

impl ContainerUrl {
    /// Reads `containerSasUrl`: `https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS`, or with
    /// the account in the path, `https://HOST:PORT/ACCOUNT/CONTAINER?SAS`, as emulators have it.
    ///
    /// # Errors
    ///
    /// The first rule it breaks; never a part of the text.
    pub fn parse(text: &str) -> Result<Self, SasError> {
        // A line end behind the URL is easily copied with it.
        let text = text.trim();
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(SasError::WhiteSpace);
        }
        let url = (text.len() <= URL_MAX).then(|| Url::parse(text));
        let url = url.and_then(Result::ok).ok_or(SasError::NotUrl)?;
        let host = match (url.scheme(), url.host()) {
            ("https" | "http", Some(host)) => host,
            ("https" | "http", None) => return Err(SasError::NotUrl),
            _ => return Err(SasError::Scheme),
        };
        if url.scheme() == "http" && !is_loopback(&host) {
            return Err(SasError::PlainHttp);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(SasError::Extra);
        }
        let path = container_path(&url, &host).ok_or(SasError::NotContainer)?;
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        Ok(Self {
            base: format!("{}://{host}{port}/{path}", url.scheme()),
            fields: SasFields::read(&url)?,
            query: url.query().unwrap_or_default().to_owned(),
        })
    }

    /// The URL of a blob, SAS included: a secret, for the HTTP client only.
    pub fn blob_url(&self, name: &str) -> String {
        format!("{}/{}?{}", self.base, percent_encode(name), self.query)
    }

    /// The URL of the container itself with `parameters` before the SAS, as in
    /// `restype=container&comp=list`: a secret, for the HTTP client only.
    pub fn container_url(&self, parameters: &str) -> String {
        format!("{}?{parameters}&{}", self.base, self.query)
    }

    /// The root of the container's host, without container and SAS: no secret.
    pub fn host_url(&self) -> &str {
        let path = self.base.match_indices('/').nth(2);
        path.and_then(|(at, slash)| self.base.get(..at + slash.len()))
            .unwrap_or(&self.base)
    }

    /// Where `now`, a clock that is right, stands to its validity.
    pub fn window(&self, now: UtcMillis) -> SasWindow {
        match (self.fields.start, self.fields.expiry) {
            (Some(start), _) if now < start => SasWindow::NotYetValid,
            (_, Some(expiry)) if now >= expiry => SasWindow::Expired,
            (_, Some(_)) => SasWindow::Valid,
            (_, None) => SasWindow::Unknown,
        }
    }

    /// What is wrong, or soon will be, with the SAS for uploads; `now` only where the clock is
    /// known to be right.
    pub fn warnings(&self, now: Option<UtcMillis>) -> Vec<SasWarning> {
        let mut warnings = Vec::new();
        if self.lacks_right() {
            warnings.push(SasWarning::NoRightToCreate);
        }
        if self.fields.resource.as_deref().is_some_and(|sr| sr != "c") {
            warnings.push(SasWarning::NotForContainer);
        }
        let Some(now) = now else { return warnings };
        match (self.window(now), self.fields.start, self.fields.expiry) {
            (SasWindow::NotYetValid, Some(at), _) => warnings.push(SasWarning::NotYetValid(at)),
            (SasWindow::Expired, _, Some(at)) => warnings.push(SasWarning::Expired(at)),
            (SasWindow::Valid, _, Some(at)) if at.0.saturating_sub(now.0) < EXPIRY_WARNING => {
                warnings.push(SasWarning::ExpiresSoon(at));
            }
            _ => {}
        }
        warnings
    }

    /// The SAS itself grants this right (`c`, `w`, `l`, `r`, ...).
    pub fn may(&self, right: char) -> bool {
        let permissions = self.fields.permissions.as_deref();
        permissions.is_some_and(|sp| sp.contains(right))
    }

    /// It says its rights itself, not by a stored policy, and none of them lets it create blobs.
    pub fn lacks_right(&self) -> bool {
        !self.fields.stored_policy && !self.may('c') && !self.may('w')
    }

    /// When it expires, where it says so.
    pub fn expiry(&self) -> Option<UtcMillis> {
        self.fields.expiry
    }
}

impl fmt::Display for ContainerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for ContainerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerUrl({})", self.base)
    }
}

impl SasFields {
    fn read(url: &Url) -> Result<Self, SasError> {
        let (mut fields, mut signed) = (Self::default(), false);
        for (key, value) in url.query_pairs() {
            match &*key {
                "sig" => signed = !value.is_empty(),
                "st" => fields.start = UtcMillis::parse(&value),
                "se" => fields.expiry = UtcMillis::parse(&value),
                "sp" => fields.permissions = Some(value.into_owned()),
                "sr" => fields.resource = Some(value.into_owned()),
                "si" => fields.stored_policy = true,
                "restype" | "comp" | "blockid" | "snapshot" | "versionid" | "prefix" => {
                    return Err(SasError::Operation);
                }
                _ => {}
            }
        }
        signed.then_some(fields).ok_or(SasError::Unsigned)
    }
}

/// 127.0.0.0/8, `::1` and `localhost`: what is sent there stays on the gateway.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
    }
}

/// `CONTAINER`, or `ACCOUNT/CONTAINER`.
///
/// An address or a name without a dot cannot tell the account, so the path must; a host of the
/// service's own always tells it. Elsewhere (own domains) both are possible.
fn container_path(url: &Url, host: &Host<&str>) -> Option<String> {
    let path = url.path().strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let (account_in_path, account_in_host) = match host {
        Host::Domain(name) => (!name.contains('.'), name.contains(".blob.")),
        Host::Ipv4(_) | Host::Ipv6(_) => (true, false),
    };
    let (account, container) = match path.split_once('/') {
        Some((account, container)) => (Some(account), container),
        None => (None, path),
    };
    let account_fits = match account {
        Some(account) => {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            !account_in_host && !account.is_empty() && account.bytes().all(plain)
        }
        None => !account_in_path,
    };
    (account_fits && is_container_name(container)).then(|| path.to_owned())
}

/// 3 to 63 lower-case letters, digits and single inner dashes.
fn is_container_name(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !part.is_empty() && part.bytes().all(plain)
    };
    (3..=63).contains(&name.len()) && name.split('-').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAS: &str = "sv=2021-12-02&se=2026-12-01T00%3A00%3A00Z&sr=c&sp=c&sig=a%2Bb%2Fc%3D";

    fn parse(place: &str) -> Result<ContainerUrl, SasError> {
        ContainerUrl::parse(&format!("{place}?{SAS}"))
    }

    #[test]
    fn containers_of_the_service_and_of_emulators() {
        for place in [
            "https://account.blob.core.windows.net/recordings",
            "https://account.z01.blob.storage.azure.net/recordings",
            "https://devstoreaccount1.blob.localhost:10000/recordings",
            "https://127.0.0.1:10000/devstoreaccount1/recordings",
            "https://azurite:10000/devstoreaccount1/recordings",
            "https://video.example.com/recordings",
            "https://azurite.example.com:10000/devstoreaccount1/recordings",
            "http://127.1.2.3:10000/devstoreaccount1/a-1",
            "http://localhost:10000/devstoreaccount1/recordings",
            "http://[::1]:10000/devstoreaccount1/recordings",
        ] {
            let container = parse(place).unwrap();
            assert_eq!(container.to_string(), place);
            assert_eq!(format!("{container:?}"), format!("ContainerUrl({place})"));
            assert_eq!(
                container.blob_url("a b/2026/x.mp4"),
                format!("{place}/a%20b/2026/x.mp4?{SAS}")
            );
            assert_eq!(parse(&format!("{place}/")).as_ref(), Ok(&container));
            let copied = format!(" {place}?{SAS}\r\n");
            assert_eq!(ContainerUrl::parse(&copied).as_ref(), Ok(&container));
        }
        assert_eq!(
            parse("https://a.blob.core.windows.net/abc")
                .unwrap()
                .container_url("comp=list"),
            format!("https://a.blob.core.windows.net/abc?comp=list&{SAS}")
        );
    }

    #[test]
    fn other_urls_are_refused_without_being_shown() {
        for (place, error) in [
            ("", SasError::NotUrl),
            ("account.blob.core.windows.net/recordings", SasError::NotUrl),
            ("https://", SasError::NotUrl),
            ("ftp://a.blob.core.windows.net/abc", SasError::Scheme),
            ("http://a.blob.core.windows.net/abc", SasError::PlainHttp),
            ("http://192.0.2.1/account/abc", SasError::PlainHttp),
            ("http://localhost.example.com/abc", SasError::PlainHttp),
            (
                "https://u:secret@a.blob.core.windows.net/abc",
                SasError::Extra,
            ),
            ("https://a.blob.core.windows.net/", SasError::NotContainer),
            ("https://a.blob.core.windows.net/ab", SasError::NotContainer),
            (
                "https://a.blob.core.windows.net/Abc",
                SasError::NotContainer,
            ),
            (
                "https://a.blob.core.windows.net/a--c",
                SasError::NotContainer,
            ),
            (
                "https://a.blob.core.windows.net/-ac",
                SasError::NotContainer,
            ),
            (
                "https://a.blob.core.windows.net/abc/blob",
                SasError::NotContainer,
            ),
            (
                "https://a.blob.core.windows.net/a%20c",
                SasError::NotContainer,
            ),
            ("https://127.0.0.1:10000/recordings", SasError::NotContainer),
            (
                "https://127.0.0.1:10000//recordings",
                SasError::NotContainer,
            ),
            ("https://127.0.0.1/account/abc/def", SasError::NotContainer),
        ] {
            let refused = parse(place).unwrap_err();
            assert_eq!(refused, error, "{place}");
            assert!(!refused.to_string().contains("secret"));
        }
        let base = "https://a.blob.core.windows.net/abc";
        for (url, error) in [
            (base.to_owned(), SasError::Unsigned),
            (format!("{base}?sp=c&sig="), SasError::Unsigned),
            (format!("{base}?sp=c&SIG=x"), SasError::Unsigned),
            (
                format!("{base}?restype=container&comp=list&{SAS}"),
                SasError::Operation,
            ),
            (format!("{base}?{SAS}#x"), SasError::Extra),
            (format!("{base}?{SAS}%3D \n%3D"), SasError::WhiteSpace),
            (format!("{base}?sp=c&\tsig=x"), SasError::WhiteSpace),
            (
                format!("{base}?{SAS}{}", "x".repeat(URL_MAX)),
                SasError::NotUrl,
            ),
        ] {
            assert_eq!(ContainerUrl::parse(&url), Err(error));
        }
    }

    #[test]
    fn nothing_shows_the_signature() {
        let container = parse("https://a.blob.core.windows.net/abc").unwrap();
        let shown = format!("{container} {container:?} {container:#?}");
        assert!(
            !shown.contains("sig") && !shown.contains("a%2Bb"),
            "{shown}"
        );
    }

    #[test]
    fn the_host_is_named_without_container_and_sas() {
        for (place, host) in [
            (
                "https://a.blob.core.windows.net/abc",
                "https://a.blob.core.windows.net/",
            ),
            (
                "https://127.0.0.1:10000/account/abc",
                "https://127.0.0.1:10000/",
            ),
            ("https://[::1]:10000/account/abc", "https://[::1]:10000/"),
        ] {
            assert_eq!(parse(place).unwrap().host_url(), host);
        }
    }

    #[test]
    fn a_sas_that_will_be_refused_is_warned_of() {
        let at = |text| UtcMillis::parse(text).unwrap();
        let (expiry, start) = (at("2026-12-01"), at("2026-11-20T10:00Z"));
        let (c, soon) = ("sr=c&sp=c", "se=2026-12-01T00:00Z");
        for (query, now, warnings) in [
            (c.to_owned(), None, vec![]),
            (
                format!("{c}&{soon}"),
                Some(at("2026-11-23T23:59:59Z")),
                vec![],
            ),
            (
                format!("{c}&{soon}"),
                Some(at("2026-11-24T00:00:01Z")),
                vec![SasWarning::ExpiresSoon(expiry)],
            ),
            (
                format!("{c}&{soon}"),
                Some(expiry),
                vec![SasWarning::Expired(expiry)],
            ),
            (format!("{c}&{soon}"), None, vec![]),
            (
                format!("{c}&{soon}&st=2026-11-20T10%3A00Z"),
                Some(at("2026-11-20")),
                vec![SasWarning::NotYetValid(start)],
            ),
            (
                "sr=c&sp=rl".to_owned(),
                None,
                vec![SasWarning::NoRightToCreate],
            ),
            ("sr=c&sp=rw".to_owned(), None, vec![]),
            ("sr=c&si=policy".to_owned(), None, vec![]),
            ("ss=b&srt=o&sp=c".to_owned(), None, vec![]),
            (
                "sr=b&sp=cw".to_owned(),
                None,
                vec![SasWarning::NotForContainer],
            ),
        ] {
            let url = format!("https://a.blob.core.windows.net/abc?{query}&sig=x");
            let container = ContainerUrl::parse(&url).unwrap();
            assert_eq!(container.warnings(now), warnings, "{query}");
        }
    }

    #[test]
    fn the_window_of_a_sas() {
        let container = parse("https://a.blob.core.windows.net/abc").unwrap();
        let expiry = container.expiry().unwrap();
        assert_eq!(container.window(expiry), SasWindow::Expired);
        assert_eq!(container.window(UtcMillis(expiry.0 - 1)), SasWindow::Valid);
        assert!(container.may('c') && !container.may('w'));
        let url = "https://a.blob.core.windows.net/abc?sig=x&se=never";
        let container = ContainerUrl::parse(url).unwrap();
        assert_eq!(container.window(expiry), SasWindow::Unknown);
    }
}
