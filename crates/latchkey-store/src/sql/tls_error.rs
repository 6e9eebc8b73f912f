//! TLS errors with their remedies.

use rustls::{CertificateError, Error as TlsError};

use super::connect_error::ConnectError;

/// Returns the error of a failed handshake, with its remedy.
pub(super) fn tls_meaning(error: &TlsError) -> ConnectError {
    match error {
        TlsError::InvalidCertificate(error) => ConnectError::Refused(of_certificate(error)),
        TlsError::AlertReceived(_) => ConnectError::Unreachable("the server refused the TLS handshake".to_owned()),
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => {
            ConnectError::Unreachable("the server sent something other than TLS".to_owned())
        }
        TlsError::PeerIncompatible(_) => ConnectError::Refused(
            "the server offers no version of TLS with a cipher that is safe: allow TLS 1.2 or 1.3 on the server"
                .to_owned(),
        ),
        _ => ConnectError::Unreachable("the TLS handshake failed".to_owned()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "the certificate of the server is from an authority that is not trusted: \
             set sslrootcert=PATH in the URL to the file with the authority's certificate"
            .to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the certificate of the server is not valid for name \"{}\", but for {}: connect by the name that is in the certificate",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::NotValidForName => "the certificate of the server is not valid for name and address of the URL: \
             connect by the name that is in the certificate"
            .to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the server has expired: renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the server is not valid yet: correct the clocks of both machines".to_owned()
        }
        CertificateError::BadSignature => "the signature of the server's certificate is not from the authority of that name: set \
             sslrootcert=PATH in the URL to the file with the authority's certificate"
            .to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate of the server is not for servers: create one with extendedKeyUsage=serverAuth".to_owned()
        }
        CertificateError::Revoked => "the certificate of the server is revoked: replace it".to_owned(),
        _ if is_of_authority(error) => "the certificate of the server is one of an authority (CA:TRUE): create one with \
             basicConstraints=critical,CA:FALSE, or trust it alone: copy it and name the copy by sslrootcert=PATH in the URL"
            .to_owned(),
        _ => "the certificate of the server cannot be verified: create another (docs/guides/postgres.md), or trust it alone: copy \
              it and name the copy by sslrootcert=PATH in the URL"
            .to_owned(),
    }
}

/// Returns true for a CA certificate. The library has no error variant for it.
fn is_of_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Returns the names without the library's notation.
fn names(presented: &[String]) -> String {
    let names: Vec<&str> = presented
        .iter()
        .map(|name| name.split('"').nth(1).unwrap_or(name))
        .collect();
    if names.is_empty() {
        "no name".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_a_plain_sentence() {
        let certificate = [
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ApplicationVerificationFailure,
            CertificateError::NotValidForName,
        ];
        let errors = certificate.into_iter().map(TlsError::InvalidCertificate);
        for error in errors.chain([TlsError::DecryptError, TlsError::General("x".to_owned())]) {
            let text = tls_meaning(&error).to_string();
            assert!(
                !text.contains(&format!("{error:?}")) && text.starts_with("the "),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_shown_without_their_kind() {
        assert_eq!(
            names(&["DnsName(\"db.example\")".to_owned(), "plain".to_owned()]),
            "db.example, plain"
        );
        assert_eq!(names(&[]), "no name");
    }
}
