//! Certificates that a test issues.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Creates an authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes the authority's certificate to a file and returns its path.
    pub fn file(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.pem", super::super::unique("authority")));
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }

    /// Returns the flags with which Redis serves TLS on this port, for the name 127.0.0.1.
    pub fn redis_flags(&self, folder: &Path, port: u16) -> Vec<String> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &self.0)
            .unwrap();
        let (certificate_file, key_file) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&certificate_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let path = |path: &Path| path.display().to_string();
        [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path(&certificate_file)),
            ("--tls-key-file", path(&key_file)),
            ("--tls-ca-cert-file", path(&self.file(folder))),
            ("--tls-auth-clients", "no".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }
}
