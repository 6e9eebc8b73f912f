//! What keys at rest are encrypted with: PKCS#8's PBES2 (RFC 8018, section 6.2) with scrypt and AES-256-CBC, as `openssl
//! pkcs8 -scrypt` writes and reads it.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use pem::Pem;
use pkcs8::{
    EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef,
    der::{Encode as _, asn1::OctetString},
    pkcs5::{
        EncryptionScheme,
        pbes2::{self, Kdf},
        scrypt,
    },
};
use zeroize::Zeroizing;

use super::{random, signing_key::MaterialError};

/// The shortest that is taken, in bytes.
const SHORTEST: usize = 16;
const LONGEST: u64 = 4096;

/// A key of others may ask for much more work than ours; there is an end to it.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
const MOST_ITERATIONS: u32 = 10_000_000;

/// A passphrase, or the bytes of a key file. Wiped when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Why a passphrase cannot be used. The texts follow the name of a file.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file.
    #[error("cannot be read ({0})")]
    Io(#[from] std::io::Error),
    /// Everybody can read it.
    #[error("has the mode {0:04o}, so everybody can read it: run chmod 640 on it")]
    Mode(u32),
    /// Too long.
    #[error("holds more than {LONGEST} bytes")]
    Long,
    /// Too short.
    #[error(
        "holds a passphrase of {0} bytes: at least {SHORTEST}, such as those that `openssl rand -base64 32` prints"
    )]
    Short(usize),
}

impl Passphrase {
    /// What a file holds, without the newline at its end.
    ///
    /// # Errors
    /// When it cannot be read, or holds too little.
    pub fn from_file(path: &Path) -> Result<Self, PassphraseError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or_default() + 1));
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        if mode & 0o007 != 0 {
            return Err(PassphraseError::Mode(mode));
        }
        if bytes.len() as u64 > LONGEST {
            return Err(PassphraseError::Long);
        }
        while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.len() < SHORTEST {
            return Err(PassphraseError::Short(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The block with its contents encrypted, and its label saying so.
    ///
    /// # Errors
    /// [`MaterialError::Generate`] when there is no randomness.
    pub(super) fn wrap(&self, label: &str, contents: &[u8]) -> Result<Pem, MaterialError> {
        let failed = || MaterialError::Generate;
        let salt = random::bytes::<16>().map_err(|_| failed())?;
        let iv = random::bytes::<16>().map_err(|_| failed())?;
        // 16 MiB and some 50 ms: what OpenSSL can read. A passphrase out of a generator needs no more.
        let cost = scrypt::Params::new(14, 8, 1).map_err(|_| failed())?;
        let scheme = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|_| failed())?;
        let sealed = scheme.encrypt(&*self.0, contents).map_err(|_| failed())?;
        let encrypted_data = OctetString::new(sealed).map_err(|_| failed())?;
        let info = EncryptedPrivateKeyInfoOwned { encryption_algorithm: scheme.into(), encrypted_data };
        Ok(Pem::new(format!("ENCRYPTED {label}"), info.to_der().map_err(|_| failed())?))
    }

    /// The contents of an encrypted block. `None` for another passphrase, and for a block that is damaged: the scheme
    /// does not tell them apart. Nor is a wrong passphrase always found out here; the key that comes out is another then.
    pub(super) fn unwrap(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let info = EncryptedPrivateKeyInfoRef::try_from(sealed).ok()?;
        let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else { return None };
        if !is_bounded(&scheme.kdf) {
            return None;
        }
        scheme.decrypt(&*self.0, info.encrypted_data.as_bytes()).ok().map(Zeroizing::new)
    }
}

/// Changes when the file does.
#[must_use]
pub fn version(path: &Path) -> String {
    let version = |file: fs::Metadata| format!("{} {} {}.{}", file.ino(), file.len(), file.ctime(), file.ctime_nsec());
    fs::metadata(path).map(version).unwrap_or_default()
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

fn is_bounded(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Scrypt(scrypt) => {
            let memory = scrypt.cost_parameter.checked_mul(u64::from(scrypt.block_size) * 128);
            memory.is_some_and(|memory| memory <= MOST_MEMORY) && scrypt.parallelization <= 16
        }
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MOST_ITERATIONS,
        _ => false,
    }
}

#[cfg(test)]
#[path = "passphrase_tests.rs"]
mod tests;
