//! P3: a cursor is the same string on every protocol and node; hopping between them loses and repeats nothing.

use std::collections::BTreeMap;

use highwater_e2e::{
    Cluster, Door, Live, Load, Random,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::{eventually_some, within_deadline},
    ledger::text,
    live::after,
    refusal::is_loss,
};
use highwater_proto::client::Record;
use serde_json::Value;

const MESSAGES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_hops_between_protocols_and_nodes_reads_each_record_once() {
    check_hops("hop/one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_reader_of_a_filter_over_many_topics() {
    check_hops("hop/#").await;
}

async fn check_hops(filter: &str) {
    let cluster = Cluster::start().await;
    let topics: &[&str] = match filter.contains('#') {
        true => &["hop/one", "hop/two", "hop/three", "hop"],
        false => &["hop/one"],
    };
    let mut expected = Vec::new();
    for number in 0..MESSAGES {
        let topic = topics[number % topics.len()];
        let payload = format!("p#{number}");
        cluster
            .client(number % 3)
            .publish(topic, payload.clone())
            .await
            .unwrap();
        expected.push(payload);
    }

    let mut seen: Vec<String> = Vec::new();
    let mut from = "earliest".to_owned();
    for hop in 0.. {
        if seen.len() >= MESSAGES {
            break;
        }
        assert!(hop < MESSAGES, "every hop finds something");
        let node = hop % 3;
        let take = 1 + hop % 7;
        let cursor = match hop % 4 {
            0 => {
                let page = cluster
                    .client(node)
                    .read(filter, &from, take as u32)
                    .await
                    .unwrap();
                seen.extend(page.records.iter().map(|record| text(record).to_owned()));
                page.next
            }
            1 => {
                let url = http_page(filter, &from, take);
                let page: Value = cluster.get_json(node, &url).await;
                let records = page["records"].as_array().unwrap();
                seen.extend(
                    records
                        .iter()
                        .map(|r| r["data"].as_str().unwrap().to_owned()),
                );
                page["next"].as_str().unwrap().to_owned()
            }
            2 => {
                // Stopped in the middle of what it was sent: the cursor of a record is enough.
                let mut live = cluster
                    .client(node)
                    .subscribe(&[filter], &from)
                    .await
                    .unwrap();
                let records = within_deadline("records are delivered", live.records(1)).await;
                let records = records.unwrap();
                let kept = &records[..take.min(records.len())];
                seen.extend(kept.iter().map(|record| text(record).to_owned()));
                kept.last().unwrap().cursor.clone()
            }
            _ => {
                // The receipt's cursor, with nothing read.
                let live = cluster
                    .client(node)
                    .subscribe(&[filter], &from)
                    .await
                    .unwrap();
                live.cursor
            }
        };
        from = format!("cursor:{cursor}");
    }

    if topics.len() > 1 {
        // Over several shards the order holds in each topic; as a whole it is the set that counts.
        seen.sort();
        expected.sort();
    }
    assert_eq!(seen, expected);
}

fn http_page(filter: &str, from: &str, limit: usize) -> String {
    match filter.contains('#') {
        true => {
            let filter = filter.replace('/', "%2F").replace('#', "%23");
            format!("/v1/messages?topic={filter}&from={from}&limit={limit}")
        }
        false => format!("/v1/messages/{filter}?from={from}&limit={limit}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_hops_through_all_doors_while_nodes_die_misses_and_repeats_nothing() {
    check_hops_under_kills(&["hop/one"], &["hop/one"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_consumer_of_a_filter_in_the_order_of_each_topic() {
    check_hops_under_kills(&["hop/#"], &["hop/one", "hop/two", "hop/three", "hop"]).await;
}

/// Hops before a node is killed, while it is absent, and while it comes back.
const HOPS: usize = 12;
/// Steps of the consumer that a failure shows.
const STEPS_REPORTED: usize = 100;

async fn check_hops_under_kills(filters: &[&str], topics: &[&str]) {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let mut consumer = Consumer::new(filters);
    let load = Load::start(&cluster.clients(), topics, topics.len());
    // Each door has a node die behind it, and each node its turn.
    let mut doors = Door::ALL;
    consumer.random.shuffle(&mut doors);
    let first = consumer.random.below(cluster.size());
    for (turn, door) in doors.into_iter().enumerate() {
        let node = (first + turn) % cluster.size();
        consumer.hop_often(&cluster).await;
        consumer.lose_the_node(&mut cluster, (node, door)).await;
        consumer.hop_often(&cluster).await;
        cluster.start_node(node);
        consumer.hop_often(&cluster).await;
        cluster.ready(node).await;
    }
    consumer.hop_often(&cluster).await;

    let ledger = load.finish().await;
    consumer.goal = ledger.len();
    while !consumer.is_done() {
        consumer.hop(&cluster).await;
    }
    let is_one_topic = filters == topics;
    for topic in topics {
        let seen = &consumer.seen[*topic];
        match is_one_topic {
            true => ledger.check(topic, seen),
            false => ledger.check_read_by_filter(topic, seen),
        }
    }
    assert_eq!(consumer.count(), ledger.len());
}

/// Somebody who keeps nothing but a cursor from hop to hop.
struct Consumer<'a> {
    filters: &'a [&'a str],
    random: Random,
    from: String,
    /// Where it was, for the next place is another.
    place: Option<(usize, Door)>,
    hops: usize,
    seen: BTreeMap<String, Vec<Record>>,
    /// What has happened, for the report of a failure.
    trail: Vec<String>,
    /// How many records there are in all, once that is known.
    goal: usize,
}

impl Consumer<'_> {
    fn new<'a>(filters: &'a [&'a str]) -> Consumer<'a> {
        Consumer {
            filters,
            random: Random::seeded(),
            from: "earliest".to_owned(),
            place: None,
            hops: 0,
            seen: BTreeMap::new(),
            trail: Vec::new(),
            goal: usize::MAX,
        }
    }

    fn count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    fn is_done(&self) -> bool {
        self.count() >= self.goal
    }

    /// Hops until so many hops have read something.
    async fn hop_often(&mut self, cluster: &Cluster) {
        let mut fruitful = 0;
        while fruitful < HOPS {
            let before = self.count();
            self.hop(cluster).await;
            fruitful += usize::from(self.count() > before);
        }
    }

    /// Reads a few records through another door of another node. Either may be gone, or go.
    async fn hop(&mut self, cluster: &Cluster) {
        let nodes: Vec<usize> = (0..cluster.size()).collect();
        let node = self.random.other(&nodes, self.place.map(|(node, _)| node));
        let door = self
            .random
            .other(&Door::ALL, self.place.map(|(_, door)| door));
        // Some want much, to catch up; some want nothing, and go on from the receipt.
        let wanted = match self.random.below(4) {
            0 => self.random.below(80),
            _ => self.random.below(6),
        };
        let Some(mut live) = self.open(cluster, (node, door)).await else {
            return;
        };
        self.from = live.from().to_owned();
        let mut left = wanted;
        while left > 0 && !self.is_done() {
            match self.read(&mut live, left).await {
                Some(read) => left -= read,
                None => return,
            }
        }
    }

    /// Reads a few records through a door, and all that comes of it after its node was killed.
    async fn lose_the_node(&mut self, cluster: &mut Cluster, place: (usize, Door)) {
        let mut live = eventually_some("a node that is ready opens its doors", async || {
            self.open(cluster, place).await
        })
        .await;
        let read = self.read(&mut live, usize::MAX).await;
        assert!(read.is_some(), "{}", self.report());
        cluster.kill(place.0).await;
        while self.read(&mut live, usize::MAX).await.is_some() {}
    }

    async fn open(&mut self, cluster: &Cluster, place: (usize, Door)) -> Option<Live> {
        self.hops += 1;
        self.place = Some(place);
        let opened = Live::open(cluster, place, self.filters, &self.from).await;
        let (hop, from) = (self.hops, &self.from);
        self.trail
            .push(format!("hop {hop} to {place:?} from {from}"));
        match opened {
            Ok(live) => {
                self.trail.push(format!("  receipt {}", live.from()));
                Some(live)
            }
            Err(error) => {
                self.lose(&error);
                None
            }
        }
    }

    /// Reads what comes next, and keeps at most so many records of it; how many it kept, or nothing when the
    /// stream was lost.
    async fn read(&mut self, live: &mut Live, most: usize) -> Option<usize> {
        let next = within_deadline("there is more to read", live.next()).await;
        let records = match next {
            Ok(records) => records,
            Err(error) => {
                self.lose(&error);
                return None;
            }
        };
        let (count, kept) = (records.len(), records.len().min(most));
        for record in records.into_iter().take(kept) {
            self.see(record, live.door());
        }
        if kept == count {
            self.from = live.from().to_owned();
            self.trail.push(format!("  after it all {}", self.from));
        }
        Some(kept)
    }

    fn see(&mut self, mut record: Record, door: Door) {
        self.from = after(&record.cursor);
        let topic = record.topic.clone();
        let expected = self.seen.get(&topic).map_or(0, Vec::len) as u64;
        if !door.tells_offsets() {
            // Whether it is the right one is seen in the end, from what the publisher was told.
            record.offset = expected;
        }
        let offset = record.offset;
        self.trail
            .push(format!("  {topic} {offset}, {}", self.from));
        assert_eq!(offset, expected, "{}", self.report());
        self.seen.entry(topic).or_default().push(record);
    }

    /// What ends a stream is the loss of its node, never a refusal of the cursor.
    fn lose(&mut self, error: &anyhow::Error) {
        self.trail.push(format!("  lost: {error:#}"));
        assert!(is_loss(error), "{}", self.report());
    }

    /// The last steps.
    fn report(&self) -> String {
        let first = self.trail.len().saturating_sub(STEPS_REPORTED);
        self.trail[first..].join("\n")
    }
}
