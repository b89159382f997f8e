//! Which publishes begin a trace: an even share of those that are in none.

use std::sync::atomic::{AtomicU64, Ordering};

/// One publish, in fixed point.
const ONE: u64 = 1 << 32;

/// Counts publishes and picks every so many-th, the first one included.
pub struct Sampling {
    /// What each publish adds.
    share: u64,
    /// One is picked whenever this passes another [`ONE`].
    sum: AtomicU64,
}

impl Sampling {
    /// Picks this share of them, from 0 to 1.
    pub fn new(ratio: f64) -> Sampling {
        let share = (ratio.clamp(0.0, 1.0) * ONE as f64) as u64;
        Sampling {
            share,
            sum: AtomicU64::new(ONE - share),
        }
    }

    /// Whether to pick one of the next so many.
    pub fn picks_one_of(&self, count: usize) -> bool {
        if self.share == 0 {
            return false;
        }
        let more = self.share.wrapping_mul(count as u64);
        let before = self.sum.fetch_add(more, Ordering::Relaxed);
        before.wrapping_add(more) / ONE != before / ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_picked_is_the_ratio() {
        for (ratio, expected) in [
            (0.0, 0),
            (0.01, 10),
            (0.25, 250),
            (1.0, 1_000),
            (7.0, 1_000),
        ] {
            let sampling = Sampling::new(ratio);
            let picked: Vec<bool> = (0..1_000).map(|_| sampling.picks_one_of(1)).collect();
            let count = picked.iter().filter(|picked| **picked).count();
            // A share is rounded down.
            assert!(
                (expected - 1..=expected).contains(&(count as i32)),
                "{count} for {ratio}"
            );
            assert_eq!(picked[0], ratio > 0.0);
        }
        let sampling = Sampling::new(0.01);
        assert!(sampling.picks_one_of(1));
        assert!(!sampling.picks_one_of(50));
        assert!(sampling.picks_one_of(60));
    }
}
