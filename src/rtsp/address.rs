//! Where a camera is: `rtspUrl` read once, and the control URLs of its answers joined to it
//! (RFC 2326 sections 3.2 and C.1.1).

use core::fmt;

use url::{Host, Url};

use super::auth::Credentials;

/// Ports of `rtsp://` and `rtsps://` (RFC 2326 section 3.2, IANA).
const RTSP_PORT: u16 = 554;
const RTSPS_PORT: u16 = 322;

/// The address of one stream, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraAddress {
    url: Url,
}

impl CameraAddress {
    /// Reads an `rtspUrl`. Credentials in it (`rtsp://user:password@host/`, with `%` escapes or
    /// without) are handed back apart.
    ///
    /// # Errors
    ///
    /// The first rule it breaks; never a part of the text.
    pub fn parse(text: &str) -> Result<(Self, Option<Credentials>), AddressError> {
        let url = Url::parse(text.trim()).map_err(|_| AddressError::Syntax)?;
        let address = Self::of(url.clone())?;
        // An unescaped # in a password ends the URL; no camera needs a fragment.
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        Ok((address, credentials(&url)?))
    }

    /// The address in a URL whose credentials and fragment mean nothing.
    fn of(mut url: Url) -> Result<Self, AddressError> {
        if !matches!(url.scheme(), "rtsp" | "rtsps") {
            return Err(AddressError::Scheme);
        }
        match url.host() {
            Some(Host::Domain(name)) if is_host_name(name) => {}
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            _ => return Err(AddressError::Host),
        }
        if url.port() == Some(0) {
            return Err(AddressError::Port);
        }
        remove_credentials(&mut url);
        url.set_fragment(None);
        Ok(Self { url })
    }

    /// Name or IP address of the camera; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let host = self.url.host_str().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// TCP port; 554, or 322 for `rtsps://`, where none is given.
    pub fn port(&self) -> u16 {
        let default = if self.is_tls() { RTSPS_PORT } else { RTSP_PORT };
        self.url.port().unwrap_or(default)
    }

    /// It is an `rtsps://` address.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "rtsps"
    }

    /// The URL as requests name it, query included. Some cameras take passwords in path or query:
    /// not for the log.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where a redirection leads; relative to here.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, AddressError> {
        let joined = self.url.join(location.trim());
        joined.map_err(|_| AddressError::Syntax).and_then(Self::of)
    }

    /// Same scheme, host and port: what was secret between us stays so.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }
}

/// Host and port only: path and query may hold passwords.
impl fmt::Debug for CameraAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraAddress({}:{})", self.host(), self.port())
    }
}

/// Why a text is no camera's address. Never shows the text: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is no URL.
    Syntax,
    /// It begins neither with `rtsp://` nor with `rtsps://`.
    Scheme,
    /// Its host is neither a name nor an address.
    Host,
    /// Port 0.
    Port,
    /// It has a `#`.
    Fragment,
    /// User name or password is not UTF-8.
    Credentials,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => {
                "is no URL of the form rtsp://host:port/path (in user name and password, write \
                 / as %2F, ? as %3F and # as %23)"
            }
            Self::Scheme => "begins neither with rtsp:// nor with rtsps://",
            Self::Host => "has no host name or address, as in rtsp://host:port/path",
            Self::Port => "has port 0; 1 to 65535 are allowed",
            Self::Fragment => "has a #; in user name and password, write it as %23",
            Self::Credentials => {
                "has a user name or password that is not UTF-8; write them in rtspUserName and \
                 rtspPassword"
            }
        })
    }
}

impl core::error::Error for AddressError {}

/// The base of all control URLs: Content-Base, else Content-Location, else the URL asked for
/// (RFC 2326 section C.1.1). A header that makes no sense is passed over.
pub(super) fn base_url(
    content_base: Option<&str>,
    content_location: Option<&str>,
    requested: &Url,
) -> Url {
    [content_base, content_location]
        .into_iter()
        .flatten()
        .find_map(|text| base_from(text, requested))
        .unwrap_or_else(|| requested.clone())
}

