//! P4: a cursor works for as long as its data is kept, and after that it is told of an explicit gap.

use highwater_e2e::{
    Cluster, Load,
    cluster::{PEER_LOSS_WARNINGS, Policy, Setup},
    condition::{eventually, within_deadline},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_from_before_a_restart_of_everything_goes_on_where_it_was() {
    let mut cluster = Cluster::start_with(Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await;
    let load = Load::start(&cluster.clients(), &["kept"], 4);
    load.more_acks(200).await;
    let ledger = load.finish().await;
    let page = cluster
        .client(0)
        .read("kept", "earliest", 50)
        .await
        .unwrap();
    cluster.restart_all().await;
    let from = format!("cursor:{}", page.next);
    let (rest, gaps) = cluster.client(2).read_all("kept", &from).await.unwrap();
    assert_eq!(gaps, []);
    let all = [page.records, rest].concat();
    ledger.check("kept", &all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_older_than_what_is_retained_is_told_of_the_gap() {
    let policy = Policy {
        filter: "short/#".into(),
        retention_records: Some(100),
        ..Policy::default()
    };
    let setup = Setup {
        policies: vec![policy],
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    let client = cluster.client(0);
    let first = client.publish("short/a", "p#0").await.unwrap();
    client
        .publish_stream("short/a", "q", 3_000, 100)
        .await
        .unwrap();
    // To the end: while it goes on, the next reader finds another first record than the last one.
    const FIRST_KEPT: u64 = 3_001 - 100;
    eventually("retention drops old records", async || {
        let topic = client.topic("short/a").await;
        topic.is_ok_and(|topic| topic.first_offset == FIRST_KEPT)
    })
    .await;

    let from = format!("cursor:{}", first.cursor);
    for client in cluster.clients() {
        let (records, gaps) = client.read_all("short/a", &from).await.unwrap();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!(gaps[0].reason, "retention");
        assert_eq!(gaps[0].topic, "short/a");
        assert_eq!(records[0].offset, FIRST_KEPT);
        assert_eq!(records.len(), 100, "what the policy keeps is kept");
        // Reading on from what the gap names finds the same records, and no gap any more.
        let next = format!("cursor:{}", gaps[0].first_available);
        let (again, gaps) = client.read_all("short/a", &next).await.unwrap();
        assert_eq!(gaps, []);
        assert_eq!(again.first().unwrap().offset, records[0].offset);

        let mut live = client.subscribe(&["short/#"], "earliest").await.unwrap();
        let records = within_deadline("retained records come", live.records(100)).await;
        assert!(records.is_ok(), "earliest is never a gap: {records:?}");
        let mut live = client.subscribe(&["short/a"], &from).await.unwrap();
        let next = within_deadline("the gap is told first", live.next()).await;
        assert_eq!(next.unwrap().gap.expect("a gap").reason, "retention");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_a_topic_that_was_deleted_is_told_of_the_gap() {
    let cluster = Cluster::start().await;
    let client = cluster.client(1);
    client.publish("gone", "p#0").await.unwrap();
    let old = client.publish("gone", "p#1").await.unwrap();
    let request = cluster.http().delete(cluster.url(0, "/v1/topics/gone"));
    let response = request.bearer_auth(cluster.key()).send().await.unwrap();
    assert!(response.status().is_success(), "{response:?}");
    let new = client.publish("gone", "p#2").await.unwrap();
    assert_eq!(new.offset, 0, "a topic made anew counts from 0");

    let from = format!("cursor:{}", old.cursor);
    let (records, gaps) = client.read_all("gone", &from).await.unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].reason, "deleted");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].cursor, new.cursor);
}
