//! Subscriptions over made-up shards: what is promised of them while writers go on.

mod retained;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use highwater_proto::{
    client::Message,
    ids::{ProjectId, TenantId},
};
use prost::Message as _;
use tokio::{task::JoinSet, time::timeout};

use super::*;
use crate::{
    catalogue::Catalogue,
    fake::FakeShard,
    handle::{Publish, Published, Retain, TopicPolicy},
    tail::Tail,
};

const ALL: PageLimits = PageLimits {
    records: 1_000,
    bytes: 1 << 20,
};
const DEADLINE: Duration = Duration::from_secs(20);

/// Memory of a small record that is published by itself, about.
const RECORD_BYTES: usize = 800;

/// A broker over made-up shards with one project on all of them.
struct World {
    broker: Arc<Broker>,
    project: Arc<Project>,
    shards: Vec<FakeShard>,
    time_ms: Arc<AtomicU64>,
    _running: JoinSet<()>,
}

impl World {
    fn new(shards: u32) -> World {
        World::with_tail(shards, 64 << 20)
    }

    fn with_tail(shards: u32, tail_bytes_max: usize) -> World {
        let time_ms = Arc::new(AtomicU64::new(1_000));
        let mut running = JoinSet::new();
        let mut all: Vec<FakeShard> = (0..=shards)
            .map(|id| {
                let time_ms = time_ms.clone();
                let clock = Arc::new(move || time_ms.load(Ordering::Relaxed));
                let tail = Tail::new(tail_bytes_max);
                let (shard, run) = FakeShard::new(ShardId(id), tail, clock);
                running.spawn(run);
                shard
            })
            .collect();
        let meta = all.pop().expect("the meta group is the last");
        let shards = all;
        let ids = shards.iter().map(|s| s.handle().id()).collect();
        let project = Project::new(ProjectId::generate(), TenantId::generate(), "p", ids);
        let catalogue = Catalogue::new([project.clone()], []);
        let handles = shards.iter().map(|s| s.handle().clone()).collect();
        World {
            broker: Arc::new(Broker::new(
                b"secret",
                catalogue,
                handles,
                meta.handle().clone(),
            )),
            project: Arc::new(project),
            shards,
            time_ms,
            _running: running,
        }
    }

    async fn publish(&self, topic: &str, payload: &str) -> Published {
        self.publish_with_ttl(topic, payload, 0).await
    }

    async fn publish_with_ttl(&self, topic: &str, payload: &str, ttl_ms: u64) -> Published {
        let (broker, project) = (&self.broker, &self.project);
        publish(broker, project, topic, (payload, ttl_ms), Retain::Unchanged).await
    }

    /// The first topics below `a/` that lie in a shard.
    fn topics_of(&self, shard: u32, count: usize) -> Vec<String> {
        let topics = (0..).map(|number| format!("a/{number}"));
        let here = topics.filter(|t| self.project.shard_of(&name(t)) == ShardId(shard));
        here.take(count).collect()
    }

    async fn delete(&self, topic: &str) {
        let topic = name(topic);
        let shard = self.broker.shard_of(&self.project, &topic);
        let deleted = shard.delete_topic(self.project.id, topic, None).await;
        assert!(deleted.unwrap());
    }

    async fn open(&self, filters: &[&str], from: From) -> Result<Subscription> {
        let filters = filters.iter().map(|f| TopicFilter::try_from(*f).unwrap());
        Subscription::open(
            self.broker.clone(),
            self.project.clone(),
            filters.collect(),
            from,
        )
        .await
    }

    async fn subscribe(&self, filters: &[&str], from: &str) -> Reader {
        let subscription = self
            .open(filters, From::parse(from).unwrap())
            .await
            .unwrap();
        Reader {
            subscription,
            time_ms: self.time_ms.clone(),
            cursor: String::new(),
        }
    }
}

