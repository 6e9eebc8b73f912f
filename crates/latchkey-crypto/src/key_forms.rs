//! Import formats of private keys, and names for files in other formats.
//!
//! Supported: PEM (also with other blocks and text around it, indented, in one line, or with
//! escaped line breaks), DER, either of them in base64, PEM or JWK in JSON, and unencrypted keys in
//! OpenSSH's format.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pem::Pem;
use zeroize::{Zeroize as _, Zeroizing};

use super::{key_der, key_jwk, key_ssh, signing_key::MaterialError};
use latchkey_files as files;

/// Start of a PEM block in base64.
const PEM_IN_BASE64: &str = "LS0tLS1CRUdJTi";

/// Private key in one of the formats of [`read`].
pub(super) struct Private {
    /// Format of the contents, as a PEM label.
    pub label: String,
    /// DER bytes.
    pub contents: Zeroizing<Vec<u8>>,
    /// Algorithm in the file, if any.
    pub algorithm: Option<String>,
}

impl Private {
    pub(super) fn new(label: &str, contents: Zeroizing<Vec<u8>>) -> Self {
        Self {
            label: label.to_owned(),
            contents,
            algorithm: None,
        }
    }
}

/// Returns an error for anything but a supported private key. The text has the name of the format,
/// and possibly a command to convert it.
pub(super) fn other(text: &str) -> MaterialError {
    MaterialError::OtherForm(text.to_owned())
}

/// Returns the private key of a file in any supported format.
pub(super) fn read(bytes: &[u8]) -> Result<Private, MaterialError> {
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return Err(other(
            "is a Java key store: convert it with keytool -importkeystore -srckeystore FILE -destkeystore NEW \
             -deststoretype PKCS12, and that with openssl pkcs12 -in NEW -nocerts -noenc -out KEY",
        ));
    }
    if let Some(found) = key_der::read(bytes) {
        return found;
    }
    let text = files::text(bytes).map_err(|_| MaterialError::NoPrivateKey)?;
    match from_text(&text) {
        Err(MaterialError::NoPrivateKey) => match from_base64(&text) {
            Some(decoded) => key_der::read(&decoded)
                .unwrap_or_else(|| from_text(&files::text(&decoded).unwrap_or_default())),
            None => Err(MaterialError::NoPrivateKey),
        },
        found => found,
    }
}

fn from_text(text: &str) -> Result<Private, MaterialError> {
    if text.trim_start().starts_with(['{', '[']) {
        return from_json(text);
    }
    if text.contains("-----BEGIN ") {
        return from_pem(text);
    }
    let words = text
        .split(|c: char| c.is_whitespace() || "\"',".contains(c))
        .filter(|word| !word.is_empty());
    let is_base64 = |word: &&str| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let inner = words
        .skip_while(|word| !word.starts_with(PEM_IN_BASE64))
        .take_while(is_base64);
    if let Some(pem) = from_base64(&Zeroizing::new(inner.collect::<String>())) {
        return from_pem(&files::text(&pem).unwrap_or_default());
    }
    let starts = |beginnings: &[&str]| {
        beginnings
            .iter()
            .any(|beginning| text.trim_start().starts_with(beginning))
    };
    if starts(&["ssh-", "ecdsa-sha2-", "sk-", "---- BEGIN SSH2 PUBLIC KEY"]) {
        return Err(other(
            "holds a public key of OpenSSH: pass the file with the private key",
        ));
    }
    if starts(&["PuTTY-User-Key-File"]) {
        return Err(other(
            "is a PuTTY key: convert it with puttygen FILE -O private-openssh -o NEW",
        ));
    }
    Err(MaterialError::NoPrivateKey)
}

fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(text.chars().filter(|c| !c.is_whitespace()));
    STANDARD
        .decode(plain.as_bytes())
        .ok()
        .map(Zeroizing::new)
        .filter(|decoded| !decoded.is_empty())
}

