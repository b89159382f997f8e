//! A made-up shard for tests: it applies what it is asked at once and keeps everything in memory.
//!
//! It answers as a shard does, and can be told to do what a shard does rarely: hold writes back,
//! refuse them, lose old records.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use highwater_proto::{
    cluster,
    ids::{ProjectId, ShardId, TopicId},
    names::{TopicFilter, TopicName},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    handle::{
        FeedGap, FeedPage, FeedSeek, GapReason, PageLimits, Publish, ReadRequest, RetainedPage,
        ShardHandle, ShardQueues, TopicEnd, TopicGap, TopicPage, WriteRequest,
    },
    refusal::Refusal,
    segment::{Segment, Slice},
    state::{Answer, Effects, Remembered, ShardState, Topic},
    tail::Tail,
};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A shard in memory.
#[derive(Clone)]
pub struct FakeShard {
    handle: ShardHandle,
    store: Arc<Mutex<Store>>,
    held: watch::Sender<bool>,
}

/// What the shard has applied.
#[derive(Default)]
struct Store {
    state: ShardState,
    /// Every segment that was ever appended, in order of position.
    segments: Vec<Arc<Segment>>,
    remembered: Known,
    /// The feed has nothing before this position.
    floor: u64,
    refusal: Option<Refusal>,
}

#[derive(Default)]
struct Known(HashMap<(TopicId, [u8; 16]), u64>);

impl Remembered for Known {
    fn offset_of(&self, topic: TopicId, key: &[u8; 16], _now_ms: u64) -> Option<u64> {
        self.0.get(&(topic, *key)).copied()
    }
}

impl FakeShard {
    /// A shard, and what must be run for it to answer.
    pub fn new(
        id: ShardId,
        tail: Tail,
        clock: Clock,
    ) -> (FakeShard, impl Future<Output = ()> + Send + 'static) {
        let (handle, queues) = ShardHandle::new(id, Arc::new(tail));
        let (held, _) = watch::channel(false);
        let shard = FakeShard {
            handle,
            store: Arc::default(),
            held,
        };
        let running = shard.clone().run(queues, clock);
        (shard, running)
    }

    /// How it is reached.
    pub fn handle(&self) -> &ShardHandle {
        &self.handle
    }

    /// Holds writes back, or lets them go on.
    pub fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Publishes and deletions that are held back, or in the queue.
    pub fn waiting(&self) -> usize {
        self.handle.waiting_writes()
    }

    /// Refuses writes, or takes them again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.store.lock().refusal = refusal;
    }

    /// Loses the records of a topic before an offset, as retention does.
    pub fn trim(&self, project: ProjectId, topic: &TopicName, first_offset: u64) {
        let mut store = self.store.lock();
        let topic = store
            .state
            .named(project, topic)
            .expect("the topic to trim exists");
        let trim = cluster::TopicTrim {
            topic_id: topic.identity.id.0,
            first_offset,
            first_bytes: topic.first_bytes,
        };
        let trim = cluster::Trim {
            time_ms: 0,
            topics: vec![trim],
        };
        store.apply(cluster::command::Command::Trim(trim));
    }

    /// Loses everything before a position of the shard, as a feed sees it.
    pub fn lose_feed_before(&self, position: u64) {
        self.store.lock().floor = position;
    }

    async fn run(self, mut queues: ShardQueues, clock: Clock) {
        let mut held = self.held.subscribe();
        loop {
            let is_held = *held.borrow_and_update();
            tokio::select! {
                biased;
                _ = held.changed() => {}
                Some(read) = queues.reads.recv() => self.store.lock().answer(read),
                Some(write) = queues.writes.recv(), if !is_held => self.take(write, clock()),
                else => return,
            }
        }
    }

    fn take(&self, write: WriteRequest, time_ms: u64) {
        let mut store = self.store.lock();
        let refusal = store.refusal.clone();
        match write {
            WriteRequest::Publish {
                publishes,
                reply,
                permit,
            } => {
                let outcomes = match refusal {
                    Some(refusal) => Err(refusal),
                    None => match store.append(publishes, time_ms, self.handle.tail()) {
                        Answer::Published(outcomes) => Ok(outcomes),
                        other => panic!("a publish was answered with {other:?}"),
                    },
                };
                drop(permit);
                // Whoever asked may have gone.
                let _ = reply.send(outcomes);
            }
            WriteRequest::DeleteTopic {
                project,
                topic,
                if_end,
                reply,
            } => {
                let (if_next_offset_plus_one, if_topic_id_plus_one) = TopicEnd::to_wire(if_end);
                let delete = cluster::DeleteTopic {
                    project: Bytes::copy_from_slice(project.as_bytes()),
                    topic: topic.to_string(),
                    if_next_offset_plus_one,
                    if_topic_id_plus_one,
                };
                let deleted = match refusal {
                    Some(refusal) => Err(refusal),
                    None => match store
                        .apply(cluster::command::Command::DeleteTopic(delete))
                        .answer
                    {
                        Answer::Deleted(deleted) => deleted,
                        other => panic!("a deletion was answered with {other:?}"),
                    },
                };
                let _ = reply.send(deleted);
            }
            WriteRequest::Reading { mut reading, reply } => {
                reading.time_ms = time_ms;
                let taken = match refusal {
                    Some(refusal) => Err(refusal),
                    None => {
                        store.apply(cluster::command::Command::Reading(reading));
                        Ok(())
                    }
                };
                let _ = reply.send(taken);
            }
        }
    }
}

