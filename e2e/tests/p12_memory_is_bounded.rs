//! P12: a stuck subscriber costs a fixed amount; it lags on the log and its node grows no queue for it.

use std::{ops::Range, time::Duration};

use highwater_e2e::{
    Client, Cluster, Door, Live,
    client::{Subscription, request},
    cluster::Setup,
    condition::within_deadline,
    eventually,
    ledger::text,
    mqtt::{self, Mqtt},
    usage::Usage,
};
use highwater_mqtt::{Qos, Version};
use highwater_proto::client::subscribe_request::Flow;
use tokio::time::timeout;

/// How many subscribers are stuck in each way.
const STUCK: usize = 10;
/// Far more than sockets, windows and all caches of a node hold.
const MESSAGES: usize = 3_000;
const PAYLOAD_BYTES: usize = 128 << 10;
/// What a node's memory may grow by. A queue whose records all subscribers share would hold twice as much, one
/// for each of them twenty times.
const GROWTH_BYTES_MAX: u64 = (MESSAGES * PAYLOAD_BYTES / 2) as u64;
/// Records that have just been applied stay in memory until a checkpoint has them.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// How a subscriber is stuck.
#[derive(Debug, Clone, Copy)]
enum Stuck {
    /// It does not read its socket. A page of HTTP is asked for, so there nobody can be stuck for long.
    At(Door),
    /// The same with QoS 0 of MQTT, where nobody waits for an acknowledgement.
    AtQos0,
    /// It reads, and gives no credit.
    WithoutCredit,
}

const WAYS: [Stuck; 6] = [
    Stuck::At(Door::Grpc),
    Stuck::At(Door::Sse),
    Stuck::At(Door::WebSocket),
    Stuck::At(Door::Mqtt),
    Stuck::AtQos0,
    Stuck::WithoutCredit,
];

impl Stuck {
    /// Subscribes on a connection of its own: what nobody reads fills the window of the whole connection.
    async fn subscribe(self, cluster: &Cluster, topic: &str) -> Subscriber {
        match self {
            Stuck::At(door) => {
                let live = Live::open(cluster, (0, door), &[topic], "latest").await;
                Subscriber::Reader(live.unwrap())
            }
            Stuck::AtQos0 => {
                let connect = mqtt::connect(Version::V5, "", cluster.key());
                let mut client = Mqtt::open(cluster.address(0), connect).await.unwrap();
                let filters = [(topic, Qos::AtMostOnce)];
                client.subscribe(&filters, None).await.unwrap();
                Subscriber::Reader(client.into())
            }
            Stuck::WithoutCredit => {
                let one = Flow {
                    messages: 1,
                    bytes: 0,
                };
                let (client, topics) = (cluster.client(0), [topic]);
                let subscription = client.subscribe_with_credit(&topics, "latest", Some(one));
                Subscriber::Waiting(subscription.await.unwrap())
            }
        }
    }
}

enum Subscriber {
    Reader(Live),
    /// It reads when it has credit.
    Waiting(Subscription),
}

impl Subscriber {
    /// Reads these messages, in this order, and no others between them.
    async fn read(self, mut numbers: Range<usize>) -> Live {
        let mut live = match self {
            Subscriber::Reader(live) => live,
            Subscriber::Waiting(subscription) => {
                subscription.add_credit(u64::MAX, 0).await.unwrap();
                subscription.into()
            }
        };
        while !numbers.is_empty() {
            let records = within_deadline("it is delivered", live.next()).await;
            for record in records.unwrap() {
                let number = text(&record).split('#').next().map(str::to_owned);
                let expected = numbers.next().map(|number| number.to_string());
                assert_eq!(number, expected);
            }
        }
        live
    }
}

/// Publishes messages that begin with their numbers.
async fn publish(client: &Client, topic: &str, count: usize) {
    let filler = "z".repeat(PAYLOAD_BYTES);
    let message = |number| request(topic, format!("{number}#{filler}"), "");
    let published = client.publish_requests((0..count).map(message), 16);
    let published = within_deadline("all is acknowledged", published).await;
    published.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_subscribers_cost_a_fixed_amount_slow_nobody_down_and_miss_nothing() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        // So that all topics share what a shard keeps.
        shards: 1,
        spread: 1,
        ..Setup::default()
    })
    .await;
    // Fills every cache of the node, so that what comes after is growth.
    publish(&cluster.client(0), "warm", MESSAGES).await;
    for way in WAYS {
        check(&cluster, way).await;
    }
}

async fn check(cluster: &Cluster, way: Stuck) {
    let topic = format!("{way:?}").replace(['(', ')'], "/");
    let client = cluster.client(0);
    let resident = || Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let delivered = async || cluster.metric(0, "highwater_delivery_records_total").await;
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(way.subscribe(cluster, &topic).await);
    }
    let beside = match way {
        Stuck::WithoutCredit => Stuck::At(Door::Grpc).subscribe(cluster, &topic).await,
        _ => way.subscribe(cluster, &topic).await,
    };
    let (resident_before, delivered_before) = (resident(), delivered().await);
    // The one beside them that reads gets everything meanwhile.
    let reading = beside.read(0..MESSAGES);
    let (beside, ()) = tokio::join!(reading, publish(&client, &topic, MESSAGES));
    // While they are stuck: one that takes nothing for long is given up, and what it has cost is free again.
    let growth = || resident().saturating_sub(resident_before);
    let settled = eventually("it is small", async || growth() < GROWTH_BYTES_MAX);
    let settled = timeout(SETTLED_WITHIN, settled).await;
    assert!(settled.is_ok(), "{way:?} has grown by {} bytes", growth());
    let delivered = delivered().await - delivered_before;
    let of_stuck = delivered as usize - MESSAGES;
    assert!(
        of_stuck < STUCK * MESSAGES / 4,
        "{way:?}: they are stuck, but {of_stuck} are on their way"
    );

    let subscriber = stuck.swap_remove(0);
    let caught_up = subscriber.read(0..MESSAGES).await;
    // It is live again, and nothing comes twice.
    client.publish(&topic, "last").await.unwrap();
    for mut live in [beside, caught_up] {
        let last = within_deadline("it is delivered", live.next()).await;
        assert_eq!(text(&last.unwrap()[0]), "last", "{way:?}");
    }
}
