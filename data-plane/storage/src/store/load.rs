//! Reading a shard's state back into memory.

use bytes::Bytes;
use highwater_broker::{
    metering::Ledger,
    state::{Counters, ShardState, Topic},
};
use highwater_proto::ids::{ShardId, TopicId};
use rustc_hash::FxHashSet;

use super::{
    StoreError,
    value::{
        damaged, decode_applied, decode_counters, decode_hour, decode_meters, decode_number,
        decode_topic,
    },
};
use crate::{
    keys::{self, FIRST_GENERATION, Key, KeyRange, Prefix},
    kv::{Kv, KvIterator},
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
        let ledger = read_ledger(kv, prefix)?;
        let mut stored = StoredTopics::open(kv, prefix, &counters)?;
        let mut failed = None;
        // One by one into the state: with a list of them in between, memory would peak at twice theirs.
        let topics = std::iter::from_fn(|| {
            let topic = stored.next();
            topic.unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        let state = ShardState::restore(counters, topics, ledger);
        match failed {
            Some(error) => Err(error),
            None => Ok(Loaded {
                prefix,
                applied,
                membership,
                state,
                sparse: stored.sparse,
            }),
        }
    }
}

fn read_ledger(kv: &dyn Kv, prefix: Prefix) -> Result<Ledger, StoreError> {
    let range = prefix.usage_now();
    let mut iterator = kv.iterate(range.clone());
    let mut more = iterator.seek(&range.start)?;
    let mut hours = Vec::new();
    while more {
        let Some(Key::UsageNow(project)) = Key::decode_whole(iterator.key()) else {
            return Err(damaged("the key of what a project has used"));
        };
        hours.push((project, decode_hour(iterator.value())?));
        more = iterator.next()?;
    }
    let meters = kv.get(&prefix.key(Key::Meters))?;
    let meters = meters.map(|value| decode_meters(&value)).transpose()?;
    Ok(Ledger::restore(hours, meters.unwrap_or_default()))
}

/// The descriptions of topics that are being read.
struct StoredTopics {
    iterator: Box<dyn KvIterator>,
    more: bool,
    next_topic: u64,
    sparse: FxHashSet<TopicId>,
}

impl StoredTopics {
    fn open(kv: &dyn Kv, prefix: Prefix, counters: &Counters) -> Result<StoredTopics, StoreError> {
        let range = prefix.topics();
        let mut iterator = kv.iterate(range.clone());
        let more = iterator.seek(&range.start)?;
        Ok(StoredTopics {
            iterator,
            more,
            next_topic: counters.next_topic,
            sparse: FxHashSet::default(),
        })
    }

    fn next(&mut self) -> Result<Option<Topic>, StoreError> {
        if !self.more {
            return Ok(None);
        }
        let id = match Key::decode_whole(self.iterator.key()) {
            Some(Key::Topic(id)) if id.0 < self.next_topic => id,
            _ => return Err(damaged("the key of a topic")),
        };
        let (topic, is_sparse) = decode_topic(id, self.iterator.value())?;
        if is_sparse {
            self.sparse.insert(id);
        }
        self.more = self.iterator.next()?;
        Ok(Some(topic))
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
