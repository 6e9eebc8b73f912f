//! TLS to Postgres with rustls.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{connect_error::ConnectError, postgres_url::Trust};
use latchkey_files as files;

/// Returns a connector that verifies chain and host name.
pub(super) fn verified(trust: &Trust) -> Result<MakeRustlsConnect, ConnectError> {
    let mut roots = RootCertStore::empty();
    let mut pins = Vec::new();
    match trust {
        Trust::File(path) => {
            pins = read(path)?;
            for certificate in &pins {
                roots
                    .add(certificate.clone())
                    .map_err(|_| refused(path, "a certificate in it cannot be used"))?;
            }
        }
        // Unreadable certificates of the system are skipped: the connection then fails.
        Trust::Default | Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(default_provider());
    // The library cannot build a verifier without any authority.
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .ok();
    connector(
        provider.clone(),
        Verifier {
            provider,
            check: Check::Chain { chain, pins },
        },
    )
}

/// Returns the connector for `sslmode=prefer`. Like libpq, it verifies a certificate only if the
/// URL names an authority.
pub(super) fn preferred(trust: &Trust) -> Result<MakeRustlsConnect, ConnectError> {
    if *trust != Trust::Default {
        return verified(trust);
    }
    let provider = Arc::new(default_provider());
    connector(
        provider.clone(),
        Verifier {
            provider,
            check: Check::Nothing,
        },
    )
}

fn connector(
    provider: Arc<CryptoProvider>,
    verifier: Verifier,
) -> Result<MakeRustlsConnect, ConnectError> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    check: Check,
}

#[derive(Debug)]
enum Check {
    /// Chain and name. A certificate in `pins` needs neither.
    Chain {
        chain: Option<Arc<WebPkiServerVerifier>>,
        pins: Vec<CertificateDer<'static>>,
    },
    /// None: the connection is encrypted and not authenticated.
    Nothing,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Check::Chain { chain, pins } = &self.check else {
            return Ok(ServerCertVerified::assertion());
        };
        let result = match chain {
            Some(chain) => chain.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match result {
            // Only the owner of a pinned certificate has its key, so issuer and name do not matter.
            Err(error) if !is_of_time(&error) && pins.iter().any(|pin| pin == certificate) => {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn is_of_time(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let text =
        files::read_protected(path, files::CERTIFICATES_LIMIT).map_err(|error| match error {
            files::FileError::Io(error) => refused(path, &error.to_string()),
            error => refused(path, &error.to_string()),
        })?;
    let blocks = pem::parse_many(&*text).map_err(|error| refused(path, &error.to_string()))?;
    let certificates: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if certificates.is_empty() {
        return Err(refused(path, "no certificate in it"));
    }
    Ok(certificates)
}

fn refused(path: &Path, reason: &str) -> ConnectError {
    ConnectError::Refused(format!("sslrootcert {}: {reason}", path.display()))
}
