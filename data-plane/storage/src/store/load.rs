//! Reading a shard's state back into memory.

use bytes::Bytes;
use highwater_broker::state::{Counters, ShardState};
use highwater_proto::ids::{ShardId, TopicId};
use rustc_hash::FxHashSet;

use super::{
    StoreError,
    value::{damaged, decode_applied, decode_counters, decode_number, decode_topic},
};
use crate::{
    keys::{self, FIRST_GENERATION, Key, KeyRange, Prefix},
    kv::Kv,
    log::LogId,
};

/// One generation of a shard, as it is stored.
pub(crate) struct Loaded {
    pub prefix: Prefix,
    pub applied: Option<LogId>,
    pub membership: Option<Bytes>,
    pub state: ShardState,
    pub sparse: FxHashSet<TopicId>,
}

impl Loaded {
    /// The current generation and its number. What an installation left that did not finish, or a
    /// generation that was replaced and not removed, is deleted.
    pub fn current(kv: &dyn Kv, shard: ShardId) -> Result<(u32, Loaded), StoreError> {
        let generation = match kv.get(&keys::generation(shard))? {
            None => FIRST_GENERATION,
            Some(value) => u32::try_from(decode_number(&value)?)
                .map_err(|_| damaged("the number of a generation"))?,
        };
        let older = keys::generations(shard, FIRST_GENERATION..generation);
        if clear(kv, &older)? {
            kv.reclaim(&older)?;
        }
        // No files are taken away here: what they hid would be in the way of the next installation.
        clear(kv, &keys::generations_from(shard, generation + 1))?;
        Ok((
            generation,
            Loaded::read(kv, Prefix::new(shard, generation))?,
        ))
    }

    /// One generation, current or not.
    pub fn read(kv: &dyn Kv, prefix: Prefix) -> Result<Loaded, StoreError> {
        let (applied, membership) = match kv.get(&prefix.key(Key::Applied))? {
            None => (None, None),
            Some(value) => {
                let (applied, membership) = decode_applied(&value)?;
                (Some(applied), membership)
            }
        };
        let counters = match kv.get(&prefix.key(Key::Counters))? {
            None => Counters::default(),
            Some(value) => decode_counters(&value)?,
        };
        let mut topics = Vec::new();
        let mut sparse = FxHashSet::default();
        let range = prefix.topics();
        let mut iterator = kv.iterate(range.clone());
        let mut more = iterator.seek(&range.start)?;
        while more {
            let Some(Key::Topic(id)) = Key::decode_whole(iterator.key()) else {
                return Err(damaged("the key of a topic"));
            };
            if id.0 >= counters.next_topic {
                return Err(damaged("the number of a topic"));
            }
            let (topic, is_sparse) = decode_topic(id, iterator.value())?;
            topics.push(topic);
            if is_sparse {
                sparse.insert(id);
            }
            more = iterator.next()?;
        }
        Ok(Loaded {
            prefix,
            applied,
            membership,
            state: ShardState::restore(counters, topics),
            sparse,
        })
    }
}

/// Deletes a range if there is anything in it, and says whether there was.
fn clear(kv: &dyn Kv, range: &KeyRange) -> Result<bool, StoreError> {
    if range.start >= range.end || !kv.iterate(range.clone()).seek(&range.start)? {
        return Ok(false);
    }
    let mut batch = kv.batch();
    batch.delete_range(range);
    batch.commit()?;
    kv.flush()?;
    Ok(true)
}
