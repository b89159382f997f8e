//! Quotas are of the whole cluster, whichever nodes its clients use, and a refusal says which one it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use highwater_e2e::{Client, Cluster, condition::within_deadline, eventually, socket::Socket};
use highwater_proto::control::{Project, Quotas};
use tokio::{task::JoinSet, time::sleep};
use tonic::Code;

async fn limit(cluster: &Cluster, quotas: Quotas) {
    let set = |project: &mut Project| project.quotas = Some(quotas);
    cluster.edit_project(0, set).await;
}

/// Publishes as fast as it is let, and counts what is taken.
async fn flood(client: Client, taken: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        match client.publish("a", "x").await {
            Ok(_) => drop(taken.fetch_add(1, Ordering::Relaxed)),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                assert!(
                    status.message().contains("publish_messages_per_second"),
                    "{status}"
                );
                sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the measured rate is worth seeing")]
async fn a_publish_rate_holds_over_three_nodes() {
    const LIMIT: u64 = 300;
    let cluster = Cluster::start().await;
    let quotas = Quotas {
        publish_messages_per_second: LIMIT,
        ..Quotas::default()
    };
    limit(&cluster, quotas).await;
    let (taken, is_over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut floods = JoinSet::new();
    for client in cluster.clients() {
        for _ in 0..4 {
            floods.spawn(flood(client.clone(), taken.clone(), is_over.clone()));
        }
    }
    // Until each node knows what the others are asked for, and has given away a second's worth.
    sleep(Duration::from_secs(4)).await;
    let (begun, before) = (Instant::now(), taken.load(Ordering::Relaxed));
    sleep(Duration::from_secs(6)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let rate = (taken.load(Ordering::Relaxed) - before) as f64 / seconds;
    is_over.store(true, Ordering::Relaxed);
    floods.join_all().await;
    eprintln!("{rate:.1} messages a second of {LIMIT}");
    // More is never right; less may be this machine.
    assert!(rate <= LIMIT as f64 * 1.1, "{rate}");
    assert!(rate >= LIMIT as f64 * 0.5, "{rate}");
    // Another project is not concerned.
    for node in 0..cluster.size() {
        cluster.client_of(node, 1).publish("a", "x").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_in_the_cluster_and_told_which_quota_it_is() {
    const LIMIT: usize = 6;
    let cluster = Cluster::start().await;
    let quotas = Quotas {
        connections: LIMIT as u64,
        ..Quotas::default()
    };
    limit(&cluster, quotas).await;
    let mut open = Vec::new();
    let mut refused = 0;
    // More rounds than connections, with time for the nodes to hear of each other.
    for round in 0..3 * LIMIT {
        let node = round % cluster.size();
        match Socket::open(cluster.address(node), cluster.key()).await {
            Ok(socket) => open.push(socket),
            Err(error) => {
                assert!(format!("{error:#}").contains("connections"), "{error:#}");
                refused += 1;
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
    assert!(refused > 0);
    let limit = LIMIT..LIMIT + cluster.size();
    assert!(limit.contains(&open.len()), "{} are open", open.len());
    // What is closed makes room, on every node.
    drop(open);
    for node in 0..cluster.size() {
        eventually("there is room again", async || {
            Socket::open(cluster.address(node), cluster.key())
                .await
                .is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_beyond_the_rate_wait_and_all_of_them_come() {
    const COUNT: usize = 60;
    let cluster = Cluster::start().await;
    let quotas = Quotas {
        delivery_messages_per_second: 20,
        ..Quotas::default()
    };
    limit(&cluster, quotas).await;
    let client = cluster.client(0);
    for number in 0..COUNT {
        client.publish("a", format!("p#{number}")).await.unwrap();
    }
    let begun = Instant::now();
    let mut live = client.subscribe(&["a"], "earliest").await.unwrap();
    let records = within_deadline("all come", live.records(COUNT))
        .await
        .unwrap();
    assert_eq!(records.len(), COUNT);
    // What was there before is one page, and its debt is waited for.
    for number in COUNT..COUNT + 3 {
        client.publish("a", format!("p#{number}")).await.unwrap();
    }
    let more = within_deadline("they come", live.records(3)).await.unwrap();
    assert_eq!(more[2].offset, COUNT as u64 + 2);
    assert!(begun.elapsed() > Duration::from_secs(1), "nobody waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_and_stored_bytes_are_limited_and_deleting_makes_room() {
    let cluster = Cluster::start().await;
    let quotas = Quotas {
        topics: 2,
        stored_bytes: 20_000,
        ..Quotas::default()
    };
    limit(&cluster, quotas).await;
    let client = cluster.client(1);
    let large = "x".repeat(4_000);
    let mut stored = 0;
    let refusal = loop {
        match client.publish("a", large.clone()).await {
            Ok(_) => stored += 1,
            Err(status) => break status,
        }
        assert!(stored < 6, "it is never refused");
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(refusal.message().contains("bytes"), "{refusal}");
    let delete = cluster.http().delete(cluster.url(2, "/v1/topics/a"));
    let deleted = delete.bearer_auth(cluster.key()).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    client.publish("a", large.clone()).await.unwrap();
    let mut made = 0;
    let refusal = loop {
        match client.publish(&format!("b/{made}"), "x").await {
            Ok(_) => made += 1,
            Err(status) => break status,
        }
        assert!(made < 4, "it is never refused");
    };
    assert!(refusal.message().contains("topics"), "{refusal}");
}
