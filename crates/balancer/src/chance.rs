//! Cheap numbers for balancing. Nothing secret is made of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A stream of numbers: SplitMix64 (Steele, Lea, Flood 2014) over a shared counter.
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    /// A stream from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }

    /// A number from 0 up to, not including, `bound` (at least 1).
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Spreads the bits of a number.
pub const fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a, for keys that nobody gains by colliding.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
