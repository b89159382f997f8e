//! P6: what is published anywhere after the receipt of a subscription is delivered to it.

use std::env;

use highwater_e2e::{
    Cluster, Door, Live,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
    ledger::text,
};

/// Rounds for each protocol. The contract is measured with 10,000: `HIGHWATER_E2E_RECEIPTS=10000`.
const ROUNDS: usize = 300;

fn rounds() -> usize {
    let given = env::var("HIGHWATER_E2E_RECEIPTS");
    given.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_on_another_node_right_after_the_receipt_is_delivered() {
    check_receipts(Door::Grpc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_after_the_first_event_of_a_stream() {
    check_receipts(Door::Sse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_after_the_receipt_over_a_websocket() {
    check_receipts(Door::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_after_the_suback_of_mqtt() {
    check_receipts(Door::Mqtt).await;
}

async fn check_receipts(door: Door) {
    let cluster = Cluster::start().await;
    let clients = cluster.clients();
    for round in 0..rounds() {
        let topic = format!("live/{}", round % 20);
        let filter = match round % 3 {
            0 => topic.clone(),
            1 => "live/+".to_owned(),
            _ => "live/#".to_owned(),
        };
        let subscriber = round / 3 % 3;
        let publisher = &clients[(subscriber + 1 + round / 9 % 2) % 3];
        let live = Live::open(&cluster, (subscriber, door), &[&filter], "latest").await;
        let mut live = live.unwrap();
        let payload = format!("p#{round}");
        let published = publisher.publish(&topic, payload.clone()).await.unwrap();
        let delivered = within_deadline("the message is delivered", live.next()).await;
        let delivered = delivered.unwrap();
        assert_eq!(text(&delivered[0]), payload, "round {round}, {filter}");
        if door.tells_offsets() {
            assert_eq!(delivered[0].offset, published.offset);
        }
        assert_eq!(
            delivered.len(),
            1,
            "`latest` is what comes after the receipt"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_of_a_receipt_finds_everything_after_it_even_if_its_node_dies() {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    cluster.client(1).publish("hop", "p#0").await.unwrap();
    let live = cluster
        .client(0)
        .subscribe(&["hop"], "latest")
        .await
        .unwrap();
    let from = format!("cursor:{}", live.cursor);
    let published = cluster.client(1).publish("hop", "p#1").await.unwrap();
    cluster.kill(0).await;
    let (records, gaps) = cluster.client(2).read_all("hop", &from).await.unwrap();
    assert_eq!(gaps, []);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].cursor, published.cursor);
}
