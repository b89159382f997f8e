//! One shard: its state, what is pending, and applying to it.

use std::sync::Arc;

use bytes::Bytes;
use highwater_broker::{
    handle::TopicView,
    segment::Segment,
    state::{Answer, Remembered, ShardState},
};
use highwater_proto::{
    cluster,
    ids::{ProjectId, ShardId, TopicId},
    names::{TopicFilter, TopicName},
};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Loaded, Shared, StoreError,
    pending::{Frozen, Pending, window_of},
    value::decode_number,
};
use crate::{
    keys::{Key, KeyRange, Prefix},
    kv::KvIterator,
    log::LogId,
};

/// One shard's applied state. One task applies; any number of threads read.
pub struct ShardStore {
    pub(crate) id: ShardId,
    pub(crate) shared: Arc<Shared>,
    pub(super) inner: RwLock<Inner>,
    /// Held while a checkpoint is written or a snapshot put in place of everything.
    pub(crate) writing: Mutex<Writing>,
    /// Topics that the current round of looking for expired records has yet to look at.
    pub(super) round: Mutex<Vec<TopicId>>,
}

/// What only a checkpoint and an installation touch.
#[derive(Default)]
pub(crate) struct Writing {
    /// The log id through which everything survives a crash.
    pub durable: Option<LogId>,
    /// The log id through which everything is in the store, if not for a crash.
    pub committed: Option<LogId>,
    /// Ranges whose deletion a flush that failed has not made durable.
    pub unflushed: Vec<KeyRange>,
    /// Idempotency keys of earlier windows were deleted.
    pub oldest_window: Option<u64>,
    /// The highest generation that was ever begun.
    pub newest_generation: u32,
}

/// Everything in memory.
pub(super) struct Inner {
    pub prefix: Prefix,
    pub applied: Option<LogId>,
    pub membership: Option<Bytes>,
    pub state: ShardState,
    /// Topics that may lack records that newer ones have superseded.
    pub sparse: FxHashSet<TopicId>,
    pub active: Pending,
    pub frozen: Option<Arc<Frozen>>,
    /// The log id through which everything was frozen, and so is in the store or on its way there.
    pub written: Option<LogId>,
}

/// What applying one command comes to.
#[derive(Debug)]
pub struct Applied {
    /// What the proposer is told.
    pub answer: Answer,
    /// The records that were appended, readable from the store by now.
    pub segments: Vec<Arc<Segment>>,
    /// Position the next record of the shard gets.
    pub next_position: u64,
}

impl ShardStore {
    pub(super) fn load(shared: Arc<Shared>, id: ShardId) -> Result<ShardStore, StoreError> {
        let (generation, loaded) = Loaded::current(shared.kv.as_ref(), id)?;
        let writing = Writing {
            durable: loaded.applied,
            committed: loaded.applied,
            unflushed: Vec::new(),
            oldest_window: None,
            newest_generation: generation,
        };
        Ok(ShardStore {
            id,
            shared,
            inner: RwLock::new(Inner::new(loaded)),
            writing: Mutex::new(writing),
            round: Mutex::default(),
        })
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The last log id that was applied.
    pub fn applied(&self) -> Option<LogId> {
        self.inner.read().applied
    }

    /// The membership as of the last applied log id, in the caller's encoding.
    pub fn membership(&self) -> Option<Bytes> {
        self.inner.read().membership.clone()
    }

    /// Position the next record of the shard gets.
    pub fn next_position(&self) -> u64 {
        self.inner.read().state.next_position()
    }

    /// The time of the newest command, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.inner.read().state.counters().time_ms
    }

    /// Memory of what waits for a checkpoint, in bytes.
    pub fn pending_bytes(&self) -> usize {
        let inner = self.inner.read();
        let frozen = inner.frozen.as_ref().map_or(0, |f| f.pending.bytes);
        inner.active.bytes + frozen
    }

    /// The number of topics.
    pub fn topic_count(&self) -> usize {
        self.inner.read().state.topics().count()
    }

    /// Applies a command of the log, which follows the last one that was applied.
    ///
    /// # Errors
    /// When the store cannot be read; nothing was applied then.
    pub fn apply(&self, id: LogId, command: cluster::Command) -> Result<Applied, StoreError> {
        let recalled = self.recall(&command)?;
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        inner.advance(id);
        let known = Known {
            recalled: &recalled,
            active: &inner.active,
            frozen: inner.frozen.as_deref(),
        };
        let effects = inner.state.apply(command, &known);
        inner.active.absorb(&effects);
        inner.sparse.extend(effects.keyed.iter().map(|(t, ..)| *t));
        for topic in &effects.deleted {
            inner.sparse.remove(&topic.identity.id);
        }
        Ok(Applied {
            answer: effects.answer,
            segments: effects.segments,
            next_position: inner.state.next_position(),
        })
    }

    /// Applies a log entry that changes nothing.
    pub fn apply_blank(&self, id: LogId) {
        self.inner.write().advance(id);
    }

    /// Applies a change of membership.
    pub fn apply_membership(&self, id: LogId, membership: Bytes) {
        let mut inner = self.inner.write();
        inner.advance(id);
        inner.membership = Some(membership);
    }

