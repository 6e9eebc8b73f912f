//! Encryption of stored keys: PBES2 of PKCS#8 (RFC 8018, section 6.2) with scrypt and AES-256-CBC.
//!
//! Keys written by `openssl pkcs8 -scrypt` can be read. OpenSSL cannot read keys written here,
//! because its memory limit for scrypt is lower.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use pem::Pem;
use pkcs8::{
    EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef,
    der::{Encode as _, asn1::OctetString},
    pkcs5::{
        EncryptionScheme,
        pbes2::{self, Kdf, Pbkdf2Prf},
        scrypt,
    },
};
use zeroize::Zeroizing;

use super::{guessable::is_guessable, key_der, random, signing_key::MaterialError};
use latchkey_files as files;
use latchkey_files::reserve;

/// Cost of one guess with scrypt, with r = 8 and p = 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrappingCost {
    log_n: u8,
}

impl WrappingCost {
    /// OWASP's first choice, N = 2^17: 128 MiB and about 0.3 s. Stored keys are encrypted at this
    /// cost.
    pub const OWASP: Self = Self { log_n: 17 };

    /// N = 2^`log_n`, for tests that encrypt many keys.
    #[must_use]
    pub const fn new(log_n: u8) -> Self {
        Self { log_n }
    }
}

/// Minimum number of guesses for a passphrase, as a power of ten. At [`WrappingCost::OWASP`] it
/// takes thousands of years on one machine.
const MIN_GUESSES: f64 = 12.0;

/// Minimum length in bytes.
const MIN_LENGTH: usize = 16;
const MAX_LENGTH: u64 = 4096;

/// Limits for the decryption of foreign keys, which may have a much higher cost.
const MAX_MEMORY: u64 = 256 * 1024 * 1024;
const MAX_ITERATIONS: u32 = 10_000_000;

/// Passphrase or contents of a key file, with the cost of encryption. Zeroed when dropped.
///
/// Programs interpret passphrase files differently, so decryption also tries the other
/// interpretations.
#[derive(Clone, Eq, PartialEq)]
pub struct Passphrase {
    bytes: Zeroizing<Vec<u8>>,
    cost: WrappingCost,
    others: Vec<Zeroizing<Vec<u8>>>,
}

/// Reason for which a passphrase cannot be used. The texts follow the name of a file.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file cannot be read.
    #[error("cannot be read ({0})")]
    Io(#[from] io::Error),
    /// Every user can read the file.
    #[error("has the mode {0:04o}, so every user can read it: run chmod o-rwx on it")]
    Mode(u32),
    /// The passphrase is too long.
    #[error("holds more than {MAX_LENGTH} bytes")]
    Long,
    /// The passphrase is too short.
    #[error(
        "holds a passphrase of {0} bytes: expected at least {MIN_LENGTH}, such as the output of `openssl rand -base64 32`"
    )]
    Short(usize),
    /// The passphrase is guessable.
    #[error(
        "holds a passphrase that can be guessed: expected random characters, such as the output of `openssl rand -base64 32`; \
         replace it with latchkey keys rewrap --new-passphrase-file"
    )]
    Weak,
}

impl Passphrase {
    /// Reads a passphrase for encryption from a file. A newline at its end is removed.
    ///
    /// # Errors
    /// The file cannot be read, or the passphrase is too short or guessable.
    pub fn from_file(path: &Path) -> Result<Self, PassphraseError> {
        let passphrase = Self::from_file_to_open(path)?;
        if is_guessable(&passphrase.bytes, MIN_GUESSES) {
            Err(PassphraseError::Weak)
        } else {
            Ok(passphrase)
        }
    }

    /// Like [`from_file`](Self::from_file), for decryption: a guessable passphrase is accepted.
    ///
    /// # Errors
    /// The file cannot be read, or the passphrase is too short.
    pub fn from_file_to_open(path: &Path) -> Result<Self, PassphraseError> {
        let passphrase = Self::of_foreign_key(path)?;
        match passphrase.bytes.len() {
            length if length < MIN_LENGTH => Err(PassphraseError::Short(length)),
            _ => Ok(passphrase),
        }
    }

    /// Like [`from_file`](Self::from_file), for a key that another program encrypted: any
    /// passphrase is accepted.
    ///
    /// # Errors
    /// The file cannot be read or is empty.
    pub fn of_foreign_key(path: &Path) -> Result<Self, PassphraseError> {
        let (exposed, bytes) = reserve::with_reserve(|| read(path))?;
        if let Some(mode) = exposed {
            return Err(PassphraseError::Mode(mode));
        }
        if bytes.len() as u64 > MAX_LENGTH {
            return Err(PassphraseError::Long);
        }
        // Other interpretations: with the byte order mark, and the first line, as in `openssl
        // -passin file:`.
        let raw = without_line_end(bytes.clone());
        let first = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = Zeroizing::new(first.strip_suffix(b"\r").unwrap_or(first).to_vec());
        let bytes = without_line_end(files::without_mark(bytes));
        if bytes.is_empty() {
            return Err(PassphraseError::Short(0));
        }
        let mut others = vec![raw, first];
        others.retain(|other| *other != bytes && !other.is_empty());
        others.dedup();
        Ok(Self {
            bytes,
            cost: WrappingCost::OWASP,
            others,
        })
    }

