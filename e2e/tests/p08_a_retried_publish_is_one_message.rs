//! P8: an idempotency key makes a retry return the first attempt's result, through leader changes and restarts.

use std::time::Duration;

use futures_util::future::join_all;
use highwater_e2e::{
    Client, Cluster,
    client::{request, retry},
    cluster::{PEER_LOSS_WARNINGS, Setup},
};
use highwater_proto::client::PublishResult;

async fn start() -> Cluster {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    Cluster::start_with(setup).await
}

async fn publish(client: &Client, number: usize) -> PublishResult {
    let publish = request("once", format!("p#{number}"), &format!("key-{number}"));
    let result = retry("publishing", async || {
        client.publish_request(publish.clone()).await
    });
    result.await.unwrap()
}

fn check_is_retry_of(retried: &PublishResult, first: &PublishResult) {
    assert!(retried.duplicate, "{retried:?} is a duplicate");
    assert_eq!(retried.cursor, first.cursor);
    assert_eq!(retried.offset, first.offset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_returns_the_first_result_after_each_node_and_then_all_were_lost() {
    let mut cluster = start().await;
    let mut first = Vec::new();
    for number in 0..30 {
        first.push(publish(&cluster.client(number % 3), number).await);
        assert!(!first[number].duplicate);
    }
    for node in 0..3 {
        cluster.kill(node).await;
        for (number, first) in first.iter().enumerate() {
            let client = cluster.client((node + 1 + number % 2) % 3);
            check_is_retry_of(&publish(&client, number).await, first);
        }
        cluster.restart(node).await;
    }
    cluster.restart_all().await;
    for (number, first) in first.iter().enumerate() {
        check_is_retry_of(&publish(&cluster.client(number % 3), number).await, first);
    }
    let (records, _) = cluster
        .client(0)
        .read_all("once", "earliest")
        .await
        .unwrap();
    assert_eq!(records.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_at_the_same_time_on_all_nodes_are_one_message() {
    let cluster = start().await;
    let clients = cluster.clients();
    for number in 0..20 {
        let attempt = async |attempt: usize| publish(&clients[attempt % 3], number).await;
        let results = join_all((0..9).map(attempt)).await;
        let firsts = results.iter().filter(|result| !result.duplicate).count();
        assert_eq!(firsts, 1, "{results:?}");
        assert!(results.iter().all(|result| result.offset == number as u64));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_given_up_and_repeated_is_one_message() {
    let cluster = start().await;
    for number in 0..50 {
        let client = cluster.client(number % 3);
        let attempt = publish(&client, number);
        // Given up at some moment between sending and ack.
        let patience = Duration::from_micros(200 * (number as u64 % 20));
        let _ = tokio::time::timeout(patience, attempt).await;
        publish(&cluster.client((number + 1) % 3), number).await;
    }
    let (records, _) = cluster
        .client(0)
        .read_all("once", "earliest")
        .await
        .unwrap();
    assert_eq!(records.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_on_another_topic_or_project_is_another_message() {
    let cluster = start().await;
    let client = cluster.client(0);
    client
        .publish_request(request("a", "p#0", "key"))
        .await
        .unwrap();
    let other_topic = client
        .publish_request(request("b", "p#0", "key"))
        .await
        .unwrap();
    assert!(!other_topic.duplicate);
    let foreign = cluster.client_of(1, 1);
    let other_project = foreign
        .publish_request(request("a", "p#0", "key"))
        .await
        .unwrap();
    assert!(!other_project.duplicate);
    assert_eq!(other_project.offset, 0);
}