    /// Describes a topic.
    pub fn topic(&self, project: ProjectId, name: &TopicName) -> Option<TopicView> {
        let inner = self.inner.read();
        inner.state.named(project, name).map(|topic| topic.view())
    }

    /// Lists the topics of a project that match one of the filters, in order of their names.
    pub fn topics(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        after: Option<&TopicName>,
        limit: usize,
    ) -> Vec<TopicView> {
        let inner = self.inner.read();
        let matching = inner.state.matching(project, filters, after);
        matching.take(limit).map(|topic| topic.view()).collect()
    }

    /// The current generation.
    pub(crate) fn prefix(&self) -> Prefix {
        self.inner.read().prefix
    }

    /// Puts another state in place of everything, together with `commit`, which does so on disk.
    pub(crate) fn replace(
        &self,
        loaded: Loaded,
        commit: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut inner = self.inner.write();
        commit()?;
        *inner = Inner::new(loaded);
        drop(inner);
        self.round.lock().clear();
        Ok(())
    }

    /// Looks up the idempotency keys of a command in the store, before the lock under which it is
    /// applied. Nothing but applying adds keys, and that is done by one task.
    fn recall(&self, command: &cluster::Command) -> Result<Recalled, StoreError> {
        let mut recalled = Recalled::default();
        let Some(cluster::command::Command::Publish(batch)) = &command.command else {
            return Ok(recalled);
        };
        let mut wanted = Vec::new();
        let (prefix, window) = {
            let inner = self.inner.read();
            let time_ms = inner.state.counters().time_ms.max(batch.time_ms);
            for run in &batch.runs {
                let keys = run.publishes.iter();
                let mut keys = keys
                    .filter_map(|p| p.idempotency[..].try_into().ok())
                    .peekable();
                if keys.peek().is_none() {
                    continue;
                }
                let project = ProjectId::try_from(&run.project[..]).ok();
                let name = TopicName::try_from(run.topic.as_str()).ok();
                let topic = project
                    .zip(name)
                    .and_then(|(p, n)| inner.state.named(p, &n));
                // A topic made since the last checkpoint has no keys in the store.
                if let Some(topic) = topic.filter(|t| t.identity.id.0 < inner.stored_topics()) {
                    wanted.extend(keys.map(|key| (topic.identity.id, key)));
                }
            }
            (inner.prefix, window_of(time_ms))
        };
        for (topic, key) in wanted {
            for window in [Some(window), window.checked_sub(1)].into_iter().flatten() {
                let at = prefix.key(Key::Idempotency(window, topic, key));
                if let Some(value) = self.shared.kv.get(&at)? {
                    recalled.insert((topic, key), decode_number(&value)?);
                    break;
                }
            }
        }
        Ok(recalled)
    }
}

impl Inner {
    pub fn new(loaded: Loaded) -> Inner {
        let active = Pending::new(&loaded.state.counters());
        Inner {
            prefix: loaded.prefix,
            applied: loaded.applied,
            written: loaded.applied,
            membership: loaded.membership,
            state: loaded.state,
            sparse: loaded.sparse,
            active,
            frozen: None,
        }
    }

    /// Everything before this position is in the store, and nothing after it is needed from there.
    pub fn stored_position(&self) -> u64 {
        let frozen = self.frozen.as_ref();
        frozen.map_or(self.active.base_position, |f| f.pending.base_position)
    }

    /// Topics with this number or a higher one are not in the store.
    pub fn stored_topics(&self) -> u64 {
        let frozen = self.frozen.as_ref();
        frozen.map_or(self.active.base_topic, |f| f.pending.base_topic)
    }

    /// The pending tables, older first.
    pub fn tables(&self) -> impl Iterator<Item = &Pending> {
        let frozen = self.frozen.iter().map(|f| &f.pending);
        frozen.chain(std::iter::once(&self.active))
    }

    /// Looks at the store as it is now.
    pub fn iterate(&self, shared: &Shared) -> Box<dyn KvIterator> {
        shared.kv.iterate(self.prefix.all())
    }

    fn advance(&mut self, id: LogId) {
        if let Some(before) = self.applied {
            assert_eq!(
                id.index,
                before.index + 1,
                "the log is applied without holes"
            );
            assert!(id.term >= before.term, "terms never go back");
        }
        self.applied = Some(id);
    }
}

/// Idempotency keys that were found in the store.
type Recalled = FxHashMap<(TopicId, [u8; 16]), u64>;

/// All idempotency keys that are known.
struct Known<'a> {
    recalled: &'a Recalled,
    active: &'a Pending,
    frozen: Option<&'a Frozen>,
}

impl Remembered for Known<'_> {
    fn offset_of(&self, topic: TopicId, key: &[u8; 16], now_ms: u64) -> Option<u64> {
        let window = window_of(now_ms);
        let active = self.active.offset_of(topic, key, window);
        let frozen = || self.frozen?.pending.offset_of(topic, key, window);
        let recalled = || self.recalled.get(&(topic, *key)).copied();
        active.or_else(frozen).or_else(recalled)
    }
}
