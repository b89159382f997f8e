//! Three nodes in one process, over real sockets and disks made of memory.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use highwater_broker::{
    handle::{PageLimits, Publish, Published, ReadRequest, Retain, ShardHandle, TopicEnd},
    refusal::Result,
    segment::Slice,
};
use highwater_cluster::{
    Blocking, Cluster, ClusterConfig, Health, PeerAddress, Sizes, TcpTransport, Transport,
};
use highwater_proto::{
    ErrorCode,
    ids::{NodeId, ProjectId, ShardId},
    names::{TopicFilter, TopicName},
};
use highwater_storage::{
    disk::fault::{FaultDisk, Operation},
    kv::memory::MemoryKv,
};
use tokio::net::TcpListener;

const PROJECT: ProjectId = ProjectId::from_bytes([1; 16]);
const ALL: PageLimits = PageLimits {
    records: 1_000,
    bytes: 1 << 20,
};
/// How long anything may take before a test gives up: long, since a machine may be slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a node leaves behind when it stops.
struct Disks {
    log: Arc<FaultDisk>,
    kv: Arc<MemoryKv>,
}

struct Node {
    cluster: Option<Cluster>,
    disks: Disks,
    address: String,
}

struct Group {
    nodes: Vec<Node>,
    members: Vec<PeerAddress>,
    sizes: Sizes,
}

impl Group {
    async fn start(size: u64) -> Group {
        Group::start_with(size, Sizes::default()).await
    }

