//! P2: a topic is one order without holes, and every subscriber on every node sees that order.

use highwater_e2e::{
    Cluster, Load,
    condition::within_deadline,
    ledger::{check_consecutive, check_publishers_order},
};
use highwater_proto::client::Record;
use serde_json::Value;

const TOPIC: &str = "prices/eu";

/// Offset and payload, which is what an order is about.
fn order(records: &[Record]) -> Vec<(u64, Vec<u8>)> {
    let pair = |record: &Record| (record.offset, record.payload.to_vec());
    records.iter().map(pair).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_on_all_nodes_and_readers_on_all_protocols_see_one_order() {
    let cluster = Cluster::start().await;
    let mut subscriptions = Vec::new();
    for client in cluster.clients() {
        subscriptions.push(client.subscribe(&[TOPIC], "earliest").await.unwrap());
        // A filter covers the topic too, along with others.
        subscriptions.push(client.subscribe(&["prices/#"], "earliest").await.unwrap());
    }

    let load = Load::start(&cluster.clients(), &[TOPIC], 16);
    load.more_acks(1_500).await;
    let ledger = load.finish().await;
    let (expected, _) = cluster.client(0).read_all(TOPIC, "earliest").await.unwrap();
    ledger.check(TOPIC, &expected);

    for mut subscription in subscriptions {
        let records = subscription.records(expected.len());
        let records = within_deadline("everything is delivered", records).await;
        let records = records.unwrap();
        check_consecutive(&records, 0);
        check_publishers_order(&records);
        assert_eq!(order(&records), order(&expected));
    }
    for node in 0..cluster.size() {
        let path = format!("/v1/messages/{TOPIC}?from=earliest&limit=10000");
        let page: Value = cluster.get_json(node, &path).await;
        let records = page["records"].as_array().expect("records").iter();
        let read: Vec<(u64, Vec<u8>)> = records
            .map(|record| {
                let data = record["data"].as_str().expect("data");
                (record["offset"].as_u64().unwrap(), data.as_bytes().to_vec())
            })
            .collect();
        assert_eq!(read, order(&expected), "over HTTP from node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_publish_stream_keeps_its_order_and_its_outcomes() {
    let cluster = Cluster::start().await;
    let outcomes = cluster
        .client(1)
        .publish_stream(TOPIC, "s", 2_000, 100)
        .await
        .unwrap();
    let offsets: Vec<u64> = outcomes.iter().map(|outcome| outcome.offset).collect();
    assert_eq!(offsets, (0..2_000).collect::<Vec<u64>>());
    let (records, _) = cluster.client(2).read_all(TOPIC, "earliest").await.unwrap();
    assert_eq!(records.len(), 2_000);
    check_consecutive(&records, 0);
    check_publishers_order(&records);
}
