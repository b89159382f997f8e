//! Finding what has outlived its topic's retention, so that the leader can propose to drop it.

use std::sync::Arc;

use highwater_broker::{catalogue::Retention, segment::Segment};
use highwater_proto::{
    cluster::TopicTrim,
    ids::{ProjectId, TopicId},
    limits::{RETENTION_TOPICS_MAX, TRIM_TOPICS_MAX},
    names::TopicName,
};

use super::{ShardStore, StoreError, disk_topic::DiskTopic};
use crate::block::Block;

/// What decides about one topic.
struct Candidate {
    id: TopicId,
    project: ProjectId,
    name: TopicName,
    first_offset: u64,
    next_offset: u64,
    first_bytes: u64,
    next_bytes: u64,
    time_ms: u64,
}

/// An offset and the bytes of all records before it.
type Cut = (u64, u64);

impl ShardStore {
    /// The topics that hold more than their retention allows, and from where on they are to be kept.
    ///
    /// One call looks at the disk for so many topics ([`TRIM_TOPICS_MAX`]) and the next one goes on
    /// where it stopped, so the work of a call has a bound. It reads block by block in halves and
    /// never through the data.
    pub fn due_trims(
        &self,
        now_ms: u64,
        policy: &dyn Fn(ProjectId, &TopicName) -> Retention,
    ) -> Result<Vec<TopicTrim>, StoreError> {
        let mut round = self.round.lock();
        if round.is_empty() {
            let inner = self.inner.read();
            round.extend(inner.state.topics().map(|t| t.identity.id));
        }
        let mut trims = Vec::new();
        let mut looks = 0;
        while looks < TRIM_TOPICS_MAX && !round.is_empty() {
            let left = round.len().saturating_sub(RETENTION_TOPICS_MAX);
            for topic in self.candidates(&round.split_off(left)) {
                let retention = policy(topic.project, &topic.name);
                if !retention.is_limited() || topic.first_offset == topic.next_offset {
                    continue;
                }
                looks += 1;
                let (first_offset, first_bytes) = self.cut(&topic, &retention, now_ms)?;
                if first_offset > topic.first_offset {
                    trims.push(TopicTrim {
                        topic_id: topic.id.0,
                        first_offset,
                        first_bytes,
                    });
                }
            }
        }
        Ok(trims)
    }

    fn candidates(&self, ids: &[TopicId]) -> Vec<Candidate> {
        let inner = self.inner.read();
        let topics = ids.iter().filter_map(|id| inner.state.topic(*id));
        let candidates = topics.map(|topic| Candidate {
            id: topic.identity.id,
            project: topic.identity.project,
            name: topic.identity.name.clone(),
            first_offset: topic.first_offset,
            next_offset: topic.next_offset,
            first_bytes: topic.first_bytes,
            next_bytes: topic.next_bytes,
            time_ms: topic.time_ms,
        });
        candidates.collect()
    }

    /// Where the topic has to begin for all limits to be kept.
    fn cut(
        &self,
        topic: &Candidate,
        retention: &Retention,
        now_ms: u64,
    ) -> Result<Cut, StoreError> {
        let mut cut = (topic.first_offset, topic.first_bytes);
        let all = (topic.next_offset, topic.next_bytes);
        if let Some(records) = retention.records {
            let first = topic.next_offset.saturating_sub(records);
            if first > cut.0 {
                cut = cut.max(self.find(topic, Wanted::Offset(first))?);
            }
        }
        if let Some(bytes) = retention.bytes {
            let dropped = topic.next_bytes.saturating_sub(bytes);
            if dropped > cut.1 {
                cut = cut.max(self.find(topic, Wanted::Bytes(dropped))?);
            }
        }
        if let Some(age_ms) = retention.age_ms {
            let oldest = now_ms.saturating_sub(age_ms);
            if topic.time_ms < oldest {
                cut = all;
            } else {
                cut = cut.max(self.find(topic, Wanted::Time(oldest))?);
            }
        }
        Ok(cut)
    }

    /// The first record for which `wanted` holds, in memory or on disk.
    fn find(&self, topic: &Candidate, wanted: Wanted) -> Result<Cut, StoreError> {
        let all = (topic.next_offset, topic.next_bytes);
        let (end, mut disk) = {
            let inner = self.inner.read();
            let first = inner.pending_of(topic.id).next();
            let end = first.map_or(topic.next_offset, |s| s.base_offset);
            if end <= topic.first_offset || first.is_some_and(|s| !wanted.reached(s)) {
                let mut pending = inner.pending_of(topic.id);
                let found = pending.find_map(|segment| wanted.in_segment(segment));
                return Ok(found.unwrap_or(all).min(all));
            }
            (end, DiskTopic::open(&self.shared, inner.prefix, topic.id))
        };
        // The last block that begins before what is wanted holds it, or the next one begins with it.
        let last = disk.last_where(topic.first_offset, end, |b| !wanted.reached_by(b))?;
        let Some(block) = last else {
            return Ok((topic.first_offset, topic.first_bytes));
        };
        let offset = wanted.in_block(&block).min(end);
        Ok((offset, block.bytes_before(offset)))
    }
}

/// What the first record to keep is found by.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// This offset.
    Offset(u64),
    /// At least so many bytes before it.
    Bytes(u64),
    /// Published at this time or later.
    Time(u64),
}

impl Wanted {
    /// Whether the first record of a segment is as wanted.
    fn reached(self, segment: &Arc<Segment>) -> bool {
        match self {
            Wanted::Offset(offset) => segment.base_offset >= offset,
            Wanted::Bytes(bytes) => segment.base_bytes >= bytes,
            Wanted::Time(time_ms) => segment.time_ms >= time_ms,
        }
    }

    /// The first record of a segment that is as wanted.
    fn in_segment(self, segment: &Arc<Segment>) -> Option<Cut> {
        let mut bytes = segment.base_bytes;
        for (offset, message) in (segment.base_offset..).zip(&segment.messages) {
            let found = match self {
                Wanted::Offset(wanted) => offset >= wanted,
                Wanted::Bytes(wanted) => bytes >= wanted,
                Wanted::Time(wanted) => segment.time_ms >= wanted,
            };
            if found {
                return Some((offset, bytes));
            }
            bytes += message.len() as u64;
        }
        None
    }

    /// Whether the first record of a block is as wanted.
    fn reached_by(self, block: &Block) -> bool {
        let header = block.header();
        match self {
            Wanted::Offset(offset) => header.base_offset >= offset,
            Wanted::Bytes(bytes) => header.base_bytes >= bytes,
            Wanted::Time(time_ms) => header.first_time_ms >= time_ms,
        }
    }

    /// The first offset of a block that is as wanted, or the one after it.
    fn in_block(self, block: &Block) -> u64 {
        match self {
            Wanted::Offset(offset) => offset.min(block.header().end_offset()),
            Wanted::Bytes(bytes) => block.offset_at_bytes(bytes),
            Wanted::Time(time_ms) => block.offset_at_time(time_ms),
        }
    }
}
