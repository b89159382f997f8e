//! What one subscriber was promised and what it was given, over all its subscriptions: one journey
//! through the shards' logs that goes on where it left off.

use std::collections::BTreeMap;

use highwater_broker::{catalogue::Project, segment::Slice};
use highwater_proto::{
    ids::ShardId,
    names::{TopicFilter, TopicName},
};

use crate::oracle::Verdict;

/// The way of one subscriber.
pub struct Journey {
    /// Its name.
    pub name: String,
    /// What it follows.
    pub filters: Vec<TopicFilter>,
    /// What its first receipt said, once there was one.
    pub start: Option<Start>,
    /// The next offset, when it follows one topic.
    pub next_offset: u64,
    /// Positions that were delivered, in order.
    delivered: BTreeMap<ShardId, Vec<u64>>,
}

/// Where a journey begins: everything from here on is delivered.
#[derive(Debug, Clone)]
pub enum Start {
    /// This offset of the one topic.
    Offset(u64),
    /// These positions.
    Positions(BTreeMap<ShardId, u64>),
}

impl Journey {
    /// A journey that has not begun.
    pub fn new(name: &str, filters: Vec<TopicFilter>) -> Journey {
        Journey {
            name: name.to_owned(),
            filters,
            start: None,
            next_offset: 0,
            delivered: BTreeMap::new(),
        }
    }

    /// The topic, if it follows just one.
    pub fn topic(&self) -> Option<TopicName> {
        match self.filters.as_slice() {
            [one] => one.as_topic(),
            _ => None,
        }
    }

    /// Takes one record. Order is strict, and one topic has no holes.
    pub fn take(&mut self, shard: ShardId, slice: &Slice, index: usize) -> Verdict {
        let segment = &slice.segment;
        let (name, topic) = (&self.name, &segment.topic.name);
        let offset = segment.base_offset + index as u64;
        let position = segment.base_position + index as u64;
        if !self
            .filters
            .iter()
            .any(|filter| filter.matches(topic.as_str()))
        {
            return Err(format!(
                "{name} was given {topic}@{offset}, which it did not ask for"
            ));
        }
        if self.topic().is_some() {
            if offset != self.next_offset {
                let next = self.next_offset;
                return Err(format!(
                    "{name} was given {topic}@{offset}, and {next} comes next"
                ));
            }
            self.next_offset += 1;
        }
        let delivered = self.delivered.entry(shard).or_default();
        if let Some(last) = delivered.last().filter(|last| **last >= position) {
            return Err(format!(
                "{name} was given {topic}@{offset}, position {position} of shard {shard}, after {last}"
            ));
        }
        delivered.push(position);
        Ok(())
    }

    /// The first record it should have and has not, of those that are there.
    pub fn missing<'a>(
        &self,
        project: &Project,
        records: impl Iterator<Item = (ShardId, u64, &'a TopicName, u64)>,
    ) -> Option<String> {
        let Some(start) = &self.start else {
            return Some(format!("{} has not begun", self.name));
        };
        let asked = |topic: &TopicName| self.filters.iter().any(|f| f.matches(topic.as_str()));
        let promised = |shard: &ShardId, position: u64, offset: u64| match start {
            Start::Offset(first) => offset >= *first,
            Start::Positions(first) => first.get(shard).is_none_or(|first| position >= *first),
        };
        let has = |shard: &ShardId, position: u64| {
            let delivered = self.delivered.get(shard);
            delivered.is_some_and(|all| all.binary_search(&position).is_ok())
        };
        records
            // What was trimmed may be missing: the gap was told.
            .filter(|(_, _, topic, _)| asked(topic) && !is_trimmed(project, topic))
            .filter(|(shard, position, _, offset)| promised(shard, *position, *offset))
            .find(|(shard, position, ..)| !has(shard, *position))
            .map(|(_, _, topic, offset)| format!("{} misses {topic}@{offset}", self.name))
    }
}

/// Whether old records of a topic go.
pub fn is_trimmed(project: &Project, topic: &TopicName) -> bool {
    project.policy(topic).retention.is_limited()
}
