//! TLS to Postgres by rustls: chain and host name are verified whenever the connection is encrypted.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::CertificateDer};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::ConnectError;
use crate::files;

/// A connector that trusts the certificates in `root_certificate`, or else the system's.
pub(super) fn connector(root_certificate: Option<&Path>) -> Result<MakeRustlsConnect, ConnectError> {
    let mut roots = RootCertStore::empty();
    match root_certificate {
        Some(path) => {
            for certificate in read(path)? {
                roots.add(certificate).map_err(|error| refused(path, &error.to_string()))?;
            }
        }
        // Certificates of the system that cannot be read are as good as not there: the connection then fails.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let text = files::read_protected(path, files::CERTIFICATES_LIMIT).map_err(|error| match error {
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