async fn publish(
    broker: &Broker,
    project: &Project,
    topic: &str,
    (payload, ttl_ms): (&str, u64),
    retain: Retain,
) -> Published {
    let message = Message {
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        ttl_ms,
        ..Message::default()
    };
    let publish = Publish {
        project: project.id,
        topic: name(topic),
        message: message.encode_to_vec().into(),
        idempotency: None,
        key: None,
        if_end: None,
        policy: TopicPolicy::default(),
        retain,
        with_previous: false,
        protocol: crate::metering::Protocol::Unspecified,
    };
    let shard = broker.shard_of(project, &publish.topic);
    let outcome = shard.publish(vec![publish]).await.unwrap();
    outcome.await.unwrap().unwrap().remove(0).unwrap()
}

fn name(topic: &str) -> TopicName {
    TopicName::try_from(topic).unwrap()
}

/// A record as the test sees it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    topic: String,
    offset: u64,
    payload: String,
    cursor: String,
}

/// A subscription that is read record by record.
struct Reader {
    subscription: Subscription,
    time_ms: Arc<AtomicU64>,
    /// That of the last record.
    cursor: String,
}

impl Reader {
    async fn next(&mut self, limits: PageLimits) -> (Vec<Seen>, Vec<Gap>) {
        let time_ms = self.time_ms.clone();
        let now = move || time_ms.load(Ordering::Relaxed);
        let next = timeout(DEADLINE, self.subscription.next(limits, &now)).await;
        let delivery = next.expect("a delivery in time").unwrap();
        let seen = self.look_at(&delivery);
        (seen, delivery.gaps)
    }

    /// What there is without waiting.
    async fn rest(&mut self, limits: PageLimits) -> (Vec<Seen>, Vec<Gap>) {
        let time_ms = self.time_ms.clone();
        let now = move || time_ms.load(Ordering::Relaxed);
        let (mut records, mut gaps) = (Vec::new(), Vec::new());
        while let Some(delivery) = self.subscription.try_next(limits, &now).await.unwrap() {
            records.extend(self.look_at(&delivery));
            gaps.extend(delivery.gaps);
        }
        (records, gaps)
    }

    async fn payloads(&mut self) -> Vec<String> {
        let (records, gaps) = self.rest(ALL).await;
        assert_eq!(gaps, []);
        records.into_iter().map(|r| r.payload).collect()
    }

    fn look_at(&mut self, delivery: &Delivery) -> Vec<Seen> {
        let mut records = Vec::new();
        for slice in &delivery.slices {
            for index in slice.start..slice.end {
                let message = Message::decode(slice.segment.messages[index].clone()).unwrap();
                let cursor = self
                    .subscription
                    .record_cursor(&delivery.cursors, slice, index);
                self.cursor = cursor.clone();
                records.push(Seen {
                    topic: slice.segment.topic.name.to_string(),
                    offset: slice.segment.base_offset + index as u64,
                    payload: String::from_utf8(message.payload.to_vec()).unwrap(),
                    cursor,
                });
            }
        }
        records
    }
}

/// Starts writers that publish numbers to each of these topics.
fn write(world: &World, topics: &[&str], count: u64) -> JoinSet<()> {
    write_each(world, topics, count, Retain::Unchanged)
}

fn write_each(world: &World, topics: &[&str], count: u64, retain: Retain) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for topic in topics {
        let (broker, project) = (world.broker.clone(), world.project.clone());
        let topic = (*topic).to_owned();
        writers.spawn(async move {
            for number in 0..count {
                let payload = number.to_string();
                publish(&broker, &project, &topic, (&payload, 0), retain).await;
            }
        });
    }
    writers
}

