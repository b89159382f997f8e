//! A disk that fails: the node stops acknowledging, steps down, says so in `/readyz`, and nothing acked is lost.

use highwater_e2e::{
    Cluster, Load,
    cluster::Setup,
    eventually,
    faults::Fault,
    ledger::{check_consecutive, text},
};

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
        storage_is_told(&cluster, node).await;
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

/// Waits until a node says that it is not ready, and that the reason is its disk.
async fn storage_is_told(cluster: &Cluster, node: usize) {
    eventually("the node says that writing has stopped", async || {
        let text = cluster.get(node, "/readyz?verbose").await.unwrap();
        text.contains("[-] storage: writing has stopped on this node: ")
            && text.ends_with("not ready\n")
    })
    .await;
    assert!(!cluster.is_ready(node).await, "the status says the same");
    let failed = cluster.metric(node, "highwater_storage_failed").await;
    assert_eq!(failed, 1.0, "the metric says the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_whose_disk_does_not_sync_refuses_instead_of_acknowledging() {
    check_alone(Fault::Sync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_whose_disk_is_full_refuses_instead_of_acknowledging() {
    check_alone(Fault::Full).await;
}

async fn check_alone(fault: Fault) {
    let setup = Setup {
        nodes: 1,
        faults: true,
        allowed_warnings: vec![""],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let client = cluster.client(0);
    const ACKED: u64 = 20;
    for number in 0..ACKED {
        let payload = format!("p#{number}");
        client.publish("alone", payload).await.unwrap();
    }
    cluster.demand(0, fault);
    for number in ACKED..ACKED + 5 {
        let refused = client.publish("alone", format!("p#{number}")).await;
        assert!(refused.is_err(), "acknowledged without a disk: {refused:?}");
    }
    storage_is_told(&cluster, 0).await;
    cluster.kill(0).await;
    cluster.restart(0).await;
    let client = cluster.client(0);
    let (records, gaps) = client.read_all("alone", "earliest").await.unwrap();
    assert_eq!(gaps, []);
    assert!(records.len() as u64 >= ACKED, "{} are left", records.len());
    check_consecutive(&records, 0);
    for (record, number) in records.iter().zip(0..ACKED) {
        assert_eq!(text(record), format!("p#{number}"));
    }
    // On a disk that works again the node does, too.
    client.publish("alone", "again").await.unwrap();
}
