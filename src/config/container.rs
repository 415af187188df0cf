//! `containerSasUrl`: a container of Blob storage, and the right to write into it.

use core::fmt;

use url::{Host, Url};

use super::secret::SecretString;

/// A container with its SAS (shared access signature).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    sas_url: SecretString,
}

impl Container {
    pub(super) fn parse(text: &str) -> Result<Self, ContainerProblem> {
        // A line end at the end is easily copied with the URL.
        let text = text.trim();
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(ContainerProblem::WhiteSpace);
        }
        let url = Url::parse(text).map_err(|_| ContainerProblem::NotAUrl)?;
        match (url.scheme(), url.host()) {
            ("https", Some(_)) => {}
            ("http", Some(host)) if is_loopback(&host) => {}
            ("http", Some(_)) => return Err(ContainerProblem::PlainHttp),
            _ => return Err(ContainerProblem::NotAUrl),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(ContainerProblem::NotAUrl);
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(ContainerProblem::NoContainer);
        }
        if !url
            .query_pairs()
            .any(|(key, value)| key == "sig" && !value.is_empty())
        {
            return Err(ContainerProblem::NoSignature);
        }
        Ok(Self {
            sas_url: SecretString::new(text.to_owned()),
        })
    }

    /// The URL with its SAS.
    pub const fn sas_url(&self) -> &SecretString {
        &self.sas_url
    }

    /// The URL without its SAS, which may be shown.
    pub fn without_secrets(&self) -> &str {
        let url = self.sas_url.expose();
        url.split_once('?').map_or(url, |(before, _)| before)
    }

    /// When the SAS expires (`se`), in ISO 8601; none if a stored access policy says so.
    pub fn expiry(&self) -> Option<String> {
        self.field("se").filter(|expiry| is_iso_8601(expiry))
    }

    /// False if the SAS (`sp`) does not let new blobs be made; a stored access policy may.
    pub fn may_create(&self) -> bool {
        self.field("sp")
            .is_none_or(|rights| rights.contains(['c', 'w']))
    }

    fn field(&self, key: &str) -> Option<String> {
        let url = Url::parse(self.sas_url.expose()).ok()?;
        let (_, value) = url.query_pairs().find(|(name, _)| name == key)?;
        Some(value.into_owned())
    }
}

/// `2026-11-21`, alone or with a time of day and `Z` (a service SAS allows no other forms).
fn is_iso_8601(text: &str) -> bool {
    let form = "0000-00-00T00:00:00.0000000Z";
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let fits = |(found, form): (char, char)| match form {
        '0' => found.is_ascii_digit(),
        _ => found == form,
    };
    (10..form.len()).contains(&digits.len()) && digits.chars().zip(form.chars()).all(fits)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Why a `containerSasUrl` is wrong. The value is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerProblem {
    /// A space or line end within it.
    WhiteSpace,
    /// Not a URL of the right form.
    NotAUrl,
    /// `http://` to another computer.
    PlainHttp,
    /// No container is named.
    NoContainer,
    /// The query has no `sig`.
    NoSignature,
}

impl fmt::Display for ContainerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhiteSpace => "the URL has white space in it",
            Self::NotAUrl => "the value is not a URL of the allowed form",
            Self::PlainHttp => "http:// is allowed to a loopback address only",
            Self::NoContainer => "the URL names no container",
            Self::NoSignature => "the URL has no SAS: its query has no sig",
        })?;
        f.write_str("; allowed is https://ACCOUNT.blob.core.windows.net/CONTAINER?...&sig=...")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_urls_are_kept_as_they_are() {
        for (url, shown) in [
            (
                "https://a.blob.core.windows.net/c?sp=c&sig=x%2By%3D",
                "https://a.blob.core.windows.net/c",
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1/c?sig=x",
                "http://127.0.0.1:10000/devstoreaccount1/c",
            ),
            ("http://127.9.9.9/c?sig=x", "http://127.9.9.9/c"),
            ("http://[::1]:10000/c?sig=x", "http://[::1]:10000/c"),
            ("http://localhost/c/?sig=x", "http://localhost/c/"),
        ] {
            let container = Container::parse(&format!("{url}\r\n")).unwrap();
            assert_eq!(container.sas_url().expose(), url);
            assert_eq!(container.without_secrets(), shown);
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for (url, problem) in [
            ("", ContainerProblem::NotAUrl),
            ("a.blob.core.windows.net/c?sig=x", ContainerProblem::NotAUrl),
            ("ftp://a/c?sig=x", ContainerProblem::NotAUrl),
            ("https://user@a/c?sig=x", ContainerProblem::NotAUrl),
            ("https://:password@a/c?sig=x", ContainerProblem::NotAUrl),
            ("https://a/c?sig=x#y", ContainerProblem::NotAUrl),
            ("https://a/c?sig=x y", ContainerProblem::WhiteSpace),
            ("https://a/c?\tsig=x", ContainerProblem::WhiteSpace),
            (
                "http://a.blob.core.windows.net/c?sig=x",
                ContainerProblem::PlainHttp,
            ),
            ("http://192.168.0.1/c?sig=x", ContainerProblem::PlainHttp),
            (
                "http://localhost.example/c?sig=x",
                ContainerProblem::PlainHttp,
            ),
            ("http://[::2]/c?sig=x", ContainerProblem::PlainHttp),
            ("https://a?sig=x", ContainerProblem::NoContainer),
            ("https://a//?sig=x", ContainerProblem::NoContainer),
            ("https://a/c", ContainerProblem::NoSignature),
            ("https://a/c?sig=&sp=c", ContainerProblem::NoSignature),
            ("https://a/c?SIG=x", ContainerProblem::NoSignature),
        ] {
            assert_eq!(Container::parse(url).unwrap_err(), problem, "{url}");
        }
    }

    #[test]
    fn expiry_and_rights_are_read() {
        for (query, expiry, may_create) in [
            ("sig=x", None, true),
            ("sig=x&se=2030-01-01&sp=c", Some("2030-01-01"), true),
            (
                "sig=x&se=2030-01-01T00%3A00Z&sp=rl",
                Some("2030-01-01T00:00Z"),
                false,
            ),
            (
                "sig=x&se=2030-01-01T00:00:00Z&sp=rwl",
                Some("2030-01-01T00:00:00Z"),
                true,
            ),
            ("sig=x&se=tomorrow", None, true),
            ("sig=x&se=2030-01-01%0Ahidden", None, true),
        ] {
            let container = Container::parse(&format!("https://a/c?{query}")).unwrap();
            assert_eq!(container.expiry().as_deref(), expiry, "{query}");
            assert_eq!(container.may_create(), may_create, "{query}");
        }
    }
}
