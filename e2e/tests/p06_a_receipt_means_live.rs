//! P6: what is published anywhere after the receipt of a subscription is delivered to it.

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
    ledger::text,
};

const ITERATIONS: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_on_another_node_right_after_the_receipt_is_delivered() {
    let cluster = Cluster::start().await;
    let clients = cluster.clients();
    for iteration in 0..ITERATIONS {
        let topic = format!("live/{}", iteration % 20);
        let filter = match iteration % 3 {
            0 => topic.clone(),
            1 => "live/+".to_owned(),
            _ => "live/#".to_owned(),
        };
        let subscriber = &clients[iteration % 3];
        let publisher = &clients[(iteration + 1 + iteration / 3 % 2) % 3];
        let mut live = subscriber.subscribe(&[&filter], "latest").await.unwrap();
        let payload = format!("p#{iteration}");
        let published = publisher.publish(&topic, payload.clone()).await.unwrap();
        let delivered = within_deadline("the message is delivered", live.records(1)).await;
        let delivered = delivered.unwrap();
        assert_eq!(
            text(&delivered[0]),
            payload,
            "iteration {iteration}, {filter}"
        );
        assert_eq!(delivered[0].offset, published.offset);
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