    async fn start_with(size: u64, sizes: Sizes) -> Group {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let mut listeners = Vec::new();
        for _ in 0..size {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let address = |l: &TcpListener| l.local_addr().unwrap().to_string();
        let members: Vec<PeerAddress> = listeners
            .iter()
            .enumerate()
            .map(|(i, l)| PeerAddress {
                id: NodeId(i as u64 + 1),
                address: address(l),
            })
            .collect();
        let mut group = Group {
            nodes: Vec::new(),
            members,
            sizes,
        };
        for (i, listener) in listeners.into_iter().enumerate() {
            let address = address(&listener);
            let disks = Disks {
                log: Arc::new(FaultDisk::new()),
                kv: Arc::new(MemoryKv::default()),
            };
            let cluster = group.open(i, listener, &disks).await;
            group.nodes.push(Node {
                cluster: Some(cluster),
                disks,
                address,
            });
        }
        group.wait_ready().await;
        group
    }

    async fn open(&self, index: usize, listener: TcpListener, disks: &Disks) -> Cluster {
        static CLOCK_MS: AtomicU64 = AtomicU64::new(1_000);
        let transport: Arc<dyn Transport> = TcpTransport::new(listener, None);
        let config = ClusterConfig {
            node: NodeId(index as u64 + 1),
            name: "test".into(),
            members: self.members.clone(),
            shards: 3,
            transport,
            log_disk: disks.log.clone(),
            kv: disks.kv.clone(),
            clock: Arc::new(|| CLOCK_MS.fetch_add(1, Ordering::Relaxed)),
            on_usage: Arc::new(|_, _| ()),
            retention: Arc::new(|_, _| Default::default()),
            sizes: self.sizes.clone(),
            blocking: Blocking::Threads,
        };
        Cluster::start(config).await.unwrap()
    }

    async fn wait_ready(&self) {
        for node in self.nodes.iter().filter_map(|n| n.cluster.as_ref()) {
            assert!(node.wait_ready(DEADLINE).await, "{:?}", node.health());
        }
    }

    /// Waits until every shard sleeps on every node. Under load one or another wakes again, so they
    /// need not all be found asleep in the same moment.
    async fn wait_asleep(&self) {
        for node in 0..self.nodes.len() {
            for shard in 0..3 {
                wait_for("nobody rests", || {
                    self.health(node).shards[shard].is_asleep.then_some(())
                })
                .await;
            }
        }
    }

    async fn stop(&mut self, index: usize) {
        self.nodes[index].cluster.take().unwrap().shutdown().await;
    }

    async fn restart(&mut self, index: usize) {
        let listener = TcpListener::bind(&self.nodes[index].address).await.unwrap();
        let cluster = self.open(index, listener, &self.nodes[index].disks).await;
        self.nodes[index].cluster = Some(cluster);
    }

    fn shard(&self, node: usize, shard: usize) -> ShardHandle {
        self.nodes[node].cluster.as_ref().unwrap().handles()[shard].clone()
    }

    /// Index of the oldest entry that a node's log of shard 0 still has.
    fn oldest(&self, node: usize) -> u64 {
        let cluster = self.nodes[node].cluster.as_ref().unwrap();
        cluster.log().shard(ShardId(0)).live().start
    }

    fn health(&self, node: usize) -> Health {
        self.nodes[node].cluster.as_ref().unwrap().health()
    }

    /// Who leads a shard, as a node knows it. During a hand-over it knows of nobody for a moment.
    async fn leader(&self, node: usize, shard: usize) -> usize {
        let known = || self.health(node).shards[shard].leader;
        let leader = wait_for("no leader", known).await;
        leader.0 as usize - 1
    }
}

/// Waits until there is something.
async fn wait_for<T>(otherwise: &str, something: impl Fn() -> Option<T>) -> T {
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(something) = something() {
            return something;
        }
        assert!(tokio::time::Instant::now() < until, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn publish(topic: &str, message: String, key: Option<u8>) -> Publish {
    Publish {
        project: PROJECT,
        topic: TopicName::try_from(topic).unwrap(),
        message: Bytes::from(message),
        idempotency: key.map(|k| [k; 16]),
        key: None,
        if_end: None,
        policy: Default::default(),
        retain: Default::default(),
        with_previous: false,
        protocol: highwater_broker::metering::Protocol::Unspecified,
    }
}

async fn put(shard: &ShardHandle, publishes: Vec<Publish>) -> Vec<Result<Published>> {
    shard
        .publish(publishes)
        .await
        .unwrap()
        .await
        .unwrap()
        .unwrap()
}

fn texts(slices: &[Slice]) -> Vec<String> {
    let messages = slices
        .iter()
        .flat_map(|s| &s.segment.messages[s.start..s.end]);
    messages
        .map(|m| String::from_utf8(m.to_vec()).unwrap())
        .collect()
}

/// Everything in a topic, as a node has it once it has caught up.
async fn contents(shard: &ShardHandle, topic: &str) -> Vec<String> {
    let until = tokio::time::Instant::now() + DEADLINE;
    while let Err(refusal) = shard.frontier().await {
        assert!(tokio::time::Instant::now() < until, "{refusal}");
    }
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        let read = |reply| ReadRequest::ReadTopic {
            project: PROJECT,
            topic: TopicName::try_from(topic).unwrap(),
            incarnation: None,
            offset,
            limits: ALL,
            reply,
        };
        let page = shard.read(read).await.unwrap();
        all.extend(texts(&page.slices));
        offset = page.next_offset;
        if page.through.is_some() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_on_any_node_is_read_on_every_node() {
    let group = Group::start(3).await;
    let mut expected = Vec::new();
    for i in 0..30 {
        let outcomes = put(
            &group.shard(i % 3, 1),
            vec![publish("a", format!("{i}"), None)],
        )
        .await;
        assert_eq!(outcomes[0].as_ref().unwrap().offset, i as u64);
        expected.push(format!("{i}"));
    }
    for node in 0..3 {
        assert_eq!(contents(&group.shard(node, 1), "a").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_deletion_on_any_node_is_refused_once_the_topic_moved_on() {
    let group = Group::start(3).await;
    let leader = group.leader(0, 1).await;
    for node in [leader, (leader + 1) % 3] {
        let shard = group.shard(node, 1);
        let mut at = None;
        for _ in 0..2 {
            at = Some(put(&shard, vec![publish("a", "x".into(), None)]).await);
        }
        let at = *at.unwrap()[0].as_ref().unwrap();
        let delete = |next_offset| {
            let end = TopicEnd {
                topic: Some(at.topic),
                next_offset,
            };
            shard.delete_topic(PROJECT, TopicName::try_from("a").unwrap(), Some(end))
        };
        let refusal = delete(at.offset).await.unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::PreconditionFailed);
        assert_eq!(delete(at.offset + 1).await, Ok(true));
        assert_eq!(delete(at.offset + 1).await, Ok(false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_by_way_of_any_node_is_so_on_every_node() {
    let group = Group::start(3).await;
    for node in 0..3 {
        let retained = Publish {
            retain: Retain::Set,
            ..publish(&format!("a/{node}"), format!("kept {node}"), None)
        };
        let later = publish(&format!("a/{node}"), "later".into(), None);
        put(&group.shard(node, 1), vec![retained, later]).await;
    }
    for node in 0..3 {
        let shard = group.shard(node, 1);
        let until = shard.frontier().await.unwrap();
        let read = |reply| ReadRequest::RetainedRecords {
            project: PROJECT,
            filters: Arc::new([TopicFilter::try_from("a/+").unwrap()]),
            positions: (0, until),
            limits: ALL,
            reply,
        };
        let page = shard.read(read).await.unwrap();
        assert_eq!(texts(&page.slices), ["kept 0", "kept 1", "kept 2"]);
        assert!(page.at_end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_alone_serves() {
    let group = Group::start(1).await;
    let outcomes = put(&group.shard(0, 0), vec![publish("a", "x".into(), None)]).await;
    assert_eq!(outcomes[0].as_ref().unwrap().offset, 0);
    assert_eq!(contents(&group.shard(0, 0), "a").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_and_records_survive_each_node_being_restarted() {
    let mut group = Group::start(3).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        let stopped = group.leader(0, 0).await;
        group.stop(stopped).await;
        let other = (stopped + 1) % 3;
        for i in 0..20 {
            let message = format!("{round}-{i}");
            put(
                &group.shard(other, 0),
                vec![publish("a", message.clone(), None)],
            )
            .await;
            expected.push(message);
        }
        group.restart(stopped).await;
        group.wait_ready().await;
        assert_eq!(contents(&group.shard(stopped, 0), "a").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyed_publish_that_is_repeated_on_another_node_is_one_record() {
    let group = Group::start(3).await;
    let mut offsets = Vec::new();
    for node in 0..3 {
        let outcomes = put(
            &group.shard(node, 2),
            vec![publish("a", "once".into(), Some(7))],
        )
        .await;
        let published = outcomes[0].clone().unwrap();
        offsets.push((published.offset, published.duplicate));
    }
    assert_eq!(offsets, [(0, false), (0, true), (0, true)]);
    assert_eq!(contents(&group.shard(0, 2), "a").await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderships_are_handed_over() {
    let group = Group::start(3).await;
    let node = group.leader(0, 0).await;
    let cluster = group.nodes[node].cluster.as_ref().unwrap();
    assert_eq!(cluster.hand_over(DEADLINE).await, 0);
    let outcomes = put(&group.shard(node, 0), vec![publish("a", "x".into(), None)]).await;
    assert!(outcomes[0].is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_sends_is_appended_in_that_order_while_leadership_moves() {
    const COUNT: usize = 3_000;
    const IN_FLIGHT: usize = 64;
    // More than what may be unknown after a move, on all three nodes together.
    const ACKNOWLEDGED_BETWEEN_MOVES: usize = 5 * IN_FLIGHT;
    let group = Group::start(3).await;
    let acknowledged = AtomicUsize::new(0);
    let sender = |node: usize| {
        let (shard, acknowledged) = (group.shard(node, 0), &acknowledged);
        async move {
            let mut waiting = VecDeque::new();
            let (mut offsets, mut refused) = (Vec::new(), None);
            for i in 0..COUNT + IN_FLIGHT {
                if i < COUNT {
                    let message = publish("a", format!("{node} {i:05}"), None);
                    waiting.push_back(shard.publish(vec![message]).await.unwrap());
                }
                if waiting.len() < IN_FLIGHT && i < COUNT {
                    continue;
                }
                let Some(outcome) = waiting.pop_front() else {
                    break;
                };
                match outcome.await.unwrap() {
                    Ok(published) => {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        offsets.push(published[0].as_ref().unwrap().offset);
                    }
                    // A leader that goes away may leave an outcome unknown.
                    Err(refusal) => refused = Some(refusal),
                }
            }
            (offsets, refused)
        }
    };
    let moves = async {
        loop {
            let next = acknowledged.load(Ordering::Relaxed) + ACKNOWLEDGED_BETWEEN_MOVES;
            wait_for("nothing is acknowledged", || {
                (acknowledged.load(Ordering::Relaxed) >= next).then_some(())
            })
            .await;
            let leader = group.leader(0, 0).await;
            let cluster = group.nodes[leader].cluster.as_ref().unwrap();
            cluster.hand_over(DEADLINE).await;
        }
    };
    let senders = async { tokio::join!(sender(0), sender(1), sender(2)) };
    let outcomes = tokio::select! {
        (a, b, c) = senders => [a, b, c],
        () = moves => unreachable!("never ends"),
    };
    let all = contents(&group.shard(0, 0), "a").await;
    for (node, (offsets, refused)) in outcomes.into_iter().enumerate() {
        assert!(offsets.is_sorted(), "the outcomes of node {node}");
        assert!(offsets.len() > COUNT / 4, "most are known, but {refused:?}");
        let prefix = format!("{node} ");
        let its = all.iter().filter(|m| m.starts_with(&prefix));
        assert!(its.is_sorted_by(|a, b| a < b), "what node {node} sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_shards_rest_and_wake_for_a_write_or_a_lost_leader() {
    let mut group = Group::start(3).await;
    put(&group.shard(0, 0), vec![publish("a", "0".into(), None)]).await;
    let mut expected = vec!["0".to_owned()];
    let (leader, other) = loop {
        group.wait_asleep().await;
        let leader = group.leader(0, 0).await;
        let other = (leader + 1) % 3;
        let message = expected.len().to_string();
        put(
            &group.shard(other, 0),
            vec![publish("a", message.clone(), None)],
        )
        .await;
        expected.push(message);
        assert_eq!(contents(&group.shard(other, 0), "a").await, expected);
        if group.leader(0, 0).await == leader {
            break (leader, other);
        }
        // A machine that is slow can be one, but not each time.
        assert!(expected.len() < 6, "a rest is no reason for an election");
    };

    group.wait_asleep().await;
    // Without a word to the others.
    drop(group.nodes[leader].cluster.take());
    put(
        &group.shard(other, 0),
        vec![publish("a", "last".into(), None)],
    )
    .await;
    expected.push("last".to_owned());
    assert_eq!(contents(&group.shard(other, 0), "a").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_too_long_catches_up_from_a_snapshot() {
    let mut sizes = Sizes {
        checkpoint_bytes: 20_000,
        log_bytes_kept: 1,
        ..Sizes::default()
    };
    sizes.log.segment_bytes = 64 << 10;
    let mut group = Group::start_with(3, sizes).await;
    let away = (group.leader(0, 0).await + 1) % 3;
    let here = (away + 1) % 3;
    let mut expected = Vec::new();
    group.stop(away).await;
    let since = group.oldest(here);
    let until = tokio::time::Instant::now() + DEADLINE;
    // Until the log this replica would need is gone.
    while group.oldest(here) <= since + 20 {
        assert!(
            tokio::time::Instant::now() < until,
            "the log is never purged"
        );
        let publishes: Vec<Publish> = (0..20)
            .map(|i| {
                publish(
                    "a",
                    format!("{}-{}", expected.len() + i, "x".repeat(200)),
                    None,
                )
            })
            .collect();
        let messages = publishes
            .iter()
            .map(|p| String::from_utf8(p.message.to_vec()).unwrap());
        expected.extend(messages.collect::<Vec<_>>());
        put(&group.shard(here, 0), publishes).await;
    }
    group.restart(away).await;
    group.wait_ready().await;
    assert!(contents(&group.shard(away, 0), "a").await == expected);
    let last = vec![publish("a", "last".into(), None)];
    put(&group.shard(away, 0), last).await;
    expected.push("last".into());
    assert!(contents(&group.shard(away, 0), "a").await == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fails_steps_down_and_says_so() {
    let group = Group::start(3).await;
    let failing = group.leader(0, 0).await;
    let other = (failing + 1) % 3;
    put(&group.shard(other, 0), vec![publish("a", "0".into(), None)]).await;
    group.nodes[failing]
        .disks
        .log
        .fail_after(Operation::Sync, 0, 5);
    let mut acked = vec!["0".to_owned()];
    for i in 1..10 {
        // One may be caught by the failure: its outcome is not known, and it says so.
        let publishes = vec![publish("a", i.to_string(), Some(i))];
        let mut outcome = group
            .shard(other, 0)
            .publish(publishes.clone())
            .await
            .unwrap()
            .await;
        while !matches!(outcome, Ok(Ok(_))) {
            let again = group
                .shard(other, 0)
                .publish(publishes.clone())
                .await
                .unwrap();
            outcome = again.await;
        }
        acked.push(i.to_string());
    }
    assert_eq!(contents(&group.shard(other, 0), "a").await, acked);
    let health = group.nodes[failing].cluster.as_ref().unwrap().health();
    assert!(
        !health.is_ready() && health.storage_failure.is_some(),
        "{health:?}"
    );
}
