//! RSA keys that a flawed generator made (ROCA, CVE-2017-15361): anybody can factor them.
//!
//! That generator took its primes from the powers of 65537 modulo the product of the first 126 primes (for the lengths
//! that are accepted here; more of them for the longest). A product of two such numbers is again a power of 65537 modulo
//! each of those primes, which other keys are only by chance: for all of them together with probability 2^-167.
//! So nobody's good key is ever refused.

/// The last of the first 126 primes.
const LAST_PRIME: u32 = 701;
const GENERATOR: u32 = 65537;

/// Whether this modulus (big-endian bytes) bears the mark of that generator.
pub(crate) fn is_marked(modulus: &[u8]) -> bool {
    odd_primes().all(|prime| is_power_of_generator(remainder(modulus, prime), prime))
}

fn odd_primes() -> impl Iterator<Item = u32> {
    (3..=LAST_PRIME)
        .step_by(2)
        .filter(|number| (3..*number).all(|divisor| number % divisor != 0))
}

/// The powers of the generator modulo a prime are exactly the residues that its order takes to 1: the residues form a
/// cyclic group, which has one subgroup of each size. Good keys fail at one of the first primes, so nothing is kept.
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
    fn the_primes_are_the_first_126_without_2() {
        let primes: Vec<u32> = odd_primes().collect();
        assert_eq!(
            (primes.len(), primes.first(), primes.last()),
            (125, Some(&3), Some(&LAST_PRIME))
        );
    }

    #[test]
    fn a_power_is_told_from_the_other_residues_as_by_writing_all_powers_down() {
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
