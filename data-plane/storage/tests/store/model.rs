//! Random commands, checkpoints and crashes against a model that keeps everything in vectors.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_broker::{
    handle::{GapReason, PageLimits, Published, Retain},
    state::Answer,
};
use highwater_proto::{
    cluster::{self, command::Command},
    ids::{ProjectId, TopicId},
    limits::IDEMPOTENCY_WINDOW_MS,
    names::TopicFilter,
};
use proptest::prelude::*;

use crate::world::*;

const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "b"];
const FILTERS: [&str; 5] = ["#", "a/#", "+", "a/+", "b"];

/// Lengths, idempotency keys and what becomes of the retained record.
type Messages = Vec<(usize, Option<u8>, Retain)>;

/// Whether it is the other project, the topic, and what is published.
type Runs = Vec<(bool, usize, Messages)>;

#[derive(Debug, Clone)]
enum Op {
    /// After so many milliseconds.
    Publish(u64, Runs),
    /// Drops so many of a topic's records.
    Trim(usize, u64),
    Delete(usize),
    Checkpoint,
    Crash,
    ReadTopic(usize, u64, (usize, usize)),
    ReadFeed(usize, u64, (usize, usize)),
    ReadRetained(usize, (usize, usize)),
}

fn any_op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![9 => 0usize..40, 1 => 15_000usize..40_000];
    let retain = prop_oneof![
        4 => Just(Retain::Unchanged),
        2 => Just(Retain::Set),
        1 => Just(Retain::Clear),
    ];
    let message = (length, prop::option::weighted(0.3, 0u8..4), retain);
    let run = (
        any::<bool>(),
        0..TOPICS.len(),
        prop::collection::vec(message, 1..5),
    );
    let elapsed = prop_oneof![8 => 0u64..5, 1 => Just(IDEMPOTENCY_WINDOW_MS / 2 + 1)];
    let limits = || (1usize..8, prop_oneof![Just(usize::MAX), 1usize..100]);
    prop_oneof![
        6 => (elapsed, prop::collection::vec(run, 1..4)).prop_map(|(t, runs)| Op::Publish(t, runs)),
        1 => (0..TOPICS.len(), 1u64..6).prop_map(|(t, n)| Op::Trim(t, n)),
        1 => (0..TOPICS.len()).prop_map(Op::Delete),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Crash),
        3 => (0..TOPICS.len(), 0u64..30, limits()).prop_map(|(t, o, l)| Op::ReadTopic(t, o, l)),
        3 => (0..FILTERS.len(), 0u64..60, limits()).prop_map(|(f, p, l)| Op::ReadFeed(f, p, l)),
        3 => (0..FILTERS.len(), limits()).prop_map(|(f, l)| Op::ReadRetained(f, l)),
    ]
}

/// A record, as it was published.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    project: ProjectId,
    topic: &'static str,
    id: TopicId,
    offset: u64,
    time_ms: u64,
    message: Bytes,
}

#[derive(Default)]
struct Model {
    /// Every record, at its position.
    records: Vec<Record>,
    /// Id, first offset and next offset of each topic that exists.
    topics: BTreeMap<(ProjectId, &'static str), (TopicId, u64, u64)>,
    /// Position of the retained record of each topic that has one.
    retained: BTreeMap<(ProjectId, &'static str), u64>,
    ids: u64,
    /// Window and offset of each idempotency key.
    keys: BTreeMap<(TopicId, u8), (u64, u64)>,
}

impl Model {
    fn publish(
        &mut self,
        time_ms: u64,
        project: ProjectId,
        topic: &'static str,
        (message, key, retain): (Bytes, Option<u8>, Retain),
    ) -> Published {
        let ids = &mut self.ids;
        let entry = self.topics.entry((project, topic)).or_insert_with(|| {
            *ids += 1;
            (TopicId(*ids - 1), 0, 0)
        });
        let (id, _, next) = entry;
        let window = time_ms / IDEMPOTENCY_WINDOW_MS;
        if let Some((used_in, offset)) = key.and_then(|key| self.keys.get(&(*id, key)))
            && window <= used_in + 1
        {
            return Published {
                topic: *id,
                offset: *offset,
                duplicate: true,
            };
        }
        if let Some(key) = key {
            self.keys.insert((*id, key), (window, *next));
        }
        let offset = *next;
        *next += 1;
        let position = self.records.len() as u64;
        match retain {
            Retain::Unchanged => {}
            Retain::Set => drop(self.retained.insert((project, topic), position)),
            Retain::Clear => drop(self.retained.remove(&(project, topic))),
        }
        self.records.push(Record {
            project,
            topic,
            id: *id,
            offset,
            time_ms,
            message,
        });
        Published {
            topic: *id,
            offset,
            duplicate: false,
        }
    }

    fn is_alive(&self, record: &Record) -> bool {
        let topic = self.topics.get(&(record.project, record.topic));
        topic.is_some_and(|(id, first, _)| *id == record.id && *first <= record.offset)
    }
}

/// The message of the record that is published at this moment: all are different.
fn message_of(length: usize, unique: usize) -> Bytes {
    let mut text = format!("{unique:06}");
    text.extend(std::iter::repeat_n('x', length));
    text.into()
}

struct Run {
    world: World,
    model: Model,
    unique: usize,
}

impl Run {
    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Publish(elapsed, runs) => self.publish(elapsed, runs)?,
            Op::Trim(topic, records) => {
                if let Some((id, first, next)) =
                    self.model.topics.get_mut(&(PROJECT, TOPICS[topic]))
                {
                    *first = (*first + records).min(*next);
                    let trim = cluster::TopicTrim {
                        topic_id: id.0,
                        first_offset: *first,
                        first_bytes: 0,
                    };
                    self.world.trim(vec![trim]);
                }
            }
            Op::Delete(topic) => {
                let gone = self.model.topics.remove(&(PROJECT, TOPICS[topic]));
                self.model.retained.remove(&(PROJECT, TOPICS[topic]));
                prop_assert_eq!(self.world.delete(TOPICS[topic]), gone.is_some());
            }
            Op::Checkpoint => self.world.checkpoint(),
            Op::Crash => self.world.crash(),
            Op::ReadTopic(topic, offset, limits) => {
                self.read_topic(TOPICS[topic], offset, limits)?
            }
            Op::ReadFeed(filter, position, limits) => {
                self.read_feed(FILTERS[filter], position, limits)?;
            }
            Op::ReadRetained(filter, limits) => self.read_retained(FILTERS[filter], limits)?,
        }
        Ok(())
    }

