//! Messages stream through sessions while the nodes that serve them are killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use highwater_e2e::{
    Cluster, Random,
    condition::{eventually, within_deadline},
    ledger::text,
    mqtt::{self, Memory, Mqtt, Step, connect_to_session},
    refusal::is_loss,
};
use highwater_mqtt::{Qos, packet::Publish};
use tokio::time::{sleep, timeout};

use super::{LONG_S, cluster, message};

/// Topics, by the QoS that the subscriber asks for.
const AT_LEAST_ONCE: &str = "stream/1";
const EXACTLY_ONCE: &str = "stream/2";
/// Messages that the publisher has under way at once.
const WINDOW: usize = 12;
/// A node that has just failed is not asked again at once.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A connection that takes longer is given up, for another node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No node.
const NOWHERE: usize = usize::MAX;

/// Whom a round kills.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Subscriber,
    Publisher,
    LeaderOf(&'static str),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_what_is_exact_comes_once_while_nodes_are_killed() {
    let mut cluster = cluster().await;
    let mut random = Random::seeded();
    let everybody = Arc::new(Shared::new(&cluster));
    let mut subscriber = Subscriber::new(everybody.clone());
    // The session is there before the first message.
    subscriber.connect_first().await;
    let subscribing = tokio::spawn(subscriber.run());
    let publishing = tokio::spawn(Publisher::new(everybody.clone()).run());

    let mut victims = [
        Victim::Subscriber,
        Victim::Publisher,
        Victim::LeaderOf(EXACTLY_ONCE),
        Victim::Subscriber,
        Victim::LeaderOf(AT_LEAST_ONCE),
        Victim::Subscriber,
    ];
    random.shuffle(&mut victims);
    for victim in victims {
        everybody.more_messages(50 + random.below(150)).await;
        let node = match victim {
            Victim::Subscriber => everybody.place(&everybody.subscriber_at).await,
            Victim::Publisher => everybody.place(&everybody.publisher_at).await,
            Victim::LeaderOf(topic) => leader(&cluster, topic).await,
        };
        cluster.kill(node).await;
        everybody.more_messages(50 + random.below(100)).await;
        cluster.restart(node).await;
    }
    everybody.more_messages(50).await;
    everybody.stop.store(true, Ordering::Relaxed);
    let count = within_deadline("the publisher ends", publishing)
        .await
        .unwrap();
    everybody.count.store(count, Ordering::Relaxed);
    let expected: Vec<String> = (0..count).map(|number| format!("p#{number}")).collect();
    for topic in [AT_LEAST_ONCE, EXACTLY_ONCE] {
        let records = cluster.read_everywhere(topic).await;
        let stored: Vec<&str> = records.iter().map(text).filter(|t| is_ours(t)).collect();
        check_same(&format!("what {topic} has"), &stored, &expected);
    }
    let seen = within_deadline("the subscriber ends", subscribing).await;
    let seen = seen.unwrap();
    check_same("what came exactly once", &seen.exactly_once, &expected);
    check_at_least_once(&seen.at_least_once, count);
}

/// That two lists are the same, or where they differ first.
fn check_same<T: AsRef<str>>(what: &str, found: &[T], expected: &[String]) {
    let found: Vec<&str> = found.iter().map(AsRef::as_ref).collect();
    let first = found.iter().zip(expected).position(|(a, b)| a != b);
    let first = first.unwrap_or(found.len().min(expected.len()));
    let around = first.saturating_sub(5)..(first + 30).min(found.len());
    assert!(
        found.len() == expected.len() && first == found.len(),
        "{what} is {} instead of {}, and differs from {first} on: {:?}",
        found.len(),
        expected.len(),
        &found[around],
    );
}

/// Messages that find the leader are not the publisher's.
fn is_ours(text: &str) -> bool {
    text.starts_with("p#")
}

async fn leader(cluster: &Cluster, topic: &str) -> usize {
    cluster.leader(topic).await
}

/// In order, with repetitions only where a connection began.
fn check_at_least_once(connections: &[Vec<usize>], count: usize) {
    let mut next = 0;
    for (number, connection) in connections.iter().enumerate() {
        let Some(first) = connection.first() else {
            continue;
        };
        assert!(
            *first <= next,
            "connection {number} begins at {first} instead of {next}: {connections:?}"
        );
        let consecutive = (*first..).zip(connection).all(|(a, b)| a == *b);
        assert!(consecutive, "connection {number}: {connection:?}");
        next = next.max(first + connection.len());
    }
    assert_eq!(next, count, "nothing is lost");
}

/// What the two clients and the test know of each other.
struct Shared {
    addresses: Vec<String>,
    key: String,
    stop: AtomicBool,
    /// Messages that were published in all, once that is known.
    count: AtomicUsize,
    /// Messages of the exact kind that have arrived.
    arrived: AtomicUsize,
    subscriber_at: AtomicUsize,
    publisher_at: AtomicUsize,
}

impl Shared {
    fn new(cluster: &Cluster) -> Shared {
        let nodes = 0..cluster.size();
        Shared {
            addresses: nodes.map(|node| cluster.address(node).to_owned()).collect(),
            key: cluster.key().to_owned(),
            stop: AtomicBool::new(false),
            count: AtomicUsize::new(usize::MAX),
            arrived: AtomicUsize::new(0),
            subscriber_at: AtomicUsize::new(NOWHERE),
            publisher_at: AtomicUsize::new(NOWHERE),
        }
    }

