//! Detection of guessable passphrases and shared secrets: published examples, words and patterns.

use zeroize::Zeroizing;

/// Minimum number of distinct bytes. A secret with fewer is not random.
const MIN_DISTINCT_BYTES: usize = 8;

/// Length of the prefix that is rated. A longer one would not change the result.
const MAX_RATED_LENGTH: usize = 100;

/// Published examples that are long enough for a secret, reduced to lowercase letters and digits:
/// from xkcd 936, jwt.io, Django, and RFC 7515, appendix A.1.
const EXAMPLES: [&str; 8] = [
    "correcthorsebatterystaple",
    "astringsecretatleast256bitslong",
    "avalidstringsecretthatisatleast512bitslongwhichisveryimportantforsecurity",
    "your256bitsecret",
    "your384bitsecret",
    "your512bitsecret",
    "djangoinsecure",
    "aym1sysppbydfgzld3umj1qzkobwvmkoqqestjqlrt1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
];

/// Returns true for a secret that is public (a key, a certificate, an example), has a pattern, or
/// takes fewer than 10^`digits` guesses.
pub(super) fn is_guessable(secret: &[u8], digits: f64) -> bool {
    flaw(secret, digits).is_some()
}

/// Returns the reason for which a secret is guessable, to follow "holds a secret that". It does not
/// contain the secret.
pub(super) fn flaw(secret: &[u8], digits: f64) -> Option<&'static str> {
    let holds = |word: &[u8]| secret.windows(word.len()).any(|window| window == word);
    if holds(b"-----BEGIN ") || secret.starts_with(b"ssh-") {
        return Some("is a key or a certificate in a text format, whose public part is known");
    }
    let mut distinct = Zeroizing::new(secret.to_vec());
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < MIN_DISTINCT_BYTES {
        return Some("has fewer than 8 distinct bytes");
    }
    let text = std::str::from_utf8(secret).ok()?;
    if is_example(text) {
        return Some("is a published example, or has the django-insecure prefix");
    }
    is_weak(text, digits)
        .then_some("consists of words, names or a pattern, and is too easy to guess")
}

fn is_example(text: &str) -> bool {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase()),
    );
    // One or several copies, with a few additional characters.
    let known = |example: &&str| {
        plain.contains(*example)
            && Zeroizing::new(plain.replace(*example, "")).len() <= MIN_DISTINCT_BYTES
    };
    EXAMPLES.iter().any(known) || plain.starts_with("djangoinsecure")
}

fn is_weak(text: &str, digits: f64) -> bool {
    let rated = text
        .char_indices()
        .nth(MAX_RATED_LENGTH)
        .map_or(text, |(end, _)| text.get(..end).unwrap_or(text));
    zxcvbn::zxcvbn(rated, &["latchkey"]).guesses_log10() < digits
}
