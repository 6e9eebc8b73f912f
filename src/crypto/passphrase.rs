//! The encryption of keys at rest: PKCS#8's PBES2 (RFC 8018, section 6.2) with scrypt and AES-256-CBC. Keys written by
//! `openssl pkcs8 -scrypt` can be read. OpenSSL cannot read keys written here, because its memory limit for scrypt is
//! lower.

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
use crate::files::{self, reserve};

/// The cost of a guess with scrypt, r = 8 and p = 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrappingCost {
    log_n: u8,
}

impl WrappingCost {
    /// OWASP's first choice, N = 2^17: 128 MiB and about 0.3 s. All stored keys are encrypted at this cost.
    pub const OWASP: Self = Self { log_n: 17 };

    /// N = 2^`log_n`, for tests that encrypt many keys.
    #[must_use]
    pub const fn new(log_n: u8) -> Self {
        Self { log_n }
    }
}

/// The minimum of guesses that a passphrase must take, as a power of ten: at [`WrappingCost::OWASP`], thousands of
/// years on one machine.
const MIN_GUESSES: f64 = 12.0;

/// The shortest that is taken, in bytes.
const MIN_LENGTH: usize = 16;
const MAX_LENGTH: u64 = 4096;

/// A key of others may ask for much more work than ours; there is an end to it.
const MAX_MEMORY: u64 = 256 * 1024 * 1024;
const MAX_ITERATIONS: u32 = 10_000_000;

/// A passphrase, or the bytes of a key file, and the cost at which it encrypts. Wiped when it is dropped.
///
/// Programs differ in what of a file they take for the passphrase, so the other readings open keys as well.
#[derive(Clone, Eq, PartialEq)]
pub struct Passphrase {
    bytes: Zeroizing<Vec<u8>>,
    cost: WrappingCost,
    others: Vec<Zeroizing<Vec<u8>>>,
}

/// Why a passphrase cannot be used. The texts follow the name of a file.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file.
    #[error("cannot be read ({0})")]
    Io(#[from] io::Error),
    /// Every user can read it.
    #[error("has the mode {0:04o}, so every user can read it: run chmod o-rwx on it")]
    Mode(u32),
    /// Too long.
    #[error("holds more than {MAX_LENGTH} bytes")]
    Long,
    /// Too short.
    #[error(
        "holds a passphrase of {0} bytes: at least {MIN_LENGTH}, such as those that `openssl rand -base64 32` prints"
    )]
    Short(usize),
    /// The passphrase is guessable.
    #[error(
        "holds a passphrase that can be guessed: expected random characters, such as from `openssl rand -base64 32`; \
         replace it with latchkey keys rewrap --new-passphrase-file"
    )]
    Weak,
}

impl Passphrase {
    /// Reads a passphrase to encrypt keys with: the contents of a file, without the newline at its end.
    ///
    /// # Errors
    /// If it cannot be read, is too short, or is guessable.
    pub fn from_file(path: &Path) -> Result<Self, PassphraseError> {
        let passphrase = Self::from_file_to_open(path)?;
        if is_guessable(&passphrase.bytes, MIN_GUESSES) {
            Err(PassphraseError::Weak)
        } else {
            Ok(passphrase)
        }
    }

    /// As [`from_file`](Self::from_file), to open encrypted keys: a weak passphrase is accepted.
    ///
    /// # Errors
    /// If it cannot be read or is too short.
    pub fn from_file_to_open(path: &Path) -> Result<Self, PassphraseError> {
        let passphrase = Self::of_foreign_key(path)?;
        match passphrase.bytes.len() {
            length if length < MIN_LENGTH => Err(PassphraseError::Short(length)),
            _ => Ok(passphrase),
        }
    }

    /// As [`from_file`](Self::from_file), for a key that another program encrypted: any passphrase is accepted.
    ///
    /// # Errors
    /// If it cannot be read or is empty.
    pub fn of_foreign_key(path: &Path) -> Result<Self, PassphraseError> {
        let (exposed, bytes) = reserve::with_reserve(|| read(path))?;
        if let Some(mode) = exposed {
            return Err(PassphraseError::Mode(mode));
        }
        if bytes.len() as u64 > MAX_LENGTH {
            return Err(PassphraseError::Long);
        }
        // As it was before byte order marks were removed, and as `openssl -passin file:` reads it.
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

    /// The block with its contents encrypted, and its label saying so.
    ///
    /// # Errors
    /// [`MaterialError::Generate`] when there is no randomness.
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

    /// The contents of an encrypted block, once for each reading of the passphrase by which it can be decrypted. Nothing
    /// for another passphrase, and for a block that is damaged: the scheme does not tell them apart. Nor is a wrong
    /// passphrase always found out here; the key that comes out is another then.
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

/// Returns the contents of a file, up to slightly more than the limit, and its mode if every user can access it. A mode
/// that this process cannot change is that of a mounted secret: then every user may be able to read it.
fn read(path: &Path) -> io::Result<(Option<u32>, Zeroizing<Vec<u8>>)> {
    let (file, metadata) = files::open(path)?;
    let mode = files::permissions(&metadata) & 0o777;
    let allowed = if files::is_mendable(&file, &metadata) {
        0o007
    } else {
        0o002
    };
    let exposed = (mode & allowed != 0).then_some(mode);
    // Allocated in full: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(MAX_LENGTH).unwrap_or_default() + 1,
    ));
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes)?;
    Ok((exposed, bytes))
}

/// Returns the reason why no passphrase could open the block. A planted file must not block the readers of the ring, so
/// there is a limit of memory and time. A block in an old scheme is not opened, whatever the passphrase is.
pub(super) fn obstacle(sealed: &[u8]) -> Option<MaterialError> {
    let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(sealed) else {
        // Damaged, unless it is the form and only the scheme is unknown.
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

/// Changes when the file does.
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