/// Reads a JWK, a key set, or PEM text in a string, as written by cfssl, Kubernetes and cloud
/// providers.
fn from_json(text: &str) -> Result<Private, MaterialError> {
    let json = serde_json::from_str(text).map_err(|_| MaterialError::NoPrivateKey)?;
    if let Some(found) = key_jwk::read(&json) {
        return found;
    }
    let mut pems = Vec::new();
    key_jwk::strings(&json, &mut |string| {
        let pem = match string {
            string if string.contains("-----BEGIN ") => Zeroizing::new(string.to_owned()),
            string if string.starts_with(PEM_IN_BASE64) => from_base64(string)
                .and_then(|pem| files::text(&pem).ok())
                .unwrap_or_default(),
            _ => return,
        };
        pems.push(pem);
    });
    match pems
        .iter()
        .filter(|pem| pem.contains("PRIVATE KEY-----"))
        .count()
    {
        0 if pems.is_empty() => Err(other(
            "is JSON without a private key: expected a JWK, or PEM in one of its strings",
        )),
        _ => from_pem(&Zeroizing::new(
            pems.iter()
                .map(|pem| pem.as_str())
                .collect::<Vec<_>>()
                .join("\n"),
        )),
    }
}

/// Returns the only block with a private key. Other blocks with parameters or public parts are
/// allowed.
fn from_pem(text: &str) -> Result<Private, MaterialError> {
    let text = plain_pem(text);
    let damaged = || other("holds a PEM block that is truncated or damaged");
    let blocks = pem::parse_many(text.as_bytes()).map_err(|_| damaged())?;
    let names: Vec<String> = blocks.iter().map(|block| block.tag().to_owned()).collect();
    let mut private: Vec<Pem> = blocks
        .into_iter()
        .filter(|block| block.tag().ends_with("PRIVATE KEY"))
        .collect();
    let count = private.len();
    let Some(block) = private.pop() else {
        return Err(names.first().map_or_else(damaged, |name| without_key(name)));
    };
    if count > 1 {
        return Err(MaterialError::SeveralKeys(count));
    }
    let (label, is_sealed) = (
        block.tag().to_owned(),
        block.headers().get("DEK-Info").is_some(),
    );
    let contents = Zeroizing::new(block.into_contents());
    match label.as_str() {
        _ if is_sealed => Err(MaterialError::OldEncryption),
        "OPENSSH PRIVATE KEY" => key_ssh::read(&contents),
        "DSA PRIVATE KEY" => Err(MaterialError::OtherAlgorithm("DSA".to_owned())),
        _ => Ok(Private::new(&label, contents)),
    }
}

fn without_key(label: &str) -> MaterialError {
    let what = match label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            "a certificate, which is public"
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            "a certificate request (CSR), which is public"
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "EC PUBLIC KEY" => "a public key",
        "EC PARAMETERS" => "the parameters of a curve",
        "PKCS7" | "CMS" => "certificates (PKCS#7)",
        "X509 CRL" => "a list of revoked certificates",
        "PGP PRIVATE KEY BLOCK" | "PGP PUBLIC KEY BLOCK" => "a PGP key",
        "LATCHKEY SHARED SECRET" | "ENCRYPTED LATCHKEY SHARED SECRET" => {
            return other("holds a shared secret: give its algorithm, such as --as HS256");
        }
        _ => return MaterialError::NoPrivateKey,
    };
    MaterialError::OtherForm(format!(
        "holds {what} and no private key: pass the file with the private key"
    ))
}

/// Returns the text with each block in the format of RFC 7468. Environment variables hold PEM in
/// one line, with escaped line breaks or with spaces, and YAML indents it.
fn plain_pem(text: &str) -> Zeroizing<String> {
    let mut rest = Zeroizing::new(
        text.replace("\\r", "")
            .replace("\\n", "\n")
            .replace("\r\n", "\n")
            .replace('\r', "\n"),
    );
    let mut plain = Zeroizing::new(String::with_capacity(rest.len() + 64));
    let parts: Vec<&str> = rest.split("-----").collect();
    // BEGIN, contents, END, text between blocks.
    for (index, part) in parts.iter().enumerate() {
        let before = index
            .checked_sub(1)
            .and_then(|index| parts.get(index))
            .copied()
            .unwrap_or_default();
        if part.starts_with("BEGIN ") || part.starts_with("END ") {
            plain.extend(["-----", part, "-----\n"]);
        } else if before.starts_with("BEGIN ") {
            contents(part, &mut plain);
        }
    }
    rest.zeroize();
    plain
}

/// Writes the headers of a block, and its base64 in one line.
fn contents(part: &str, plain: &mut String) {
    let (headers, body): (Vec<&str>, Vec<&str>) = part
        .lines()
        .map(str::trim)
        .partition(|line| line.contains(": "));
    for header in &headers {
        plain.extend([header, "\n"]);
    }
    if !headers.is_empty() {
        plain.push('\n');
    }
    plain.extend(body.iter().flat_map(|line| line.split_whitespace()));
    plain.push('\n');
}
