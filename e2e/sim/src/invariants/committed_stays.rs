//! Committed stays: an index that was committed once holds that entry for ever, whoever says so.

use std::collections::BTreeMap;

use highwater_storage::log::LogId;

use super::Leader;
use crate::{observer::NodeView, oracle::Verdict};

/// The committed entries of a shard.
#[derive(Default)]
pub struct CommittedStays {
    entries: BTreeMap<u64, Committed>,
}

/// An entry that is committed.
#[derive(Clone, Copy)]
pub struct Committed {
    /// The entry.
    pub id: LogId,
    /// No leader after this one was elected before the entry was committed.
    pub by: Leader,
}

impl CommittedStays {
    /// All committed entries, by index.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Committed> {
        self.entries.values()
    }

    /// The entry committed at an index.
    pub fn at(&self, index: u64) -> Option<LogId> {
        self.entries.get(&index).map(|committed| committed.id)
    }

    pub(super) fn check(
        &mut self,
        shard: usize,
        nodes: &[NodeView],
        highest: Option<Leader>,
    ) -> Verdict {
        for node in nodes.iter().filter(|node| node.is_up) {
            let replica = &node.shards[shard];
            let Some(through) = replica.committed else {
                continue;
            };
            // Right after a start the log may not reach what it knows to be committed.
            let claimed = replica.log.entries.range(..=through.index);
            for (index, entry) in claimed.rev() {
                let by = highest.unwrap_or_default();
                let id = entry.id;
                let new = !self.entries.contains_key(index);
                let known = self.entries.entry(*index).or_insert(Committed { id, by });
                if known.id != id {
                    return Err(format!(
                        "committed stays: index {index} was {:?} and is {id:?} on node {}",
                        known.id, node.node
                    ));
                }
                // What lies before was compared when it was new or changed.
                if !new && *index < replica.log.changed_from {
                    break;
                }
            }
        }
        Ok(())
    }
}
