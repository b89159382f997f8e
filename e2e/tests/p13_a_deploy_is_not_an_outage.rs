//! P13: nodes restarted in order, one after the other under load, lose nothing and tell their clients.

use highwater_e2e::{
    Cluster, Load,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::within_deadline,
    ledger::check_consecutive,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let topics = ["rolled/a", "rolled/b", "rolled/c", "rolled/d"];
    let load = Load::start(&cluster.clients(), &topics, 12);
    for node in 0..cluster.size() {
        load.more_acks(150).await;
        cluster.stop(node).await;
        load.more_acks(150).await;
        cluster.restart(node).await;
    }
    load.more_acks(100).await;
    let ledger = load.finish().await;
    for topic in topics {
        ledger.check(topic, &cluster.read_everywhere(topic).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_is_told_to_reconnect_and_goes_on_elsewhere() {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    let mut live = cluster
        .client(0)
        .subscribe(&["told"], "earliest")
        .await
        .unwrap();
    let load = Load::start(&cluster.clients()[1..], &["told"], 4);
    load.more_acks(100).await;
    let pid = cluster.pid(0);
    pid.terminate();

    let mut records = Vec::new();
    let told = async {
        loop {
            let response = live.next().await.expect("told before it ends");
            records.extend(response.records);
            if let Some(draining) = response.draining {
                return draining;
            }
        }
    };
    within_deadline("the subscriber is told", told).await;
    // What was on its way may still come.
    while let Ok(response) = within_deadline("the stream ends", live.next()).await {
        records.extend(response.records);
    }
    let from = format!("cursor:{}", live.cursor);
    cluster.stop(0).await;
    load.more_acks(100).await;
    let ledger = load.finish().await;
    let (rest, gaps) = cluster.client(1).read_all("told", &from).await.unwrap();
    assert_eq!(gaps, []);
    records.extend(rest);
    check_consecutive(&records, 0);
    ledger.check("told", &records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_everything_is_idempotent() {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    for round in 0..3u64 {
        let client = cluster.client(round as usize);
        let result = client.publish("kept", format!("p#{round}")).await;
        assert_eq!(result.unwrap().offset, round);
        cluster.restart_all().await;
    }
    let (records, _) = cluster
        .client(0)
        .read_all("kept", "earliest")
        .await
        .unwrap();
    assert_eq!(records.len(), 3);
}
