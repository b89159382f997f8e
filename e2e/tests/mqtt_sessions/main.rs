//! MQTT sessions at a cluster whose nodes die: what a client is promised holds on whichever node it comes back to.

mod streams;
mod wills;

use anyhow::{Error, Result};
use bytes::Bytes;
use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
    condition::{eventually_some, within_deadline},
    mqtt::{self, Memory, Mqtt, connect_to_session},
    refusal::{Refusal, is_loss},
};
use highwater_mqtt::{
    Qos, ReasonCode, Version,
    packet::{Connect, Publish},
};

/// Longer than any test.
const LONG_S: u32 = 3_600;

/// A cluster in which nodes may be missed.
async fn cluster() -> Cluster {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    Cluster::start_with(setup).await
}

/// Connects to a node as soon as it takes the client.
async fn connected(cluster: &Cluster, node: usize, connect: &Connect, memory: &Memory) -> Mqtt {
    let what = format!("node {node} accepts {:?}", connect.client_id);
    eventually_some(&what, async || {
        match Mqtt::resume(cluster.address(node), connect.clone(), memory).await {
            Ok(client) => Some(client),
            Err(error) => {
                assert!(is_loss(&error), "{what}: {error:#}");
                None
            }
        }
    })
    .await
}

/// A new client without a session, subscribed to a filter on some node.
async fn observer(cluster: &Cluster, node: usize, filter: &str) -> Mqtt {
    let connect = mqtt::connect(Version::V5, "", cluster.key());
    let mut client = connected(cluster, node, &connect, &Memory::default()).await;
    client
        .subscribe(&[(filter, Qos::AtLeastOnce)], None)
        .await
        .unwrap();
    client
}

/// The next message, as topic and text.
async fn next(client: &mut Mqtt) -> (String, String) {
    let message = within_deadline("there is a message", client.message()).await;
    pair(&message.unwrap())
}

fn pair(message: &Publish) -> (String, String) {
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    (mqtt::topic_of(message).to_owned(), text)
}

/// Waits for the end of a connection; the code with which the server ended it, if it said one.
async fn end(client: &mut Mqtt) -> Option<String> {
    let end = async {
        loop {
            if let Err(error) = client.step().await {
                return error;
            }
        }
    };
    let error = within_deadline("the connection ends", end).await;
    code(Err::<(), Error>(error))
}

/// The code of a refusal.
fn code<T>(outcome: Result<T>) -> Option<String> {
    let refusal = outcome.err()?.downcast::<Refusal>().ok()?;
    Some(refusal.code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_connects_to_another_node_takes_its_session_with_it() {
    let cluster = cluster().await;
    let connect = connect_to_session("wanderer", cluster.key(), LONG_S);
    let mut before = connected(&cluster, 0, &connect, &Memory::default()).await;
    assert!(!before.accepted.session_present);
    before
        .subscribe(&[("taken/+", Qos::ExactlyOnce)], None)
        .await
        .unwrap();
    for round in 0..6 {
        let node = (round + 1) % cluster.size();
        let memory = before.memory.clone();
        let mut after = connected(&cluster, node, &connect, &memory).await;
        assert!(after.accepted.session_present);
        assert_eq!(
            end(&mut before).await,
            Some(mqtt::code(ReasonCode::SessionTakenOver))
        );
        let text = format!("m#{round}");
        let client = cluster.client((round + 2) % cluster.size());
        client.publish("taken/a", text.clone()).await.unwrap();
        assert_eq!(next(&mut after).await, ("taken/a".into(), text));
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_its_time_is_over_on_whichever_node() {
    let cluster = cluster().await;
    let mut observer = observer(&cluster, 2, "wills/#").await;
    // The will is said when the session ends, so that its end is seen.
    let mut connect = connect_to_session("brief", cluster.key(), 1);
    connect.will = Some(wills::will("wills/brief", "over", LONG_S));
    let mut client = connected(&cluster, 0, &connect, &Memory::default()).await;
    client
        .subscribe(&[("kept", Qos::AtLeastOnce)], None)
        .await
        .unwrap();
    drop(client);
    cluster.client(1).publish("kept", "p#0").await.unwrap();
    assert_eq!(
        next(&mut observer).await,
        ("wills/brief".into(), "over".into())
    );
    for node in 0..cluster.size() {
        let mut connect = connect_to_session("brief", cluster.key(), 0);
        connect.will = None;
        let client = connected(&cluster, node, &connect, &Memory::default()).await;
        assert!(!client.accepted.session_present, "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_retained_over_http_is_told_to_an_mqtt_wildcard_after_a_failover() {
    let mut cluster = cluster().await;
    let leader = cluster.leader("lamps/1").await;
    for (lamp, state) in [(1, "off"), (2, "off"), (1, "on"), (3, "on"), (3, "")] {
        let path = format!("/v1/messages/lamps/{lamp}");
        let request = cluster.http().post(cluster.url(leader, &path));
        let request = request
            .header("highwater-retain", "true")
            .body(state.to_owned());
        let response = request.bearer_auth(cluster.key()).send().await.unwrap();
        assert_eq!(response.status(), 201);
    }
    cluster.kill(leader).await;
    for step in [1, 2] {
        let node = (leader + step) % cluster.size();
        let mut lamps = observer(&cluster, node, "lamps/+").await;
        let mut found = Vec::new();
        for _ in 0..2 {
            let message = within_deadline("what is retained comes", lamps.message()).await;
            let message = message.unwrap();
            assert!(message.retain);
            found.push(pair(&message));
        }
        found.sort();
        let expected = [("lamps/1", "on"), ("lamps/2", "off")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        // The one that was cleared does not come: this does instead.
        let publisher = cluster.client(node);
        let text = format!("now {step}");
        eventually_some("it is published", async || {
            publisher.publish("lamps/4", text.clone()).await.ok()
        })
        .await;
        let message = within_deadline("live goes on", lamps.message())
            .await
            .unwrap();
        assert!(!message.retain);
        assert_eq!(pair(&message), ("lamps/4".into(), text));
    }
}

/// A message to be published.
fn message(topic: &str, text: String) -> Publish {
    let topic = mqtt::name(topic);
    Publish::new(
        topic,
        highwater_mqtt::packet::publish::Delivery::AtMostOnce,
        Bytes::from(text),
    )
}
