//! Choices at random that can be made again: the seed is printed, and taken from `HIGHWATER_E2E_SEED`.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

/// A sequence of choices (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with the seed that was given, or with the time.
    ///
    /// # Panics
    /// When what was given is no number.
    #[expect(clippy::print_stderr, reason = "a failure is repeated with the seed")]
    pub fn seeded() -> Random {
        let seed = match env::var("HIGHWATER_E2E_SEED") {
            Ok(seed) => seed.parse().expect("a seed is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.expect("it is after 1970").as_micros() as u64
            }
        };
        eprintln!("HIGHWATER_E2E_SEED={seed}");
        Random(seed)
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    /// One of them that is not the one before.
    ///
    /// # Panics
    /// When there is no other.
    pub fn other<T: Copy + PartialEq>(&mut self, all: &[T], before: Option<T>) -> T {
        let others: Vec<T> = all.iter().copied().filter(|t| Some(*t) != before).collect();
        others[self.below(others.len())]
    }

    /// Puts them into any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}
