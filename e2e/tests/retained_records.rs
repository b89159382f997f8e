//! A retained record is kept by the cluster: through the loss of a node, restarts and the topic's retention,
//! and readers on every node begin with it.

use std::collections::BTreeMap;

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Policy, Setup},
    condition::{eventually, eventually_some, within_deadline},
    events::Events,
};
use serde_json::Value;

/// Data of each topic.
type Retained = BTreeMap<String, String>;

async fn start() -> Cluster {
    let policy = Policy {
        filter: "short/#".into(),
        retention_records: Some(10),
        ..Policy::default()
    };
    Cluster::start_with(Setup {
        policies: vec![policy],
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    })
    .await
}

/// Publishes over HTTP, as often as it takes.
async fn publish(cluster: &Cluster, node: usize, topic: &str, payload: &str, retain: bool) {
    let url = cluster.url(node, &format!("/v1/messages/{topic}"));
    let key = format!("{topic} {payload} {retain}");
    eventually(&format!("{topic} is published"), async || {
        let request = cluster.http().post(url.as_str()).bearer_auth(cluster.key());
        let request = request
            .header("content-type", "text/plain")
            .header("idempotency-key", key.as_str())
            .header("highwater-retain", retain.to_string());
        let response = request.body(payload.to_owned()).send().await;
        response.is_ok_and(|response| response.status() == 201)
    })
    .await;
}

/// A stream of what is retained, and what it begins with.
async fn open(cluster: &Cluster, node: usize, filter: &str, count: usize) -> (Events, Retained) {
    let place = (cluster.address(node), cluster.key());
    let mut events = eventually_some("a stream is opened", async || {
        let opened = Events::open(cluster.http(), place, &[filter], "retained").await;
        opened.ok()
    })
    .await;
    let mut retained = Retained::new();
    for _ in 0..count {
        let record = next(&mut events).await;
        assert_eq!(record["retain"], true, "{record}");
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let before = retained.insert(text("topic"), text("data"));
        assert_eq!(before, None, "each topic once");
    }
    (events, retained)
}

async fn next(events: &mut Events) -> Value {
    let event = within_deadline("an event comes", events.next()).await;
    event.unwrap().expect("the stream goes on").json().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_survives_the_loss_of_its_node_and_a_restart_of_all() {
    let mut cluster = start().await;
    let mut expected = Retained::new();
    for number in 0..20 {
        let topic = format!("state/{number}");
        publish(&cluster, 0, &topic, "history", false).await;
        publish(&cluster, 0, &topic, "old", true).await;
        publish(&cluster, 0, &topic, "kept", true).await;
        publish(&cluster, 0, &topic, "later", false).await;
        match number % 5 {
            0 => publish(&cluster, 0, &topic, "", true).await,
            _ => drop(expected.insert(topic, "kept".to_owned())),
        }
    }
    publish(&cluster, 0, "state/none", "never retained", false).await;

    cluster.kill(0).await;
    let (mut events, retained) = open(&cluster, 1, "state/#", expected.len()).await;
    assert_eq!(retained, expected);
    publish(&cluster, 2, "state/1", "live", false).await;
    assert_eq!(next(&mut events).await["data"], "live");
    publish(&cluster, 2, "state/2", "newer", true).await;
    expected.insert("state/2".into(), "newer".into());
    assert_eq!(next(&mut events).await["data"], "newer");
    drop(events);

    cluster.start_node(0);
    cluster.all_ready().await;
    cluster.restart_all().await;
    for node in 0..3 {
        let (mut events, retained) = open(&cluster, node, "state/+", expected.len()).await;
        assert_eq!(retained, expected, "on node {node}");
        let payload = format!("live {node}");
        publish(&cluster, node, "state/0", &payload, false).await;
        assert_eq!(next(&mut events).await["data"], payload.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_outlives_the_retention_of_its_topic() {
    let mut cluster = start().await;
    publish(&cluster, 0, "short/a", "kept", true).await;
    let client = cluster.client(1);
    client
        .publish_stream("short/a", "q", 200, 50)
        .await
        .unwrap();
    eventually("retention drops the record", async || {
        let topic = client.topic("short/a").await;
        topic.is_ok_and(|topic| topic.first_offset == 191)
    })
    .await;
    for restart in [false, true] {
        if restart {
            cluster.kill_together(&[0, 1, 2]).await;
            cluster.start_all();
            cluster.all_ready().await;
        }
        for node in 0..3 {
            for filter in ["short/a", "short/#"] {
                let (mut events, retained) = open(&cluster, node, filter, 1).await;
                assert_eq!(retained["short/a"], "kept");
                let payload = format!("live {restart} {node} {filter}");
                publish(&cluster, node, "short/a", &payload, false).await;
                assert_eq!(next(&mut events).await["data"], payload.as_str());
            }
        }
    }
}
