//! Email addresses.

use super::{username::folded, visible::is_hidden};

/// Maximum length of an address (RFC 5321, section 4.5.3.1.3).
const MAX_EMAIL: usize = 254;

/// Email address as entered. Comparisons use its [`EmailAddress::key`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailAddress(String);

/// The text is not an email address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an e-mail address: expected one like ada@example.com")]
pub struct EmailError;

impl EmailAddress {
    /// Parses an address: one `@`, a local part, and a domain with a dot, without white space or
    /// hidden characters. It does not check that the mailbox exists.
    ///
    /// # Errors
    /// [`EmailError`].
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let address = text.trim();
        let (local, domain) = address.split_once('@').ok_or(EmailError)?;
        let is_invalid = |c: char| {
            c.is_whitespace() || is_hidden(c) || matches!(c, '@' | '<' | '>' | ',' | ';' | '"')
        };
        let has_labels = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        if local.is_empty()
            || !has_labels
            || address.len() > MAX_EMAIL
            || local.chars().chain(domain.chars()).any(is_invalid)
        {
            return Err(EmailError);
        }
        Ok(Self(address.to_owned()))
    }

    /// Returns the address as entered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form that must be unique: the address in lowercase.
    #[must_use]
    pub fn key(&self) -> String {
        folded(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::EmailAddress;

    #[test]
    fn only_addresses_are_accepted() {
        for valid in [
            "ada@example.com",
            " Ada.L+x@sub.example.org ",
            "ü@bücher.example",
        ] {
            assert!(EmailAddress::parse(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a@b@c.de",
            "a b@c.de",
            "a@c..de",
            "<a@c.de>",
            "a\u{202e}b@c.de",
            "a\u{200b}@c.de",
        ] {
            assert!(EmailAddress::parse(invalid).is_err(), "{invalid}");
        }
        assert_eq!(
            EmailAddress::parse("Ada@Example.COM").unwrap().key(),
            "ada@example.com"
        );
    }
}
