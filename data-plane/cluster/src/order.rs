//! What one node sends to the leader of a shard is appended in the order it was sent, or not at all.
//!
//! A sender numbers its writes to a shard and says of each which one went before it and is still
//! under way. The leader takes a write only if it took that one too: when an earlier one was refused,
//! or never arrived, the later ones are refused as well, and the sender starts over with the earliest.
//! Within a connection requests arrive in order; a new connection knows no earlier write.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// No write has this number, and none follows it.
const BROKEN: u64 = u64::MAX;

/// The writes of one connection to one shard: the number of the last one that was taken.
///
/// Only the task that owns the shard's writes reads and changes it.
#[derive(Debug, Clone)]
pub struct Chain(Arc<AtomicU64>);

impl Default for Chain {
    fn default() -> Chain {
        Chain(Arc::new(AtomicU64::new(BROKEN)))
    }
}

impl Chain {
    /// The place of a write with this number, sent behind another one or, with `None`, behind nothing
    /// that is still under way.
    pub fn place(&self, number: u64, after: Option<u64>) -> Place {
        Place {
            chain: self.clone(),
            number,
            after,
        }
    }
}

/// Where a write stands among those of its sender.
#[derive(Debug)]
pub struct Place {
    chain: Chain,
    number: u64,
    after: Option<u64>,
}

impl Place {
    /// Takes the write if the one before it was taken.
    pub fn take(&self) -> bool {
        let last = &self.chain.0;
        let is_next = self
            .after
            .is_none_or(|after| after == last.load(Ordering::Relaxed));
        let next = if is_next { self.number } else { BROKEN };
        last.store(next, Ordering::Relaxed);
        is_next
    }

    /// The write was refused, and so is everything behind it.
    pub fn give_up(&self) {
        self.chain.0.store(BROKEN, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_taken_only_behind_the_one_it_was_sent_behind() {
        let chain = Chain::default();
        assert!(!chain.place(4, Some(3)).take(), "a new connection");
        assert!(chain.place(3, None).take());
        assert!(chain.place(4, Some(3)).take());
        assert!(!chain.place(6, Some(5)).take(), "5 never came");
        assert!(!chain.place(7, Some(4)).take(), "nothing passes by");
        assert!(chain.place(5, None).take(), "starts over");
    }

    #[test]
    fn what_follows_a_refused_write_is_refused() {
        let chain = Chain::default();
        let (first, second) = (chain.place(1, None), chain.place(2, Some(1)));
        assert!(first.take());
        first.give_up();
        assert!(!second.take());
        assert!(first.take() && second.take(), "again, in order");
    }
}
