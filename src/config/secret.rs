//! Values that are never printed.

use core::fmt;

/// A value whose `Debug` and `Display` print `{REDACTED}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

/// A password, or a URL with one in it.
pub type SecretString = Secret<String>;

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that sends it. Never log or print it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{REDACTED}")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{REDACTED}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_exposed_only_by_its_name() {
        let secret = SecretString::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "{REDACTED} {REDACTED} {REDACTED}"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