#[tokio::test(flavor = "multi_thread")]
async fn history_joins_live_without_a_seam_while_writers_go_on() {
    const COUNT: u64 = 3_000;
    for tail_bytes_max in [64 << 20, 50 * RECORD_BYTES] {
        let world = World::with_tail(1, tail_bytes_max);
        let mut writers = write(&world, &["a"], COUNT);
        let mut expected = 0;
        let mut reader = world.subscribe(&["a"], "earliest").await;
        let mut turn = 0;
        while expected < COUNT {
            let limits = PageLimits {
                records: 1 + turn % 17,
                ..ALL
            };
            turn += 1;
            let (records, gaps) = reader.next(limits).await;
            assert_eq!(gaps, []);
            assert!(
                records.len() <= limits.records,
                "no more than was asked for"
            );
            for record in records {
                assert_eq!(record.offset, expected);
                assert_eq!(record.payload, expected.to_string());
                expected += 1;
            }
            // Whoever comes back with its cursor goes on where it stopped.
            if turn % 50 == 0 {
                let from = format!("cursor:{}", reader.cursor);
                reader = world.subscribe(&["a"], &from).await;
            }
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_over_several_shards_misses_and_repeats_nothing() {
    const COUNT: u64 = 500;
    let topics = ["a/1", "a/2", "a/3", "a/4", "b/1"];
    for tail_bytes_max in [64 << 20, 80 * RECORD_BYTES] {
        let world = World::with_tail(3, tail_bytes_max);
        let mut writers = write(&world, &topics, COUNT);
        let mut reader = world.subscribe(&["a/#"], "earliest").await;
        let mut next: HashMap<String, u64> = HashMap::new();
        let (mut turn, mut total) = (0, 0);
        while total < 4 * COUNT {
            let limits = PageLimits {
                records: 1 + turn % 29,
                ..ALL
            };
            turn += 1;
            let (records, gaps) = reader.next(limits).await;
            assert_eq!(gaps, []);
            for record in records {
                let expected = next.entry(record.topic.clone()).or_default();
                assert_eq!(record.offset, *expected, "of {}", record.topic);
                assert!(record.topic.starts_with("a/"));
                *expected += 1;
                total += 1;
            }
            if turn % 40 == 0 {
                let from = format!("cursor:{}", reader.cursor);
                reader = world.subscribe(&["a/#"], &from).await;
            }
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        assert_eq!(reader.payloads().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_reader_that_lags_reads_storage_and_comes_back() {
    let world = World::with_tail(1, 20 * RECORD_BYTES);
    let mut reader = world.subscribe(&["a"], "latest").await;
    let keeper = world.subscribe(&["a"], "latest").await;
    for number in 0..100 {
        world.publish("a", &number.to_string()).await;
    }
    let (records, gaps) = reader.rest(PageLimits { records: 7, ..ALL }).await;
    assert_eq!(gaps, []);
    assert!(records.iter().map(|r| r.offset).eq(0..100));
    world.publish("a", "live").await;
    assert_eq!(reader.payloads().await, ["live"]);
    let (_, kept_bytes) = world.shards[0].handle().tail().usage();
    assert!(
        kept_bytes <= 20 * RECORD_BYTES,
        "{kept_bytes} bytes are kept for a slow reader"
    );
    drop(keeper);
}

#[tokio::test]
async fn the_receipt_comes_before_everything_that_is_published_after_it() {
    let world = World::new(2);
    world.publish("a/1", "old").await;
    for filters in [&["a/1"][..], &["a/#"][..]] {
        let mut reader = world.subscribe(filters, "latest").await;
        let receipt = reader.subscription.cursor();
        assert_eq!(reader.payloads().await, [""; 0]);
        world.publish("a/1", "new").await;
        assert_eq!(reader.payloads().await, ["new"]);
        // And the receipt's cursor says the same.
        let mut again = world.subscribe(filters, &format!("cursor:{receipt}")).await;
        assert_eq!(again.payloads().await, ["new"]);
    }
}

#[tokio::test]
async fn a_topic_can_be_followed_before_it_exists() {
    let world = World::new(1);
    let mut reader = world.subscribe(&["a"], "latest").await;
    let receipt = reader.subscription.cursor();
    world.publish("a", "first").await;
    assert_eq!(reader.payloads().await, ["first"]);
    let mut again = world.subscribe(&["a"], &format!("cursor:{receipt}")).await;
    assert_eq!(again.payloads().await, ["first"]);
}

#[tokio::test]
async fn a_reader_starts_where_it_asks_to() {
    for (from, first) in [
        ("earliest", 0),
        ("last:3", 7),
        ("last:0", 10),
        ("last:100", 0),
        ("time:1045", 5),
        ("time:1050", 5),
        ("time:0", 0),
        ("time:9999", 10),
        ("latest", 10),
    ] {
        for (shards, filters) in [(1, ["a/1"]), (1, ["a/+"]), (3, ["a/1"]), (3, ["a/+"])] {
            let world = World::new(shards);
            for number in 0..10 {
                world.time_ms.store(1_000 + number * 10, Ordering::Relaxed);
                world.publish("a/1", &number.to_string()).await;
            }
            let mut reader = world.subscribe(&filters, from).await;
            let expected: Vec<String> = (first..10).map(|n| n.to_string()).collect();
            assert_eq!(reader.payloads().await, expected, "{from} of {filters:?}");
            world.publish("a/1", "live").await;
            assert_eq!(reader.payloads().await, ["live"], "{from} of {filters:?}");
        }
    }
}

#[tokio::test]
async fn what_retention_took_is_told_as_a_gap() {
    let world = World::new(1);
    let mut cursors = Vec::new();
    for number in 0..10 {
        let at = world.publish("a", &number.to_string()).await;
        cursors.push(
            world
                .broker
                .published_cursor(&world.project, ShardId(0), at),
        );
    }
    world.shards[0].trim(world.project.id, &name("a"), 6);
    let mut reader = world
        .subscribe(&["a"], &format!("cursor:{}", cursors[1]))
        .await;
    let (records, gaps) = reader.rest(ALL).await;
    let [gap] = gaps.as_slice() else {
        panic!("one gap is told, not {gaps:?}");
    };
    assert_eq!(gap.requested, cursors[1]);
    assert_eq!(gap.first_available, cursors[5]);
    assert_eq!(
        (gap.reason, gap.topic.as_ref()),
        (GapReason::Retention, Some(&name("a")))
    );
    assert!(records.iter().map(|r| r.offset).eq(6..10));
    // A reader that asks for the oldest there is has not lost anything.
    let mut reader = world.subscribe(&["a"], "earliest").await;
    assert_eq!(reader.payloads().await, ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_feed_tells_which_topic_lost_records_and_goes_on_behind_them() {
    let world = World::new(1);
    for number in 0..4 {
        world.publish("a/1", &number.to_string()).await;
        world.publish("a/2", &number.to_string()).await;
    }
    world.shards[0].trim(world.project.id, &name("a/2"), 3);
    let mut reader = world.subscribe(&["a/#"], "earliest").await;
    let mut before = Vec::new();
    let (gap, mut after) = loop {
        let (records, gaps) = reader.next(ALL).await;
        match gaps.into_iter().next() {
            Some(gap) => break (gap, records),
            None => before.extend(records),
        }
    };
    assert_eq!(gap.topic, Some(name("a/2")));
    after.extend(reader.rest(ALL).await.0);
    let from = format!("cursor:{}", gap.first_available);
    let mut again = world.subscribe(&["a/#"], &from).await;
    // What was told once is not told again, and nothing that follows is missed.
    assert_eq!(again.rest(ALL).await, (after.clone(), Vec::new()));
    assert_eq!(before.len() + after.len(), 5);
}

#[tokio::test]
async fn a_gap_of_a_feed_over_several_shards_names_a_cursor_that_can_be_used() {
    let world = World::new(3);
    // Where a topic lies depends on the project's random id, so two are picked for each shard.
    let topics: Vec<String> = (0..3).flat_map(|shard| world.topics_of(shard, 2)).collect();
    let start = world
        .subscribe(&["a/#"], "latest")
        .await
        .subscription
        .cursor();
    for topic in &topics {
        for number in 0..4 {
            world.publish(topic, &format!("{topic} {number}")).await;
        }
    }
    let lost: u64 = 3;
    world.shards[1].lose_feed_before(lost);
    let total = topics.len() * 4 - lost as usize;
    let mut reader = world.subscribe(&["a/#"], &format!("cursor:{start}")).await;
    let (mut before, mut rest) = (0, 0);
    let mut gap = None;
    while before + rest < total {
        let (records, gaps) = reader.next(PageLimits { records: 2, ..ALL }).await;
        if let Some(told) = gaps.into_iter().next() {
            assert!(gap.is_none(), "a gap is told once");
            gap = Some(told);
        }
        match gap {
            None => before += records.len(),
            Some(_) => rest += records.len(),
        }
    }
    let gap = gap.expect("the loss is told");
    assert_eq!(gap.topic, None);
    let from = format!("cursor:{}", gap.first_available);
    let mut again = world.subscribe(&["a/#"], &from).await;
    assert_eq!(
        again.payloads().await.len(),
        rest,
        "nothing is missed or repeated"
    );
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_made_again_is_told_as_a_gap() {
    let world = World::new(1);
    let old = world.publish("a", "old").await;
    let cursor = world
        .broker
        .published_cursor(&world.project, ShardId(0), old);
    let mut live = world.subscribe(&["a"], "latest").await;
    world.delete("a").await;
    assert_eq!(live.payloads().await, [""; 0]);
    let new = world.publish("a", "new").await;
    assert_ne!(old.topic, new.topic);
    let mut resumed = world.subscribe(&["a"], &format!("cursor:{cursor}")).await;
    for reader in [&mut live, &mut resumed] {
        let (records, gaps) = reader.rest(ALL).await;
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (gaps[0].reason, &gaps[0].requested),
            (GapReason::Deleted, &cursor)
        );
        assert_eq!((records[0].offset, records[0].payload.as_str()), (0, "new"));
    }
}

#[tokio::test]
async fn expired_records_are_not_delivered_and_their_cursors_go_on() {
    let world = World::new(1);
    world.publish_with_ttl("a", "brief", 50).await;
    world.publish("a", "lasting").await;
    let mut early = world.subscribe(&["a"], "earliest").await;
    assert_eq!(early.payloads().await, ["brief", "lasting"]);
    world.time_ms.fetch_add(50, Ordering::Relaxed);
    let mut late = world.subscribe(&["a"], "earliest").await;
    let (records, gaps) = late.rest(ALL).await;
    assert_eq!(gaps, []);
    assert_eq!((records.len(), records[0].offset), (1, 1));
    assert_eq!(early.subscription.cursor(), late.subscription.cursor());
}

#[tokio::test]
async fn credit_cuts_a_page_in_the_middle_of_a_segment() {
    let world = World::new(1);
    let mut live = world.subscribe(&["a"], "latest").await;
    let mut feed = world.subscribe(&["+"], "latest").await;
    for _ in 0..10 {
        world.publish("a", "0123456789").await;
    }
    let message_bytes = 12;
    for reader in [&mut live, &mut feed] {
        let limits = PageLimits { records: 3, ..ALL };
        assert_eq!(reader.next(limits).await.0.len(), 3);
        let limits = PageLimits {
            bytes: 2 * message_bytes,
            ..ALL
        };
        assert_eq!(reader.next(limits).await.0.len(), 2);
        let limits = PageLimits { bytes: 1, ..ALL };
        assert_eq!(
            reader.next(limits).await.0.len(),
            1,
            "one record always fits"
        );
        assert_eq!(reader.payloads().await.len(), 4);
    }
}

#[tokio::test]
async fn cursors_of_others_are_refused() {
    let world = World::new(2);
    let at = world.publish("a/1", "x").await;
    let shard = world.project.shard_of(&name("a/1"));
    let topic = world.broker.published_cursor(&world.project, shard, at);
    let feed = world
        .subscribe(&["a/#"], "latest")
        .await
        .subscription
        .cursor();
    let ahead = world
        .broker
        .topic_cursor(&world.project, shard, at.topic, 99);
    let stranger = Project::new(
        ProjectId::generate(),
        TenantId::generate(),
        "q",
        vec![shard],
    );
    let foreign = world.broker.published_cursor(&stranger, shard, at);
    for (filter, cursor, code) in [
        ("a/#", topic.as_str(), ErrorCode::CursorForeign),
        ("a/1", &feed, ErrorCode::CursorForeign),
        ("a/1", &foreign, ErrorCode::CursorForeign),
        ("a/1", &ahead, ErrorCode::CursorInvalid),
        ("a/1", "nonsense", ErrorCode::CursorInvalid),
    ] {
        let opened = world.open(&[filter], From::Cursor(cursor.to_owned())).await;
        let refusal = opened.err().expect("a refusal");
        assert_eq!(refusal.code(), code, "{filter} from {cursor}");
    }
}