    fn publish(&mut self, elapsed: u64, runs: Runs) -> Result<(), TestCaseError> {
        self.world.time_ms += elapsed;
        let time_ms = self.world.time_ms;
        let mut expected = Vec::new();
        let mut wire = Vec::new();
        for (other, topic, messages) in runs {
            let project = if other { OTHER } else { PROJECT };
            let mut publishes = Vec::new();
            for (length, key, retain) in messages {
                self.unique += 1;
                let message = message_of(length, self.unique);
                let model = &mut self.model;
                let what = (message.clone(), key, retain);
                expected.push(model.publish(time_ms, project, TOPICS[topic], what));
                publishes.push(cluster::Publish {
                    message,
                    idempotency: key.map(|k| Bytes::from(vec![k; 16])).unwrap_or_default(),
                    retain: retain.to_wire().into(),
                    ..cluster::Publish::default()
                });
            }
            wire.push(run(project, TOPICS[topic], publishes));
        }
        let batch = cluster::PublishBatch {
            time_ms,
            runs: wire,
        };
        let answer = self.world.apply(Command::Publish(batch));
        let expected = expected.into_iter().map(Ok).collect();
        prop_assert_eq!(answer, Answer::Published(expected));
        Ok(())
    }

    fn read_topic(
        &self,
        topic: &'static str,
        offset: u64,
        limits: (usize, usize),
    ) -> Result<(), TestCaseError> {
        let known = self.model.topics.get(&(PROJECT, topic)).copied();
        let (id, first, next) = known.unwrap_or((TopicId(u64::MAX), 0, 0));
        let offset = offset.min(next);
        let wanted = self.model.records.iter().filter(|r| r.id == id);
        let wanted = wanted.filter(|r| r.offset >= offset.max(first));
        let wanted: Vec<_> = wanted
            .map(|r| (r.offset, r.time_ms, r.message.clone()))
            .collect();
        let (mut at, mut found) = (offset, Vec::new());
        loop {
            let limits = PageLimits {
                records: limits.0,
                bytes: limits.1,
            };
            let shard = self.world.shard();
            let page = shard
                .read_topic(PROJECT, &name(topic), None, at, limits)
                .unwrap();
            let is_at_end = shard.is_at_end(PROJECT, &name(topic), None, at);
            let finds_nothing = page.slices.is_empty() && page.through.is_some();
            prop_assert_eq!(is_at_end, finds_nothing && page.gap.is_none());
            prop_assert_eq!(page.topic, known.map(|_| id));
            let gap = page.gap.as_ref().map(|g| (g.requested, g.first_available));
            prop_assert_eq!(gap, (at < first).then_some((at, first)));
            let read = records(&page.slices);
            prop_assert!(read.len() <= limits.records);
            found.extend(
                read.into_iter()
                    .map(|(_, offset, _, time, m)| (offset, time, m)),
            );
            at = page.next_offset;
            if let Some(through) = page.through {
                prop_assert_eq!(through, self.model.records.len() as u64);
                break;
            }
        }
        prop_assert_eq!(at, next);
        prop_assert_eq!(found, wanted);
        Ok(())
    }

