//! Which durable entries leave memory first, over all shards: the oldest.

use std::{collections::VecDeque, sync::Arc};

use highwater_proto::limits::LOG_CACHE_RUNS_MAX;

use super::shard::Memory;

/// The durable entries that are in memory, as runs in the order they became durable. Some may have left already.
#[derive(Default)]
pub(super) struct CacheQueue {
    items: VecDeque<Item>,
}

struct Item {
    memory: Arc<Memory>,
    /// The last index of the run.
    index: u64,
}

impl CacheQueue {
    /// Entries of a shard through `index` are durable.
    pub(super) fn push(&mut self, memory: &Arc<Memory>, index: u64) {
        match self.items.back_mut() {
            Some(last) if Arc::ptr_eq(&last.memory, memory) && last.index < index => {
                last.index = index
            }
            _ => self.items.push_back(Item {
                memory: memory.clone(),
                index,
            }),
        }
    }

    /// Frees at least `excess` bytes if there is that much, and returns how much it was.
    pub(super) fn evict(&mut self, excess: u64) -> u64 {
        let mut freed = 0;
        while freed < excess || self.items.len() > LOG_CACHE_RUNS_MAX {
            let Some(item) = self.items.pop_front() else {
                break;
            };
            freed += item.memory.front().evict(item.index) as u64;
        }
        freed
    }
}
