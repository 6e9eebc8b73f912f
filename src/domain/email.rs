//! E-mail addresses.

use super::{username::folded, visible::is_hidden};

/// The longest address (RFC 5321, section 4.5.3.1.3).
const MAX_EMAIL: usize = 254;

/// An address as the user wrote it. It is compared by its [`EmailAddress::key`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailAddress(String);

/// The text is not an e-mail address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an e-mail address: expected one like ada@example.com")]
pub struct EmailError;

impl EmailAddress {
    /// Takes what could be delivered: one `@`, a local part, a domain with a dot, nothing blank in between. Whether
    /// somebody reads it only a message can tell.
    ///
    /// # Errors
    /// [`EmailError`].
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let address = text.trim();
        let (local, domain) = address.split_once('@').ok_or(EmailError)?;
        let odd = |c: char| {
            c.is_whitespace() || is_hidden(c) || matches!(c, '@' | '<' | '>' | ',' | ';' | '"')
        };
        let labels_hold = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        if local.is_empty()
            || !labels_hold
            || address.len() > MAX_EMAIL
            || local.chars().chain(domain.chars()).any(odd)
        {
            return Err(EmailError);
        }
        Ok(Self(address.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What must be unique: the address without regard to case.
    #[must_use]
    pub fn key(&self) -> String {
        folded(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::EmailAddress;

    #[test]
    fn addresses_are_told_from_other_text() {
        for good in [
            "ada@example.com",
            " Ada.L+x@sub.example.org ",
            "ü@bücher.example",
        ] {
            assert!(EmailAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
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
            assert!(EmailAddress::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            EmailAddress::parse("Ada@Example.COM").unwrap().key(),
            "ada@example.com"
        );
    }
}
