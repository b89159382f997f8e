//! What was applied and is not in the key-value store yet.
//!
//! The *active* table takes what is applied. A checkpoint freezes it, writes it, and drops it once
//! it can be read from the store; meanwhile a new active table takes what comes.

use std::sync::Arc;

use bytes::Bytes;
use highwater_broker::{
    metering::Hour,
    segment::Segment,
    state::{Counters, Effects, Topic},
};
use highwater_proto::{
    cluster,
    ids::{ProjectId, TopicId},
    limits::IDEMPOTENCY_WINDOW_MS,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::value::Tombstone;
use crate::log::LogId;

/// Memory of a segment beside its messages, roughly, in bytes.
const SEGMENT_BYTES: usize = 256;
/// Memory of anything else that waits for the checkpoint, roughly, in bytes.
const ENTRY_BYTES: usize = 64;

/// Changes since the last checkpoint began.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Everything of the shard before this position is in an older table or the store.
    pub base_position: u64,
    /// Topics with lower numbers may be in an older table or the store.
    pub base_topic: u64,
    /// Segments of each topic that exists, in order.
    pub topics: FxHashMap<TopicId, Vec<Arc<Segment>>>,
    /// Segments of each project in order, those of deleted topics as well.
    pub feeds: FxHashMap<ProjectId, Vec<Arc<Segment>>>,
    /// Idempotency keys: the window they were used in, and the offset they got.
    pub remembered: FxHashMap<(TopicId, [u8; 16]), (u64, u64)>,
    /// Records with a compaction key, in order.
    pub keyed: Vec<(TopicId, [u8; 16], u64)>,
    /// Topics whose description changed, beside those that got records.
    pub touched: FxHashSet<TopicId>,
    /// Topics that lost records at their beginning.
    pub trimmed: FxHashSet<TopicId>,
    /// Topics whose retained record changed. If they have one, it is among these segments.
    pub retained: FxHashSet<TopicId>,
    /// Topics that are gone.
    pub deleted: FxHashMap<TopicId, Deleted>,
    /// Projects that have used something in the hour that is going on.
    pub used: FxHashSet<ProjectId>,
    /// What projects have used in hours that are over, in order.
    pub used_before: Vec<(ProjectId, Hour)>,
    /// Whether readings were taken.
    pub was_read: bool,
    /// Memory all this takes, roughly.
    pub bytes: usize,
}

/// A topic that is gone.
#[derive(Debug)]
pub(super) struct Deleted {
    pub project: ProjectId,
    pub tombstone: Tombstone,
}

/// A pending table that is being written, and the shard as it was when it was frozen.
#[derive(Debug)]
pub(super) struct Frozen {
    pub pending: Pending,
    pub counters: Counters,
    pub applied: LogId,
    pub membership: Option<Bytes>,
    /// The descriptions of the touched topics, and whether each is sparse.
    pub topics: Vec<(Topic, bool)>,
    /// What projects have used in the hour that is going on.
    pub used: Vec<(ProjectId, Hour)>,
    /// Whose readings were taken, if any were.
    pub meters: Option<cluster::Meters>,
}

impl Pending {
    /// An empty table for what is applied to a shard with these numbers.
    pub fn new(counters: &Counters) -> Pending {
        Pending {
            base_position: counters.next_position,
            base_topic: counters.next_topic,
            ..Pending::default()
        }
    }

    /// Takes up what applying a command left.
    pub fn absorb(&mut self, effects: &Effects) {
        for segment in &effects.segments {
            self.bytes += segment.bytes() + SEGMENT_BYTES;
            let topic = self.topics.entry(segment.topic.id).or_default();
            topic.push(segment.clone());
        }
        // A shard has few projects, and a command's records are of one most of the time.
        let of_one = |a: &Arc<Segment>, b: &Arc<Segment>| a.topic.project == b.topic.project;
        for segments in effects.segments.chunk_by(of_one) {
            let feed = self.feeds.entry(segments[0].topic.project).or_default();
            feed.extend_from_slice(segments);
        }
        let window = window_of(effects.time_ms);
        for (topic, key, offset) in &effects.remember {
            self.remembered.insert((*topic, *key), (window, *offset));
        }
        self.keyed.extend_from_slice(&effects.keyed);
        self.touched.extend(&effects.touched);
        self.trimmed.extend(&effects.trimmed);
        self.retained.extend(&effects.retained);
        for topic in &effects.deleted {
            self.delete(topic);
        }
        let metered = &effects.metered;
        self.used.extend(&metered.changed);
        self.used_before.extend_from_slice(&metered.over);
        self.was_read |= metered.was_read;
        let entries = effects.remember.len()
            + metered.over.len() * 4
            + effects.keyed.len()
            + effects.touched.len()
            + effects.retained.len()
            + effects.deleted.len();
        self.bytes += entries * ENTRY_BYTES;
    }

    fn delete(&mut self, topic: &Topic) {
        let id = topic.identity.id;
        self.topics.remove(&id);
        self.touched.remove(&id);
        self.trimmed.remove(&id);
        if topic.retained.is_some() {
            self.retained.insert(id);
        }
        let tombstone = Tombstone {
            name: topic.identity.name.clone(),
            next_offset: topic.next_offset,
        };
        let project = topic.identity.project;
        self.deleted.insert(id, Deleted { project, tombstone });
    }

    /// The topics whose description changed, each once, in no order.
    pub fn changed_topics(&self) -> impl Iterator<Item = TopicId> {
        let others = self.touched.iter();
        let others = others.filter(|id| !self.topics.contains_key(id));
        self.topics.keys().chain(others).copied()
    }

    /// The segments of a topic, oldest first.
    pub fn topic(&self, id: TopicId) -> &[Arc<Segment>] {
        self.topics.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The segment that holds a record of a topic, retained or not.
    pub fn segment_with(&self, id: TopicId, offset: u64) -> Option<&Arc<Segment>> {
        let segments = self.topic(id);
        let at = segments.partition_point(|s| s.end_offset() <= offset);
        segments.get(at).filter(|s| s.base_offset <= offset)
    }

    /// The segments of a project, oldest first.
    pub fn feed(&self, project: ProjectId) -> &[Arc<Segment>] {
        self.feeds.get(&project).map_or(&[], Vec::as_slice)
    }

    /// The offset a publish with this idempotency key got, if it is still known in this window.
    pub fn offset_of(&self, topic: TopicId, key: &[u8; 16], window: u64) -> Option<u64> {
        let (used_in, offset) = self.remembered.get(&(topic, *key))?;
        (window <= used_in + 1).then_some(*offset)
    }
}

/// The window an idempotency key used at this time is remembered with. It is known in that window
/// and the next one.
pub(super) fn window_of(time_ms: u64) -> u64 {
    time_ms / IDEMPOTENCY_WINDOW_MS
}