    async fn more_messages(&self, count: usize) {
        let goal = self.arrived.load(Ordering::Relaxed) + count;
        eventually("more messages arrive", async || {
            self.arrived.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Where a client is connected.
    async fn place(&self, at: &AtomicUsize) -> usize {
        eventually("the client is connected", async || {
            at.load(Ordering::Relaxed) != NOWHERE
        })
        .await;
        at.load(Ordering::Relaxed)
    }

    /// Connects to any node that takes the client, another one than the last time if that is possible.
    async fn connect(&self, client_id: &str, memory: &Memory, at: &AtomicUsize) -> Mqtt {
        let connect = connect_to_session(client_id, &self.key, LONG_S);
        for attempt in at.swap(NOWHERE, Ordering::Relaxed).wrapping_add(1).. {
            let node = attempt % self.addresses.len();
            let opening = Mqtt::resume(&self.addresses[node], connect.clone(), memory);
            match timeout(CONNECT_TIMEOUT, opening).await {
                Ok(Ok(client)) => {
                    at.store(node, Ordering::Relaxed);
                    return client;
                }
                Ok(Err(error)) => assert!(is_loss(&error), "{client_id}: {error:#}"),
                Err(_) => {}
            }
            sleep(RETRY_AFTER).await;
        }
        unreachable!("one of the attempts succeeds, or the test ends")
    }
}

/// A client that publishes every message to both topics, with QoS 2.
struct Publisher {
    shared: Arc<Shared>,
    memory: Memory,
    /// Messages that were handed to a session.
    next: usize,
    was_here: bool,
}

impl Publisher {
    fn new(shared: Arc<Shared>) -> Publisher {
        Publisher {
            shared,
            memory: Memory::default(),
            next: 0,
            was_here: false,
        }
    }

    /// How many messages it has published to each topic.
    async fn run(mut self) -> usize {
        loop {
            let shared = self.shared.clone();
            let mut client = shared
                .connect("publisher", &self.memory, &shared.publisher_at)
                .await;
            assert_eq!(client.accepted.session_present, self.was_here);
            self.was_here = true;
            let served = self.serve(&mut client).await;
            self.memory = client.memory;
            match served {
                Ok(()) => return self.next,
                Err(error) => assert!(is_loss(&error), "publisher: {error:#}"),
            }
        }
    }

    async fn serve(&mut self, client: &mut Mqtt) -> Result<()> {
        loop {
            let is_over = self.shared.stop.load(Ordering::Relaxed);
            if is_over && client.unfinished() == 0 {
                return Ok(());
            }
            if !is_over && client.unfinished() < WINDOW {
                let text = format!("p#{}", self.next);
                self.next += 1;
                // What is remembered is sent, now or by the next connection.
                let exact = client.begin(message(EXACTLY_ONCE, text.clone()), Qos::ExactlyOnce);
                let exact = exact.await;
                let other = client.begin(message(AT_LEAST_ONCE, text), Qos::ExactlyOnce);
                other.await.and(exact)?;
                continue;
            }
            if let Step::Done(_, reason) = client.step().await? {
                assert!(!reason.is_failure(), "{reason:?}");
            }
        }
    }
}

/// What came, by number.
#[derive(Default)]
struct Seen {
    exactly_once: Vec<String>,
    /// One list for each connection.
    at_least_once: Vec<Vec<usize>>,
}

/// A client with one subscription of each kind.
struct Subscriber {
    shared: Arc<Shared>,
    memory: Memory,
    seen: Seen,
}

impl Subscriber {
    fn new(shared: Arc<Shared>) -> Subscriber {
        Subscriber {
            shared,
            memory: Memory::default(),
            seen: Seen::default(),
        }
    }

    async fn connect_first(&mut self) {
        let shared = self.shared.clone();
        let mut client = shared
            .connect("subscriber", &self.memory, &shared.subscriber_at)
            .await;
        let filters = [
            (EXACTLY_ONCE, Qos::ExactlyOnce),
            (AT_LEAST_ONCE, Qos::AtLeastOnce),
        ];
        client.subscribe(&filters, None).await.unwrap();
        self.memory = client.memory;
    }

    async fn run(mut self) -> Seen {
        loop {
            let shared = self.shared.clone();
            let mut client = shared
                .connect("subscriber", &self.memory, &shared.subscriber_at)
                .await;
            assert!(client.accepted.session_present, "the session goes on");
            self.seen.at_least_once.push(Vec::new());
            let served = self.serve(&mut client).await;
            self.memory = client.memory;
            match served {
                Ok(()) => return self.seen,
                Err(error) => assert!(is_loss(&error), "subscriber: {error:#}"),
            }
        }
    }

    async fn serve(&mut self, client: &mut Mqtt) -> Result<()> {
        while !self.has_all() {
            // It may be told of the end only when nothing more comes.
            if let Some(Step::Message(message)) = client.step_within(RETRY_AFTER).await? {
                self.see(&message);
            }
        }
        Ok(())
    }

    fn see(&mut self, message: &Publish) {
        let text = String::from_utf8(message.payload.to_vec()).expect("text");
        let Some(number) = text.strip_prefix("p#") else {
            return;
        };
        match mqtt::topic_of(message) {
            EXACTLY_ONCE => {
                self.seen.exactly_once.push(text);
                self.shared.arrived.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                let number = number.parse().expect("a number");
                let connection = self.seen.at_least_once.last_mut();
                connection.expect("there is one").push(number);
            }
        }
    }

    fn has_all(&self) -> bool {
        let count = self.shared.count.load(Ordering::Relaxed);
        let mut others = self.seen.at_least_once.iter().filter_map(|c| c.last());
        self.seen.exactly_once.len() >= count && others.any(|last| last + 1 >= count)
    }
}