/// Joins a track's `a=control` to the base.
///
/// Not by RFC 3986, which would drop the last part of the path: cameras mean "behind the base",
/// with one slash between, even if the base ends in a query (Dahua, Hikvision).
pub(super) fn control_url(base: &Url, control: &str) -> Url {
    let control = control.trim();
    if control.is_empty() || control == "*" {
        return base.clone();
    }
    if has_rtsp_scheme(control) {
        return repaired(control, base).unwrap_or_else(|| base.clone());
    }
    let mut text = base.as_str().to_owned();
    if control.starts_with('?') {
        // Sony, FLIR: only a query.
        return Url::parse(&(text + control)).unwrap_or_else(|_| base.clone());
    }
    if !text.ends_with('/') {
        text.push('/');
    }
    text.push_str(control.strip_prefix('/').unwrap_or(control));
    Url::parse(&text).unwrap_or_else(|_| base.clone())
}

fn base_from(text: &str, requested: &Url) -> Option<Url> {
    let text = text.trim().trim_matches('"');
    if text.is_empty() || text == "*" {
        return None;
    }
    if has_rtsp_scheme(text) {
        return repaired(text, requested);
    }
    let scheme = requested.scheme();
    if text.starts_with('/') {
        return requested.join(text).ok();
    }
    // Anjvision (moonfire-nvr#356): host and path without a scheme.
    let first = text.split('/').next().unwrap_or_default();
    if first.contains(['.', ':']) {
        return repaired(&format!("{scheme}://{text}"), requested);
    }
    None
}

/// Reads an absolute URL; its credentials are dropped, and its host is taken from `requested`
/// where it makes no sense.
fn repaired(text: &str, requested: &Url) -> Option<Url> {
    let (scheme, mut rest) = text.split_once("://")?;
    // Reolink, turret cameras (go2rtc#830): the scheme twice.
    while has_rtsp_scheme(rest) {
        rest = rest.split_once("://")?.1;
    }
    let text = format!("{scheme}://{rest}");
    let mut url = match Url::parse(&text) {
        Ok(url) if url.has_host() => url,
        _ => {
            // go2rtc#208: an IPv4-mapped IPv6 address without brackets.
            let path = rest.find(['/', '?']).and_then(|at| rest.get(at..));
            let authority = requested.as_str().split_once("://")?.1;
            let authority = authority.split(['/', '?']).next().unwrap_or_default();
            Url::parse(&format!(
                "{scheme}://{authority}{}",
                path.unwrap_or_default()
            ))
            .ok()?
        }
    };
    remove_credentials(&mut url);
    Some(url)
}

fn has_rtsp_scheme(text: &str) -> bool {
    ["rtsp://", "rtsps://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

fn remove_credentials(url: &mut Url) {
    // Both fail only where there is no host, and so no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Letters of any case, digits, and what else names in a local network have.
fn is_host_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(allowed)
}

fn credentials(url: &Url) -> Result<Option<Credentials>, AddressError> {
    let user = percent_decoded(url.username())?;
    let password = url.password().map(percent_decoded).transpose()?;
    Ok((!user.is_empty() || password.is_some())
        .then(|| Credentials::new(user, password.unwrap_or_default())))
}

/// Decodes `%41` (RFC 3986 section 2.1); a `%` that begins no escape stays as it is.
fn percent_decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, tail @ ..] => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, tail)),
            _ => None,
        };
        let (byte, tail) = escape.unwrap_or((*byte, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Credentials)
}

