//! Log matching: an entry is named by its id for ever. Two logs that have the same one have the same
//! payload there, and the same entry before it.

use std::collections::BTreeMap;

use highwater_storage::log::LogId;

use crate::{observer::NodeView, oracle::Verdict};

/// Every entry of a shard that was ever in any log.
#[derive(Default)]
pub struct LogMatching {
    entries: BTreeMap<LogId, Known>,
}

struct Known {
    digest: u64,
    before: Option<LogId>,
}

impl LogMatching {
    pub(super) fn check(&mut self, shard: usize, nodes: &[NodeView]) -> Verdict {
        for node in nodes.iter().filter(|node| node.is_up) {
            let log = &node.shards[shard].log;
            for (index, entry) in log.entries.range(log.changed_from..) {
                let before = index
                    .checked_sub(1)
                    .and_then(|index| log.entries.get(&index));
                let before = before
                    .map(|entry| entry.id)
                    .or(log.purged.filter(|p| p.index + 1 == *index));
                let digest = entry.digest;
                let known = self
                    .entries
                    .entry(entry.id)
                    .or_insert(Known { digest, before });
                known.before = known.before.or(before);
                if known.digest != digest || before.is_some_and(|id| Some(id) != known.before) {
                    return Err(format!(
                        "log matching: {:?} on node {} follows {before:?}, elsewhere it followed {:?}; payloads {}",
                        entry.id,
                        node.node,
                        known.before,
                        if known.digest == digest {
                            "agree"
                        } else {
                            "differ"
                        },
                    ));
                }
            }
        }
        Ok(())
    }
}
