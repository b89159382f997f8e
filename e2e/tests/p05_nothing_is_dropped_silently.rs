//! P5: overload is refused before the ack; what was acknowledged is delivered, to slow readers too.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use highwater_e2e::{
    Cluster, Load,
    client::{is_retryable, request},
    cluster::Setup,
    condition::within_deadline,
    faults::Fault,
    ledger::check_consecutive,
};
use highwater_proto::client::subscribe_request::Flow;
use tokio::task::JoinSet;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_slower_than_the_tail_gets_every_record() {
    let cluster = Cluster::start().await;
    let few = Flow {
        messages: 10,
        bytes: 0,
    };
    let client = cluster.client(0);
    let subscription = client.subscribe_with_credit(&["slow"], "latest", Some(few));
    let mut subscription = subscription.await.unwrap();
    // Far more than the live tail holds in memory (16 MiB a shard).
    let big = "x".repeat(32 << 10);
    let published = client
        .publish_stream_of("slow", &big, 1_000, 50)
        .await
        .unwrap();
    assert_eq!(published.len(), 1_000);

    let mut records = Vec::new();
    while records.len() < 1_000 {
        let more = within_deadline("records are delivered", subscription.records(1)).await;
        let more = more.unwrap();
        subscription.add_credit(more.len() as u64, 0).await.unwrap();
        records.extend(more);
    }
    check_consecutive(&records, 0);
}

/// More than a shard holds in its queue (64 MiB), while the disks are slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_every_publish_is_acked_and_there_or_refused_and_not() {
    let cluster = Cluster::start_with(Setup {
        faults: true,
        ..Setup::default()
    })
    .await;
    for node in 0..cluster.size() {
        cluster.demand(node, Fault::Slow);
    }
    let payload = Bytes::from("y".repeat(256 << 10));
    let mut flood = JoinSet::new();
    for number in 0..800 {
        let client = cluster.client(number % 3);
        let name = format!("f{number}");
        let mut request = request("flood", payload.clone(), &name);
        // What a record is known by when it is read.
        request.message.as_mut().unwrap().key = name.clone();
        flood.spawn(async move { (name, client.publish_request(request).await) });
    }
    let outcomes = flood.join_all().await;
    for node in 0..cluster.size() {
        cluster.relieve(node, Fault::Slow);
    }

    let (mut acked, mut refused) = (HashMap::new(), HashSet::new());
    for (name, outcome) in outcomes {
        match outcome {
            Ok(result) => {
                acked.insert(name, result.offset);
            }
            // The code says that the request changed nothing.
            Err(status) if status.code() == Code::ResourceExhausted => {
                refused.insert(name);
            }
            // Of these nobody knows, and nobody was promised anything.
            Err(status) => assert!(is_retryable(&status), "{status}"),
        }
    }
    assert!(!acked.is_empty(), "nothing was acknowledged");
    assert!(!refused.is_empty(), "{} acked, none refused", acked.len());
    let offsets: HashSet<&u64> = acked.values().collect();
    assert_eq!(offsets.len(), acked.len(), "no offset is given twice");

    let mut there = HashMap::new();
    let client = cluster.client(1);
    let (records, gaps) = client.read_all("flood", "earliest").await.unwrap();
    assert_eq!(gaps, []);
    for record in records {
        let twice = there.insert(record.key.clone(), record.offset);
        assert_eq!(twice, None, "{} is there twice", record.key);
        assert!(!refused.contains(&record.key), "{} was refused", record.key);
    }
    for (name, offset) in &acked {
        assert_eq!(there.get(name), Some(offset), "{name} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_delivered_until_its_time_to_live_is_over_and_not_later() {
    let cluster = Cluster::start().await;
    let client = cluster.client(0);
    let with_ttl = |payload: &str, ttl_ms| {
        let mut request = request("ttl", payload.to_owned(), "");
        request.message.as_mut().unwrap().ttl_ms = ttl_ms;
        client.publish_request(request)
    };
    with_ttl("p#0", 3_600_000).await.unwrap();
    with_ttl("p#1", 1).await.unwrap();
    with_ttl("p#2", 0).await.unwrap();
    highwater_e2e::eventually("the second record expires", async || {
        let (records, _) = client.read_all("ttl", "earliest").await.unwrap();
        let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        assert!(offsets.contains(&0) && offsets.contains(&2), "{offsets:?}");
        offsets == [0, 2]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_of_many_topics_gets_every_acked_message_once() {
    let cluster = Cluster::start().await;
    let mut subscription = cluster
        .client(2)
        .subscribe(&["many/+"], "latest")
        .await
        .unwrap();
    let topics: Vec<String> = (0..40).map(|number| format!("many/{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let load = Load::start(&cluster.clients(), &topics, 40);
    load.more_acks(1_500).await;
    let ledger = load.finish().await;
    let records = within_deadline("all is delivered", subscription.records(ledger.len())).await;
    let records = records.unwrap();
    for topic in ledger.topics() {
        let of_topic = records.iter().filter(|record| record.topic == topic);
        ledger.check_read_by_filter(&topic, &of_topic.cloned().collect::<Vec<_>>());
    }
}
