//! P5: overload is refused before the ack; what was acknowledged is delivered, to slow readers too.

use highwater_e2e::{
    Cluster, Load,
    client::{is_retryable, request},
    condition::within_deadline,
    ledger::check_consecutive,
};
use highwater_proto::client::subscribe_request::Flow;
use tokio::task::JoinSet;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_every_publish_is_acked_and_there_or_refused_and_not() {
    let cluster = Cluster::start().await;
    let payload = "y".repeat(256 << 10);
    let mut flood = JoinSet::new();
    for number in 0..400 {
        let client = cluster.client(number % 3);
        let name = format!("f{number}");
        let payload = payload.clone();
        flood.spawn(async move {
            let outcome = client
                .publish_request(request("flood", payload, &name))
                .await;
            outcome.map_err(|status| {
                assert!(is_retryable(&status), "{status}");
                status
            })
        });
    }
    let outcomes = flood.join_all().await;
    let acked = outcomes.iter().flatten().count() as u64;
    let mut offsets: Vec<u64> = outcomes
        .iter()
        .flatten()
        .map(|result| result.offset)
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len() as u64, acked, "no offset is given twice");
    let topic = cluster.client(1).topic("flood").await.unwrap();
    assert!(topic.next_offset >= acked);
    assert!(offsets.last().is_none_or(|last| *last < topic.next_offset));
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
