//! A disk that fails: the node stops acknowledging, steps down, says so in `/readyz`, and nothing acked is lost.

use highwater_e2e::{Cluster, Load, cluster::Setup, eventually, faults::Fault};

const TOPICS: [&str; 4] = ["d/0", "d/1", "d/2", "d/3"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_error_stops_acks_on_its_node_and_loses_nothing() {
    check_fault(Fault::Sync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_acks_on_its_node_and_loses_nothing() {
    check_fault(Fault::Full).await;
}

async fn check_fault(fault: Fault) {
    let setup = Setup {
        faults: true,
        // The node whose disk fails has every reason to complain, and so have its peers.
        allowed_warnings: vec![""],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let load = Load::start(&cluster.clients(), &TOPICS, 8);
    // Two turns, so that a node that leads is among them.
    for node in [0, 1] {
        load.more_acks(200).await;
        cluster.demand(node, fault);
        eventually("the node says that it is not ready", async || {
            !cluster.is_ready(node).await
        })
        .await;
        load.more_acks(200).await;
        cluster.kill(node).await;
        // A new process on a disk that works again.
        cluster.restart(node).await;
    }
    let ledger = load.finish().await;
    for topic in TOPICS {
        ledger.check(topic, &cluster.read_everywhere(topic).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_with_a_bad_disk_refuses_instead_of_acknowledging() {
    let setup = Setup {
        nodes: 1,
        faults: true,
        allowed_warnings: vec![""],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let client = cluster.client(0);
    let mut acked = 0;
    for number in 0..20 {
        client
            .publish("alone", format!("p#{number}"))
            .await
            .unwrap();
        acked += 1;
    }
    cluster.demand(0, Fault::Sync);
    for number in 20..25 {
        let refused = client.publish("alone", format!("p#{number}")).await;
        assert!(refused.is_err(), "acknowledged without a sync: {refused:?}");
    }
    cluster.kill(0).await;
    cluster.restart(0).await;
    let (records, _) = cluster
        .client(0)
        .read_all("alone", "earliest")
        .await
        .unwrap();
    assert!(
        records.len() >= acked,
        "{} of {acked} are left",
        records.len()
    );
}