/// Value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, host, port, tls, url) in [
            (
                "rtsp://192.0.2.1/a",
                "192.0.2.1",
                554,
                false,
                "rtsp://192.0.2.1/a",
            ),
            (
                " rtsp://cam_1.lan:8554//a?b=c&d=%20\n",
                "cam_1.lan",
                8554,
                false,
                "rtsp://cam_1.lan:8554//a?b=c&d=%20",
            ),
            (
                "RTSPS://[2001:db8::1]/",
                "2001:db8::1",
                322,
                true,
                "rtsps://[2001:db8::1]/",
            ),
            (
                "rtsp://u:p@192.0.2.1",
                "192.0.2.1",
                554,
                false,
                "rtsp://192.0.2.1",
            ),
        ] {
            let (address, _) = CameraAddress::parse(text).unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(
                (address.is_tls(), address.url().as_str()),
                (tls, url),
                "{text}"
            );
        }
        for (text, error) in [
            ("", AddressError::Syntax),
            ("192.0.2.1/a", AddressError::Syntax),
            ("http://192.0.2.1/a", AddressError::Scheme),
            ("rtsp:///a", AddressError::Host),
            ("rtsp://192.0.2.1:0/a", AddressError::Port),
            ("rtsp://192.0.2.1:65536/a", AddressError::Syntax),
            ("rtsp://u:p#w@192.0.2.1/a", AddressError::Syntax),
            ("rtsp://u:p/w@192.0.2.1/a", AddressError::Syntax),
            ("rtsp://[::1/", AddressError::Syntax),
            ("rtsp://", AddressError::Host),
            ("rtsp:h", AddressError::Host),
            ("rtsp://k%C3%BCche/", AddressError::Host),
            ("rtsp://u:1#w@192.0.2.1/a", AddressError::Fragment),
            ("rtsp://192.0.2.1/a#b", AddressError::Fragment),
            ("rtsp://u:%ff@192.0.2.1/", AddressError::Credentials),
            ("rtsp://%ff@192.0.2.1/", AddressError::Credentials),
        ] {
            assert_eq!(CameraAddress::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_decoded() {
        for (userinfo, user, password) in [
            ("admin:secret", "admin", "secret"),
            ("admin:p%40ss%3aword", "admin", "p@ss:word"),
            ("admin:p@ss:word", "admin", "p@ss:word"),
            ("admin:100%", "admin", "100%"),
            ("admin", "admin", ""),
            (":secret", "", "secret"),
            ("j%C3%BCrgen:pä%ss", "jürgen", "pä%ss"),
        ] {
            let (address, credentials) =
                CameraAddress::parse(&format!("rtsp://{userinfo}@192.0.2.1/a?x=1")).unwrap();
            assert_eq!(
                credentials,
                Some(Credentials::new(user, password)),
                "{userinfo}"
            );
            assert_eq!(address.url().as_str(), "rtsp://192.0.2.1/a?x=1");
            assert_eq!(format!("{address:?}"), "CameraAddress(192.0.2.1:554)");
        }
        assert_eq!(CameraAddress::parse("rtsp://192.0.2.1/").unwrap().1, None);
    }

    #[test]
    fn redirections_lead_on() {
        let (from, _) = CameraAddress::parse("rtsp://192.0.2.1/a/b").unwrap();
        for (location, url, same) in [
            ("rtsp://192.0.2.1:554/c", "rtsp://192.0.2.1:554/c", true),
            ("/c", "rtsp://192.0.2.1/c", true),
            ("/c#d", "rtsp://192.0.2.1/c", true),
            ("rtsp://u:%ff@192.0.2.1/c", "rtsp://192.0.2.1/c", true),
            ("rtsp://u:p@192.0.2.2/c", "rtsp://192.0.2.2/c", false),
            ("rtsp://192.0.2.1:8554/c", "rtsp://192.0.2.1:8554/c", false),
            ("rtsps://192.0.2.1:554/c", "rtsps://192.0.2.1:554/c", false),
        ] {
            let to = from.redirected(location).unwrap();
            assert_eq!(to.url().as_str(), url, "{location}");
            assert_eq!(from.is_same_server(&to), same, "{location}");
        }
        assert_eq!(
            from.redirected("http://192.0.2.1/"),
            Err(AddressError::Scheme)
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table, one row a camera")]
    fn control_urls_are_joined_as_cameras_mean_it() {
        let requested = "rtsp://192.0.2.1:554/stream1";
        // Content-Base, Content-Location, control, result.
        for (base, location, control, url) in [
            // live555, Hikvision: a base that ends with a slash.
            (
                "rtsp://192.0.2.1:554/stream1/",
                "",
                "trackID=1",
                "rtsp://192.0.2.1:554/stream1/trackID=1",
            ),
            // No header; RFC 3986 would drop "stream1".
            (
                "",
                "",
                "trackID=1",
                "rtsp://192.0.2.1:554/stream1/trackID=1",
            ),
            ("", "", "*", "rtsp://192.0.2.1:554/stream1"),
            ("", "", "", "rtsp://192.0.2.1:554/stream1"),
            // gst-rtsp-server.
            (
                "rtsp://192.0.2.1:554/stream1/",
                "",
                "stream=0",
                "rtsp://192.0.2.1:554/stream1/stream=0",
            ),
            // Dahua: a query in the base.
            (
                "rtsp://192.0.2.1:554/cam/realmonitor?channel=1&subtype=0/",
                "",
                "trackID=0",
                "rtsp://192.0.2.1:554/cam/realmonitor?channel=1&subtype=0/trackID=0",
            ),
            (
                "rtsp://192.0.2.1:554/cam/realmonitor?channel=1&subtype=0",
                "",
                "trackID=0",
                "rtsp://192.0.2.1:554/cam/realmonitor?channel=1&subtype=0/trackID=0",
            ),
            // A query as control.
            (
                "",
                "",
                "?ctype=video",
                "rtsp://192.0.2.1:554/stream1?ctype=video",
            ),
            // VLC: absolute control URLs.
            (
                "",
                "",
                "rtsp://192.0.2.1:8554/a/trackID=4",
                "rtsp://192.0.2.1:8554/a/trackID=4",
            ),
            ("", "", "RTSP://192.0.2.1/x", "rtsp://192.0.2.1/x"),
            ("", "", "rtsp://u:p@192.0.2.1/x", "rtsp://192.0.2.1/x"),
            // Only Content-Location.
            ("", "rtsp://192.0.2.9/b/", "c", "rtsp://192.0.2.9/b/c"),
            (
                "rtsp://192.0.2.8/b",
                "rtsp://192.0.2.9/b/",
                "c",
                "rtsp://192.0.2.8/b/c",
            ),
            // go2rtc#1236: double slashes stay.
            (
                "rtsp://192.0.2.1//live//",
                "",
                "c",
                "rtsp://192.0.2.1//live//c",
            ),
            (
                "",
                "",
                "/trackID=1",
                "rtsp://192.0.2.1:554/stream1/trackID=1",
            ),
            // Anjvision: no scheme.
            (
                "192.0.2.1:554/stream1/",
                "",
                "c",
                "rtsp://192.0.2.1:554/stream1/c",
            ),
            // The scheme twice.
            (
                "rtsp://rtsp://cam.lan:554/s/",
                "",
                "c",
                "rtsp://cam.lan:554/s/c",
            ),
            // An IPv6 address without brackets.
            (
                "rtsp://::ffff:192.0.2.1/onvif/profile.1/",
                "",
                "c",
                "rtsp://192.0.2.1:554/onvif/profile.1/c",
            ),
            // Relative, and nonsense.
            ("/b/", "", "c", "rtsp://192.0.2.1:554/b/c"),
            ("nonsense", "", "c", "rtsp://192.0.2.1:554/stream1/c"),
            (
                "rtsp://192.0.2.1:99999/b/",
                "",
                "c",
                "rtsp://192.0.2.1:554/b/c",
            ),
            ("\"rtsp://192.0.2.1/b/\"", "", "c", "rtsp://192.0.2.1/b/c"),
        ] {
            let requested = Url::parse(requested).unwrap();
            let some = |text: &'static str| (!text.is_empty()).then_some(text);
            let base_url = base_url(some(base), some(location), &requested);
            let joined = control_url(&base_url, control);
            assert_eq!(joined.as_str(), url, "{base:?} {location:?} {control:?}");
        }
    }
}
