//! P1: what was acknowledged is there after any node, and after all of them, were killed under load.

use highwater_e2e::{
    Cluster, Ledger, Load,
    cluster::{PEER_LOSS_WARNINGS, Setup},
};

async fn start(nodes: usize) -> Cluster {
    let setup = Setup {
        nodes,
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    Cluster::start_with(setup).await
}

const TOPICS: [&str; 3] = ["orders/eu", "orders/us", "audit"];

async fn check_all(cluster: &Cluster, ledger: &Ledger) {
    for topic in TOPICS {
        ledger.check(topic, &cluster.read_everywhere(topic).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acked_message_survives_losing_any_node_under_load() {
    let mut cluster = start(3).await;
    let load = Load::start(&cluster.clients(), &TOPICS, 12);
    // One after the other: whoever leads, its turn comes.
    for node in 0..cluster.size() {
        load.more_acks(150).await;
        cluster.kill(node).await;
        load.more_acks(150).await;
        cluster.restart(node).await;
    }
    let ledger = load.finish().await;
    check_all(&cluster, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acked_message_survives_losing_all_nodes_at_once() {
    let mut cluster = start(3).await;
    let load = Load::start(&cluster.clients(), &TOPICS, 12);
    for _ in 0..3 {
        load.more_acks(300).await;
        cluster.kill_together(&[0, 1, 2]).await;
        cluster.start_all();
        cluster.all_ready().await;
    }
    load.more_acks(100).await;
    let ledger = load.finish().await;
    check_all(&cluster, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acked_message_survives_killing_the_only_node() {
    let mut cluster = start(1).await;
    let load = Load::start(&cluster.clients(), &TOPICS, 6);
    for _ in 0..3 {
        load.more_acks(200).await;
        cluster.kill(0).await;
        cluster.restart(0).await;
    }
    let ledger = load.finish().await;
    check_all(&cluster, &ledger).await;
}
