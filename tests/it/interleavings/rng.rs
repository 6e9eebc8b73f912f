//! Random numbers with a reproducible seed.

/// `SplitMix64`.
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    pub fn one_in(&mut self, number: u32) -> bool {
        self.below(number) == 0
    }

    /// Number of times that a task yields. Small numbers are more frequent.
    pub fn turns(&mut self) -> u32 {
        let limit = 1 << self.below(11);
        self.below(limit)
    }
}
