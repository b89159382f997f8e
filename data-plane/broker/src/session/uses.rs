//! How often a client has used each packet identifier for a message of QoS 2.
//!
//! A message of QoS 2 has to be appended once, however often it is sent, and its identifier stands for another
//! message as soon as it was released. So the message's idempotency key names the use: the first message with
//! identifier 7 is `7/0`, the one after its release `7/1`. What a node needs to know to recognise a
//! message that came to another one are these counts alone, and most clients use identifiers in turn, so that
//! few runs of equal counts say it all.

use std::collections::BTreeMap;

use highwater_proto::cluster::session::Received;

/// The first and the last identifier.
const FIRST: u16 = 1;
const LAST: u16 = u16::MAX;

/// A count for every packet identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Runs of equal counts by their first identifier; what is before the first of them was never used. No two
    /// neighbours are equal.
    runs: BTreeMap<u16, u64>,
}

impl Uses {
    /// As it was stored. What makes no sense is left out: an identifier without a count begins at 0.
    pub fn restore(stored: &Received) -> Uses {
        let mut uses = Uses::default();
        let runs = stored.first_ids.iter().zip(&stored.uses);
        for (first, count) in runs {
            if let Ok(first @ FIRST..) = u16::try_from(*first) {
                uses.runs.insert(first, *count);
            }
        }
        uses
    }

    /// As it is stored.
    pub fn store(&self) -> Received {
        Received {
            first_ids: self.runs.keys().map(|first| u32::from(*first)).collect(),
            uses: self.runs.values().copied().collect(),
        }
    }

    /// How often an identifier was used before.
    pub fn of(&self, packet_id: u16) -> u64 {
        let run = self.runs.range(..=packet_id).next_back();
        run.map_or(0, |(_, count)| *count)
    }

    /// The use of an identifier is over.
    pub fn release(&mut self, packet_id: u16) {
        if packet_id < FIRST {
            return;
        }
        let count = self.of(packet_id);
        if packet_id < LAST {
            let next = packet_id + 1;
            let rest = self.of(next);
            self.runs.insert(next, rest);
        }
        self.runs.insert(packet_id, count + 1);
        for first in [packet_id.saturating_add(1), packet_id] {
            self.join_to_run_before(first);
        }
    }

    /// Begins anew for all identifiers at once, above every count there was. Nothing may be in use.
    pub fn level(&mut self) {
        let most = self.runs.values().copied().max().unwrap_or(0);
        self.runs = BTreeMap::from([(FIRST, most + 1)]);
    }

    /// How many runs of equal counts there are: what it takes in memory and on disk.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    fn join_to_run_before(&mut self, first: u16) {
        let before = self
            .runs
            .range(..first)
            .next_back()
            .map(|(_, count)| *count);
        if before.is_some() && before == self.runs.get(&first).copied() {
            self.runs.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_table(ids in prop::collection::vec(1u16..20, 0..200)) {
            let mut table = [0u64; 21];
            let mut uses = Uses::default();
            for id in ids {
                table[usize::from(id)] += 1;
                uses.release(id);
                prop_assert_eq!(&Uses::restore(&uses.store()), &uses);
                for id in 1..=20u16 {
                    prop_assert_eq!(uses.of(id), table[usize::from(id)]);
                }
                let counts: Vec<u64> = uses.runs.values().copied().collect();
                prop_assert!(counts.windows(2).all(|pair| pair[0] != pair[1]));
            }
            uses.level();
            prop_assert_eq!(uses.runs(), 1);
            prop_assert!((1..=20).all(|id| uses.of(id) > table[usize::from(id)]));
        }
    }

    #[test]
    fn identifiers_used_in_turn_take_two_runs() {
        let mut uses = Uses::default();
        for round in 0..3 {
            for id in FIRST..=LAST {
                uses.release(id);
                assert!(uses.runs() <= 2, "{round} {id}");
            }
        }
        assert_eq!((uses.runs(), uses.of(1), uses.of(LAST)), (1, 3, 3));
    }
}