    /// Returns the same passphrase with another cost of encryption.
    #[must_use]
    pub fn at(self, cost: WrappingCost) -> Self {
        Self { cost, ..self }
    }

    /// Encrypts the contents of a PEM block, and adapts its label.
    ///
    /// # Errors
    /// [`MaterialError::Generate`] if there are no random bytes.
    pub(super) fn wrap(&self, label: &str, contents: &[u8]) -> Result<Pem, MaterialError> {
        let failed = || MaterialError::Generate;
        let salt = random::bytes::<16>().map_err(|_| failed())?;
        let iv = random::bytes::<16>().map_err(|_| failed())?;
        let cost = scrypt::Params::new(self.cost.log_n, 8, 1).map_err(|_| failed())?;
        let scheme =
            pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|_| failed())?;
        let sealed = scheme
            .encrypt(&*self.bytes, contents)
            .map_err(|_| failed())?;
        let encrypted_data = OctetString::new(sealed).map_err(|_| failed())?;
        let info = EncryptedPrivateKeyInfoOwned {
            encryption_algorithm: scheme.into(),
            encrypted_data,
        };
        Ok(Pem::new(
            format!("ENCRYPTED {label}"),
            info.to_der().map_err(|_| failed())?,
        ))
    }

    /// Decrypts a block with each interpretation of the passphrase. Yields nothing for a wrong
    /// passphrase or a damaged block, which the scheme cannot distinguish. A wrong passphrase may
    /// also yield arbitrary bytes.
    pub(super) fn unwrap(&self, sealed: &[u8]) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let info = EncryptedPrivateKeyInfoRef::try_from(sealed).ok();
        let scheme = info
            .as_ref()
            .and_then(|info| match &info.encryption_algorithm {
                EncryptionScheme::Pbes2(scheme) if is_bounded(&scheme.kdf) => Some(scheme.clone()),
                _ => None,
            });
        let data = info.map(|info| info.encrypted_data.as_bytes());
        [&self.bytes]
            .into_iter()
            .chain(&self.others)
            .filter_map(move |passphrase| {
                scheme
                    .as_ref()?
                    .decrypt(&**passphrase, data?)
                    .ok()
                    .map(Zeroizing::new)
            })
    }
}

fn without_line_end(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    while bytes
        .last()
        .is_some_and(|last| matches!(last, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    bytes
}

/// Returns the contents of a file, up to slightly more than the limit, and its mode if every user
/// can access it. If this process cannot change the mode, the file is a mounted secret, which every
/// user may have to read.
fn read(path: &Path) -> io::Result<(Option<u32>, Zeroizing<Vec<u8>>)> {
    let (file, metadata) = files::open(path)?;
    let mode = files::permissions(&metadata) & 0o777;
    let allowed = if files::is_mendable(&file, &metadata) {
        0o007
    } else {
        0o002
    };
    let exposed = (mode & allowed != 0).then_some(mode);
    // Allocated in full, because growing would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(MAX_LENGTH).unwrap_or_default() + 1,
    ));
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes)?;
    Ok((exposed, bytes))
}

/// Returns the reason for which no passphrase can decrypt the block. Memory and time are limited,
/// so that a planted file cannot block the readers of the key ring. Old schemes are not supported.
pub(super) fn obstacle(sealed: &[u8]) -> Option<MaterialError> {
    let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(sealed) else {
        // Either an unknown scheme or a damaged block.
        return key_der::read(sealed).map(|_| MaterialError::OldEncryption);
    };
    match &info.encryption_algorithm {
        EncryptionScheme::Pbes2(scheme) => match &scheme.kdf {
            kdf if !is_bounded(kdf) => Some(MaterialError::TooMuchWork),
            Kdf::Pbkdf2(pbkdf2) if pbkdf2.prf == Pbkdf2Prf::HmacWithSha1 => {
                Some(MaterialError::OldEncryption)
            }
            _ => None,
        },
        _ => Some(MaterialError::OldEncryption),
    }
}

/// Returns a value that changes whenever the file changes.
#[must_use]
pub fn version(path: &Path) -> String {
    let version = |file: fs::Metadata| {
        format!(
            "{} {} {}.{}",
            file.ino(),
            file.len(),
            file.ctime(),
            file.ctime_nsec()
        )
    };
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
            let memory = scrypt
                .cost_parameter
                .checked_mul(u64::from(scrypt.block_size) * 128);
            memory.is_some_and(|memory| memory <= MAX_MEMORY) && scrypt.parallelization <= 16
        }
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MAX_ITERATIONS,
        _ => false,
    }
}

#[cfg(test)]
#[path = "passphrase_tests.rs"]
mod tests;
