//! Applied in order: a replica applies what is committed, one entry after the other, and whoever has
//! applied as far has the same state.

use std::collections::BTreeMap;

use super::committed_stays::CommittedStays;
use crate::{observer::NodeView, oracle::Verdict};

/// What is known of a shard's state.
#[derive(Default)]
pub struct AppliedInOrder {
    /// How far each node's process had applied: node → (life, index).
    reached: BTreeMap<u64, (u64, u64)>,
    /// The state after an entry: where the next record goes, and a digest of the topics.
    states: BTreeMap<u64, (u64, u64)>,
}

impl AppliedInOrder {
    pub(super) fn check(
        &mut self,
        shard: usize,
        nodes: &[NodeView],
        committed: &CommittedStays,
    ) -> Verdict {
        // Of a log that cannot be read any more it is not known what is committed.
        for node in nodes.iter().filter(|node| node.is_up && !node.is_unseen) {
            let replica = &node.shards[shard];
            let Some(applied) = replica.applied else {
                continue;
            };
            let (index, number) = (applied.index, node.node);
            // What came with a snapshot may have been purged everywhere before anyone looked.
            let purged = nodes.iter().any(|n| {
                n.shards[shard]
                    .log
                    .purged
                    .is_some_and(|purged| purged.index >= index)
            });
            if committed.at(index).map_or(!purged, |id| id != applied) {
                return Err(format!(
                    "applied in order: node {number} applied {applied:?}, committed is {:?}",
                    committed.at(index)
                ));
            }
            let reached = self.reached.entry(number).or_default();
            if reached.0 == node.life && index < reached.1 {
                return Err(format!(
                    "applied in order: node {number} is at {index} and was at {}",
                    reached.1
                ));
            }
            *reached = (node.life, index);
            let state = (replica.next_position, replica.topics_digest);
            let known = self.states.entry(index).or_insert(state);
            if *known != state {
                return Err(format!(
                    "applied in order: after {index} node {number} has {state:?}, another had {known:?}"
                ));
            }
        }
        Ok(())
    }
}