    fn read_feed(
        &self,
        filter: &str,
        position: u64,
        limits: (usize, usize),
    ) -> Result<(), TestCaseError> {
        let filters = [TopicFilter::try_from(filter).unwrap()];
        let position = position.min(self.model.records.len() as u64);
        let matching = (0u64..).zip(&self.model.records).skip(position as usize);
        let matching =
            matching.filter(|(_, r)| r.project == PROJECT && filters[0].matches(r.topic));
        let (alive, lost): (Vec<_>, Vec<_>) = matching.partition(|(_, r)| self.model.is_alive(r));
        let wanted: Vec<_> = alive
            .into_iter()
            .map(|(p, r)| (r.id, r.offset, p, r.time_ms, r.message.clone()))
            .collect();
        let (mut at, mut found, mut told) = (position, Vec::new(), Vec::new());
        let mut floor = 0;
        loop {
            let limits = PageLimits {
                records: limits.0,
                bytes: limits.1,
            };
            let shard = self.world.shard();
            let page = shard.read_feed(PROJECT, &filters, at, limits).unwrap();
            found.extend(records(&page.slices));
            for gap in &page.topic_gaps {
                prop_assert!(at <= gap.positions.0 && gap.positions.0 < gap.positions.1);
                let first = page.slices.first();
                let first = first.map(|s| s.segment.base_position + s.start as u64);
                prop_assert!(first.is_none_or(|first| gap.positions.1 <= first));
            }
            told.extend(page.topic_gaps);
            if let Some((requested, first)) = page.gap {
                prop_assert!(requested == at && first > at);
                floor = first;
            }
            prop_assert!(page.at_end || page.next_position > at || page.gap.is_some());
            at = page.next_position;
            if page.at_end {
                break;
            }
        }
        prop_assert_eq!(at, self.model.records.len() as u64);
        prop_assert_eq!(found, wanted);
        // Each topic that lost records after the floor is told of once, with its reason.
        let mut expected: BTreeMap<TopicId, (String, GapReason)> = BTreeMap::new();
        for (_, record) in lost.iter().filter(|(p, _)| *p >= floor) {
            let now = self.model.topics.get(&(PROJECT, record.topic));
            let reason = match now.is_some_and(|(id, ..)| *id == record.id) {
                true => GapReason::Retention,
                false => GapReason::Deleted,
            };
            expected.insert(record.id, (record.topic.to_owned(), reason));
        }
        let mut expected: Vec<_> = expected.into_values().collect();
        let mut told: Vec<_> = told
            .iter()
            .map(|g| (g.topic.to_string(), g.reason))
            .collect();
        let by_name = |a: &(String, GapReason), b: &(String, GapReason)| {
            (&a.0, a.1.name()).cmp(&(&b.0, b.1.name()))
        };
        expected.sort_by(by_name);
        told.sort_by(by_name);
        prop_assert_eq!(told, expected);
        Ok(())
    }
}

impl Run {
    fn read_retained(&self, filter: &str, limits: (usize, usize)) -> Result<(), TestCaseError> {
        let parsed = TopicFilter::try_from(filter).unwrap();
        let wanted = self.model.retained.iter();
        let wanted =
            wanted.filter(|((project, topic), _)| *project == PROJECT && parsed.matches(topic));
        let mut wanted: Vec<u64> = wanted.map(|(_, position)| *position).collect();
        wanted.sort_unstable();
        let record = |position: u64| {
            let r = &self.model.records[position as usize];
            (r.id, r.offset, position, r.time_ms, r.message.clone())
        };
        let wanted: Vec<_> = wanted.into_iter().map(record).collect();
        let end = self.model.records.len() as u64;
        let limits = PageLimits {
            records: limits.0,
            bytes: limits.1,
        };
        let (mut at, mut found) = (0, Vec::new());
        loop {
            let page = self.world.retained(filter, (at, end), limits);
            let read = records(&page.slices);
            prop_assert!(read.len() <= limits.records);
            prop_assert!(page.at_end || !read.is_empty());
            found.extend(read);
            at = page.next_position;
            if page.at_end {
                break;
            }
        }
        prop_assert_eq!(found, wanted);
        Ok(())
    }
}

fn check(world: World, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut run = Run {
        world,
        model: Model::default(),
        unique: 0,
    };
    for op in ops {
        run.step(op)?;
    }
    for _ in 0..2 {
        for topic in TOPICS {
            run.read_topic(topic, 0, (usize::MAX, usize::MAX))?;
        }
        run.read_feed("#", 0, (usize::MAX, usize::MAX))?;
        run.read_retained("#", (usize::MAX, usize::MAX))?;
        run.world.checkpoint();
        run.world.crash();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_reader_gets_what_was_published(ops in prop::collection::vec(any_op(), 1..60)) {
        check(World::in_memory(), ops)?;
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn every_reader_gets_what_was_published_on_rocksdb(ops in prop::collection::vec(any_op(), 20..60)) {
        check(World::on_rocksdb(), ops)?;
    }
}
