//! Detection of RSA keys from a flawed generator (ROCA, CVE-2017-15361), which anyone can factor.
//!
//! The generator takes its primes from the powers of 65537 modulo the product of the first 126
//! primes (for the lengths accepted here; more primes for the longest). The product of two such
//! numbers is again a power of 65537 modulo each of those primes. For other keys this has a
//! probability of 2^-167, so no valid key is refused.

/// Last of the first 126 primes.
const LAST_PRIME: u32 = 701;
const GENERATOR: u32 = 65537;

/// Returns true if this modulus (big-endian bytes) is from the flawed generator.
pub(crate) fn is_from_flawed_generator(modulus: &[u8]) -> bool {
    odd_primes().all(|prime| is_power_of_generator(remainder(modulus, prime), prime))
}

fn odd_primes() -> impl Iterator<Item = u32> {
    (3..=LAST_PRIME)
        .step_by(2)
        .filter(|number| (3..*number).all(|divisor| number % divisor != 0))
}

/// Returns true if `residue` is a power of the generator modulo `prime`. The residues form a cyclic
/// group, which has one subgroup of each size, so it is a power exactly if the generator's order
/// takes it to 1. Other keys fail at one of the first primes, so no table is kept.
fn is_power_of_generator(residue: u32, prime: u32) -> bool {
    let (mut power_of_generator, mut power_of_residue) = (GENERATOR % prime, residue);
    while power_of_generator != 1 {
        power_of_generator = power_of_generator * GENERATOR % prime;
        power_of_residue = power_of_residue * residue % prime;
    }
    power_of_residue == 1
}

fn remainder(number: &[u8], divisor: u32) -> u32 {
    number
        .iter()
        .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_the_first_126_without_2() {
        let primes: Vec<u32> = odd_primes().collect();
        assert_eq!(
            (primes.len(), primes.first(), primes.last()),
            (125, Some(&3), Some(&LAST_PRIME))
        );
    }

    #[test]
    fn powers_are_detected_as_by_enumeration() {
        for prime in odd_primes() {
            let mut powers = vec![1];
            while powers.len() == 1 || powers.last() != Some(&1) {
                powers.push(powers.last().unwrap_or(&1) * (GENERATOR % prime) % prime);
            }
            for residue in 0..prime {
                assert_eq!(
                    is_power_of_generator(residue, prime),
                    powers.contains(&residue),
                    "{residue} modulo {prime}"
                );
            }
        }
    }
}