impl Store {
    fn append(&mut self, publishes: Vec<Publish>, time_ms: u64, tail: &Tail) -> Answer {
        let mut runs: Vec<cluster::TopicRun> = Vec::new();
        let groups: Vec<u32> = Publish::groups(&publishes).collect();
        for (publish, group) in publishes.into_iter().zip(groups) {
            let project = publish.project.as_bytes();
            let same = |run: &&mut cluster::TopicRun| {
                run.topic == publish.topic.as_str() && run.project == project[..]
            };
            let part = publish.to_wire(group);
            match runs.last_mut().filter(same) {
                Some(run) => run.publishes.push(part),
                None => runs.push(cluster::TopicRun {
                    project: Bytes::copy_from_slice(project),
                    topic: publish.topic.to_string(),
                    publishes: vec![part],
                    policy: Some(publish.policy.to_wire()),
                }),
            }
        }
        let batch = cluster::PublishBatch { time_ms, runs };
        let effects = self.apply(cluster::command::Command::Publish(batch));
        tail.push(&effects.segments, self.state.next_position());
        effects.answer
    }

    fn apply(&mut self, command: cluster::command::Command) -> Effects {
        let command = cluster::Command {
            command: Some(command),
        };
        let effects = self.state.apply(command, &self.remembered);
        self.segments.extend(effects.segments.iter().cloned());
        let remember = effects.remember.iter();
        self.remembered
            .0
            .extend(remember.map(|(topic, key, offset)| ((*topic, *key), *offset)));
        effects
    }

