//! P7: history runs into the live tail without a gap or a repetition while writers go on.

use highwater_e2e::{Cluster, Load, condition::within_deadline, ledger::check_consecutive};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_start_joins_live_without_a_seam() {
    let cluster = Cluster::start().await;
    let clients = cluster.clients();
    let load = Load::start(&clients, &["joined"], 8);
    load.more_acks(500).await;

    let page = clients[0].read("joined", "earliest", 200).await.unwrap();
    let last = page.records.last().unwrap();
    // A cursor belongs to what was read with it.
    let of_filter = clients[1].read("joined/#", "earliest", 200).await.unwrap();
    let last_of_filter = of_filter.records.last().unwrap();
    let time = format!("time:{}", page.records[0].published_at_ms);
    // What is subscribed to, where it starts, and the first offset it must deliver if that is known.
    let starts: [(&str, String, Option<u64>); 12] = [
        ("joined", "earliest".into(), Some(0)),
        ("joined/#", "earliest".into(), Some(0)),
        (
            "joined",
            format!("cursor:{}", last.cursor),
            Some(last.offset + 1),
        ),
        (
            "joined/#",
            format!("cursor:{}", last_of_filter.cursor),
            Some(last_of_filter.offset + 1),
        ),
        ("joined", time.clone(), Some(0)),
        ("joined/#", time, Some(0)),
        ("joined", "last:100".into(), None),
        ("joined/#", "last:100".into(), None),
        ("joined", "retained".into(), None),
        ("joined/#", "retained".into(), None),
        ("joined", "latest".into(), None),
        ("joined/#", "latest".into(), None),
    ];
    let mut live = Vec::new();
    for (index, (filter, from, first)) in starts.iter().enumerate() {
        // From a node that leads and from those that follow.
        for node in [index % 3, (index + 1) % 3] {
            let subscription = clients[node].subscribe(&[filter], from).await.unwrap();
            live.push((format!("{filter} from {from}"), *first, subscription));
        }
    }
    load.more_acks(700).await;
    let ledger = load.finish().await;
    let (all, _) = clients[0].read_all("joined", "earliest").await.unwrap();
    ledger.check("joined", &all);
    let end = all.last().unwrap().offset;

    for (what, first, mut subscription) in live {
        let mut records = Vec::new();
        while records
            .last()
            .is_none_or(|last: &highwater_proto::client::Record| last.offset < end)
        {
            let more = within_deadline(&what, subscription.records(1)).await;
            records.extend(more.unwrap_or_else(|error| panic!("{what}: {error}")));
        }
        let begins = records[0].offset;
        assert!(
            first.is_none_or(|first| first == begins),
            "{what} begins at {begins}"
        );
        check_consecutive(&records, begins);
        assert_eq!(records.last().unwrap().offset, end, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_joins_at_the_moment_of_a_publish_see_each_record_once() {
    let cluster = Cluster::start().await;
    let clients = cluster.clients();
    let load = Load::start(&clients, &["busy"], 4);
    for iteration in 0..60 {
        let client = &clients[iteration % 3];
        let from = ["earliest", "last:5", "latest"][iteration % 3];
        let mut live = client.subscribe(&["busy"], from).await.unwrap();
        let records = within_deadline("records are delivered", live.records(20))
            .await
            .unwrap();
        check_consecutive(&records, records[0].offset);
    }
    load.finish().await;
}