    fn answer(&self, read: ReadRequest) {
        let state = &self.state;
        // Whoever asked may have gone: none of the sends matters then.
        match read {
            ReadRequest::Frontier { reply } => drop(reply.send(Ok(state.next_position()))),
            ReadRequest::Topic {
                project,
                topic,
                reply,
            } => {
                drop(reply.send(Ok(state.named(project, &topic).map(Topic::view))));
            }
            ReadRequest::Topics {
                project,
                filters,
                after,
                limit,
                reply,
            } => {
                let topics = state.matching(project, &filters, after.as_ref());
                drop(reply.send(Ok(topics.take(limit).map(Topic::view).collect())));
            }
            ReadRequest::TopicTime {
                project,
                topic,
                time_ms,
                reply,
            } => {
                let offset = state
                    .named(project, &topic)
                    .map_or(0, |t| self.topic_time(t, time_ms));
                drop(reply.send(Ok(offset)));
            }
            ReadRequest::ReadTopic {
                project,
                topic,
                incarnation,
                offset,
                limits,
                reply,
            } => {
                let page = match state.named(project, &topic) {
                    Some(topic) => self.topic_page(topic, incarnation, offset, limits),
                    None => TopicPage {
                        topic: None,
                        slices: Vec::new(),
                        next_offset: offset,
                        through: Some(state.next_position()),
                        gap: None,
                    },
                };
                drop(reply.send(Ok(page)));
            }
            ReadRequest::ReadFeed {
                project,
                filters,
                position,
                limits,
                reply,
            } => {
                drop(reply.send(Ok(self.feed_page(project, &filters, position, limits))));
            }
            ReadRequest::SeekFeed {
                project,
                filters,
                to,
                reply,
            } => {
                drop(reply.send(Ok(self.seek(project, &filters, to))));
            }
            ReadRequest::RetainedRecords {
                project,
                filters,
                positions,
                limits,
                reply,
            } => {
                drop(reply.send(Ok(self.retained(project, &filters, positions, limits))));
            }
            ReadRequest::Usage {
                project,
                hours,
                reply,
            } => {
                let hour = state.ledger().hour(project).cloned();
                let known = hour.filter(|hour| hour.hour < hours.end);
                drop(reply.send(Ok(known.into_iter().collect())));
            }
        }
    }

    fn topic_time(&self, topic: &Topic, time_ms: u64) -> u64 {
        let mut segments = self
            .segments
            .iter()
            .filter(|s| s.topic.id == topic.identity.id);
        let first = segments.find(|s| s.time_ms >= time_ms);
        first.map_or(topic.next_offset, |s| s.base_offset.max(topic.first_offset))
    }

    fn topic_page(
        &self,
        topic: &Topic,
        incarnation: Option<TopicId>,
        offset: u64,
        limits: PageLimits,
    ) -> TopicPage {
        let id = topic.identity.id;
        let gap = |reason| TopicGap {
            topic: topic.identity.name.clone(),
            id,
            requested: offset,
            first_available: topic.first_offset,
            reason,
        };
        let gap = match incarnation {
            Some(other) if other != id => Some(gap(GapReason::Deleted)),
            _ if offset < topic.first_offset => Some(gap(GapReason::Retention)),
            _ => None,
        };
        let start = gap.as_ref().map_or(offset, |gap| gap.first_available);
        let segments = self.segments.iter().filter(|s| s.topic.id == id);
        let slices = segments.filter_map(|s| Slice::from_offset(s.clone(), start));
        let (slices, is_cut) = page(slices, limits);
        TopicPage {
            topic: Some(id),
            next_offset: slices.last().map_or(start, Slice::end_offset),
            slices,
            through: (!is_cut).then_some(self.state.next_position()),
            gap,
        }
    }

    /// The records of a project at and after a position that match the filters and are still there.
    fn feed<'a>(
        &'a self,
        project: ProjectId,
        filters: &'a [TopicFilter],
        position: u64,
    ) -> impl DoubleEndedIterator<Item = Slice> + 'a {
        let position = position.max(self.floor);
        let wanted = move |s: &&Arc<Segment>| {
            let name = s.topic.name.as_str();
            s.topic.project == project && filters.iter().any(|f| f.matches(name))
        };
        self.segments
            .iter()
            .filter(wanted)
            .filter_map(move |segment| {
                let topic = self.state.topic(segment.topic.id)?;
                let slice = Slice::from_position(segment.clone(), position)?;
                let retained = Slice::from_offset(segment.clone(), topic.first_offset)?;
                Some(Slice {
                    start: slice.start.max(retained.start),
                    ..slice
                })
            })
    }

    fn feed_page(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        position: u64,
        limits: PageLimits,
    ) -> FeedPage {
        let (mut slices, is_cut) = page(self.feed(project, filters, position), limits);
        let end = self.state.next_position();
        let mut next_position = match slices.last() {
            Some(last) if is_cut => last.end_position(),
            _ => end.max(position),
        };
        // Gaps come before records: one that lies behind a record is for the next page.
        let mut topic_gaps = self.topic_gaps(project, filters, position..next_position);
        if let Some(first) = slices.first() {
            let first = first.segment.base_position + first.start as u64;
            let late = topic_gaps.iter().filter(|gap| gap.positions.0 >= first);
            if let Some(cut) = late.map(|gap| gap.positions.0).min() {
                slices.retain(|slice| slice.end_position() <= cut);
                next_position = cut;
            }
            topic_gaps.retain(|gap| gap.positions.0 < first);
        }
        FeedPage {
            at_end: next_position >= end,
            next_position,
            gap: (position < self.floor).then_some((position, self.floor)),
            topic_gaps,
            slices,
        }
    }

    /// Topics whose last lost record was at one of these positions.
    fn topic_gaps(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        positions: std::ops::Range<u64>,
    ) -> Vec<FeedGap> {
        let topics = self.state.matching(project, filters, None);
        let gap = |topic: &Topic| {
            let id = topic.identity.id;
            let mut of_topic = self.segments.iter().filter(|s| s.topic.id == id);
            let lost = of_topic.rfind(|s| s.base_offset < topic.first_offset)?;
            let retained = topic.first_offset.min(lost.end_offset());
            let end = lost.base_position + (retained - lost.base_offset);
            let start = lost.base_position.max(positions.start);
            (start < end && positions.contains(&start)).then(|| FeedGap {
                topic: topic.identity.name.clone(),
                positions: (start, end),
                reason: GapReason::Retention,
            })
        };
        let mut gaps: Vec<FeedGap> = topics.filter_map(gap).collect();
        gaps.sort_by_key(|gap| gap.positions);
        gaps
    }

    fn seek(&self, project: ProjectId, filters: &[TopicFilter], to: FeedSeek) -> u64 {
        match to {
            FeedSeek::Earliest => self.floor,
            FeedSeek::Time(time_ms) => {
                let mut slices = self.feed(project, filters, 0);
                let first = slices.find(|s| s.segment.time_ms >= time_ms);
                first.map_or(self.state.next_position(), |s| {
                    s.segment.base_position + s.start as u64
                })
            }
            FeedSeek::Last(mut count) => {
                let mut position = self.state.next_position();
                for slice in self.feed(project, filters, 0).rev() {
                    let taken = count.min(slice.count() as u64);
                    if taken == 0 {
                        break;
                    }
                    position = slice.end_position() - taken;
                    count -= taken;
                }
                position
            }
        }
    }

    fn retained(
        &self,
        project: ProjectId,
        filters: &[TopicFilter],
        (from, until): (u64, u64),
        limits: PageLimits,
    ) -> RetainedPage {
        let mut retained: Vec<u64> = self
            .state
            .retaining(project, filters)
            .map(|(_, record)| record.position)
            .filter(|position| (from..until).contains(position))
            .collect();
        retained.sort_unstable();
        let record = |position: &u64| {
            let at = self
                .segments
                .partition_point(|s| s.end_position() <= *position);
            let mut slice = Slice::from_position(self.segments[at].clone(), *position)?;
            slice.end = slice.start + 1;
            Some(slice)
        };
        let (slices, is_cut) = page(retained.iter().filter_map(record), limits);
        RetainedPage {
            next_position: slices.last().map_or(until, Slice::end_position),
            slices,
            at_end: !is_cut,
        }
    }
}

/// As many records as the limits allow, and whether there are more. The first is always among them.
fn page(slices: impl Iterator<Item = Slice>, limits: PageLimits) -> (Vec<Slice>, bool) {
    let (mut records, mut bytes) = (limits.records.max(1), limits.bytes.max(1));
    let mut taken: Vec<Slice> = Vec::new();
    for mut slice in slices {
        if records == 0 || bytes == 0 {
            return (taken, true);
        }
        let is_cut = slice.cut(records, bytes);
        records = records.saturating_sub(slice.count());
        bytes = bytes.saturating_sub(slice.bytes());
        taken.push(slice);
        if is_cut {
            return (taken, true);
        }
    }
    (taken, false)
}
